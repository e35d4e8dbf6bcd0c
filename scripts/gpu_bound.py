"""What a GPU takes for a training step at least: the bytes and the operations of its kernels, over a card's peaks.

Kernels are counted on the double of CuPy, in a process of its own, so no GPU is needed. A kernel reads each number of
its arguments once and writes each of its results once; of operations those of products count. No time is measured. A
step that is far above its bound is held up by its kernels, not by what the card can do.

Left out: the batch's way from the host, the start of a kernel, and the second-level cache, in which a kernel may find
what the one before has written. With that cache alone a step can be faster than its bound by bytes.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import checkout  # noqa: F401
import numpy as np
from bench_cases import Case, Job
from bench_gpu_npsnn import Stepping, tf32
from bench_npsnn import batch_of, training_of_case
from bench_side import Side, SideError, answers, serve
from gpu_device import DOUBLE, computing_on, graphs

from npsnn.train.epochs import Trainer
from npsnn.train.loop import workers_for

Report = dict[str, Any]

DEAREST = 6
"""Kinds of kernels that are named."""
LATE = 600.0
"""Seconds after which a count is given up: a processor does the step's work in float32."""


@dataclass(frozen=True)
class Card:
    """What a card can do at most, by its maker's data sheet: operations and bytes a second.

    float32, tf32: of products, without sparsity.
    """

    float32: float
    tf32: float
    memory: float


CARDS = {"h100": Card(67e12, 494.5e12, 3.35e12), "h200": Card(67e12, 494.5e12, 4.8e12)}
"""NVIDIA's SXM modules."""


def kernels(job: Job) -> list[dict[str, Any]]:
    """The kernels of the second step of a training on the double, without graphs: name, bytes read, written, flops."""
    from cupy_graph_double import launches

    tf32(job.tf32)
    split = batch_of(job.case, job.batch_size)
    with graphs(False), workers_for(1, job.device) as workers:
        trainer = Trainer(training_of_case(job.case), split, split, workers, job.device)
        trainer.steps.begin(trainer.initial())
        stepping = Stepping(trainer, [np.arange(len(split))])
        stepping.step()  # the first one makes tables that are kept
        with launches() as started:
            stepping.step()
    return [vars(kernel) for kernel in started]


def bound(started: Sequence[dict[str, Any]], card: Card, with_tf32: bool) -> Report:
    """Milliseconds by bytes, by operations, and of one kernel after the other, each by what takes it longer."""
    rate = card.tf32 if with_tf32 else card.float32
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for kernel in started:
        size = kernel["read"] + kernel["written"]
        least = max(size / card.memory, kernel["flops"] / rate)
        for i, more in enumerate((1, size, 1e3 * least)):
            sums[kernel["name"]][i] += more
    size = sum(size for _, size, _ in sums.values())
    flops = sum(kernel["flops"] for kernel in started)
    dearest = sorted(sums.items(), key=lambda item: -item[1][2])[:DEAREST]
    return {
        "kernels": len(started),
        "bytes": size,
        "flops": flops,
        "least": {
            "products": 1e3 * flops / rate,
            "bytes": 1e3 * size / card.memory,
            "kernels": sum(time for _, _, time in sums.values()),
        },
        "dearest": [{"name": name, "times": n, "bytes": b, "milliseconds": t} for name, (n, b, t) in dearest],
    }


def bounds(cases: Sequence[Case], batch_sizes: Sequence[int], settings: Sequence[bool], card: str) -> Iterator[Report]:
    """A row for each step, batch size and setting of TF32."""
    side = Side(sys.executable, "gpu_bound.py")
    try:
        for size, on, case in ((size, on, case) for size in batch_sizes for on in settings for case in cases):
            row = {"case": case.name, "batch_size": size, "tf32": on, "card": card}
            try:
                started = side.tell("kernels", Job(case, size, device="cuda", tf32=on).to_json(), LATE)
                yield row | bound(started, CARDS[card], on)
            except SideError as failed:
                yield row | {"error": str(failed)}
    finally:
        side.close()


if __name__ == "__main__":
    with answers() as out, computing_on(DOUBLE):
        serve({"kernels": lambda text: kernels(Job.from_json(text))}, sys.stdin, out)
