"""What a GPU does during a step, by CUDA's trace, which PyTorch's profiler reads."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

DEAREST = 12
"""Kernels that are named."""


def traced(step: Callable[[], object], steps: int) -> dict[str, Any]:
    """Of one step: the number of kernels and copies, the milliseconds that they and the step take, the dearest kernels.

    step: which waits for the GPU.
    """
    from torch.profiler import ProfilerActivity, profile

    step()
    start = perf_counter()
    for _ in range(steps):
        step()
    wall = (perf_counter() - start) / steps
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(steps):
            step()
    # the host's calls are in the trace as well
    events = [event for event in trace.key_averages() if event.device_type.name == "CUDA"]
    rows = [(event.self_device_time_total / 1e3 / steps, event.count / steps, event.key) for event in events]
    found = sorted((row for row in rows if row[0] > 0), reverse=True)
    return {
        "milliseconds": wall * 1e3,
        "busy": sum(time for time, _, _ in found),
        "kernels": sum(count for _, count, _ in found),
        "dearest": [{"milliseconds": time, "times": count, "name": name} for time, count, name in found[:DEAREST]],
    }
