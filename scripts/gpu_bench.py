"""Time training steps of npsnn on a GPU and of the PyTorch twins of scripts/bench.py on the same one.

Each side runs in a process of its own, and they take turns. The gradients are compared before anything is timed.
Both wait for the GPU after every step, so wall time is the step's. PyTorch runs in eager mode and in both memory
layouts; npsnn with and without fused kernels; both sides without TF32 and with it. Without PyTorch, npsnn alone is
timed. The first turn, in which kernels are compiled, is dropped.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
from bench import LAYOUTS, check_gradients
from bench_cases import CASES, Case
from bench_side import NO_TORCH, Side

STEPS = ("plain", "noise-aware")
FUSE = {"npsnn": "1", "npsnn, not fused": "0"}


def cases(names: tuple[str, ...]) -> list[Case]:
    """The training steps of these models that have a twin."""
    return [c for c in CASES.values() if c.model in names and c.step in STEPS and not c.attack]


def compare(case: Case, batch_size: int, rounds: int, seconds: float, device: str, tf32: bool) -> dict[str, Any]:
    """Medians of milliseconds by side, and the largest difference of a gradient, which with TF32 none is asked for.

    Raises click.ClickException where the gradients differ by more than rounding, SystemExit where a side ends.
    """
    flag, text = str(int(tf32)), json.dumps(asdict(case))
    environment = os.environ | {"CUPY_TF32": flag}
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), f"{name}/start.npz"
        ours = Side(
            sys.executable, "gpu_bench_npsnn.py", text, str(batch_size), start, device, flag, environment=environment
        )
        versions = {"npsnn": ours.ask("version")}  # and by now it has written the start
        others = {
            f"PyTorch {layout}": Side(sys.executable, "gpu_bench_torch.py", text, layout, start, device, flag)
            for layout in LAYOUTS
        }
        answers = {side.ask("version") for side in others.values()}
        if NO_TORCH in answers:
            for side in others.values():
                side.close()
            others = {}
        else:
            versions["PyTorch"] = answers.pop()
        error = None if tf32 else check_gradients(case, ours, others, folder)
        times: dict[str, list[float]] = {k: [] for k in (*FUSE, *others)}
        for _ in range(rounds + 1):
            for k, fuse in FUSE.items():
                times[k].append(float(ours.ask(f"time {fuse} {seconds}")))
            for k, side in others.items():
                times[k].append(float(side.ask(f"time {seconds}")))
        for side in (ours, *others.values()):
            side.close()
    medians = {k: median(t[1:]) for k, t in times.items()}
    return {"milliseconds": medians, "gradient_difference": error, "versions": versions}


def everything(
    names: tuple[str, ...], batch_size: int, rounds: int, seconds: float, device: str
) -> Iterator[dict[str, Any]]:
    """A report for each case, without TF32 and with it; of one that failed, why."""
    for case in cases(names):
        for tf32 in (False, True):
            report: dict[str, Any] = {"case": case.name, "batch_size": batch_size, "tf32": tf32}
            try:
                yield report | compare(case, batch_size, rounds, seconds, device, tf32)
            except (click.ClickException, SystemExit) as error:
                yield report | {"error": error.message if isinstance(error, click.ClickException) else str(error)}
