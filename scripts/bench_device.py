"""Training steps of npsnn on a GPU and of the PyTorch twins on the same one: scripts/run bench --device cuda.

Each side runs in a process of its own, and they take turns. The gradients are compared before anything is timed.
Both wait for the GPU after every step, so wall time is the step's. PyTorch runs in eager mode and in both memory
layouts; npsnn with and without fused kernels; both sides without TF32 and with it. Without PyTorch, npsnn alone is
timed. The first turn, in which kernels are compiled, is dropped.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
from bench import check_gradients, torch_sides
from bench_cases import Case, Job
from bench_side import Side

FUSE = {"npsnn": "1", "npsnn, not fused": "0"}


def steps(cases: Iterable[Case]) -> list[Case]:
    """Of these cases the training steps that have a twin."""
    return [c for c in cases if c.step in ("plain", "noise-aware") and not c.attack]


def compare(job: Job, rounds: int, seconds: float, torch_python: str) -> dict[str, Any]:
    """Medians of milliseconds by side, and the largest difference of a gradient, which with TF32 none is asked for.

    Raises click.ClickException where the gradients differ by more than rounding, SystemExit where a side ends.
    """
    environment = os.environ | {"CUPY_TF32": str(int(job.tf32))}
    ours = Side(sys.executable, "bench_npsnn.py", job.to_json(), environment=environment)
    versions = {"npsnn": ours.ask("version")}  # and by now it has written the start
    others = {f"PyTorch {layout}": side for layout, side in torch_sides(job, torch_python, os.environ).items()}
    if others:
        versions["PyTorch"] = next(iter(others.values())).ask("version")
    error = None if job.tf32 else check_gradients(job.case, ours, others, Path(str(job.start)).parent)
    times: dict[str, list[float]] = {k: [] for k in (*FUSE, *others)}
    for _ in range(rounds + 1):
        for k, fuse in FUSE.items():
            ours.ask(f"fuse {fuse}")
            times[k].append(float(ours.ask(f"time {seconds}")))
        for k, side in others.items():
            times[k].append(float(side.ask(f"time {seconds}")))
    for side in (ours, *others.values()):
        side.close()
    medians = {k: median(t[1:]) for k, t in times.items()}
    return {"milliseconds": medians, "gradient_difference": error, "versions": versions}


def everything(
    cases: Iterable[Case], batch_size: int, rounds: int, seconds: float, device: str, torch_python: str
) -> Iterator[dict[str, Any]]:
    """A report for each case, without TF32 and with it; of one that failed, why."""
    for case in cases:
        for tf32 in (False, True):
            report: dict[str, Any] = {"case": case.name, "batch_size": batch_size, "tf32": tf32}
            try:
                with tempfile.TemporaryDirectory() as folder:
                    job = Job(case, batch_size, start=f"{folder}/start.npz", device=device, tf32=tf32)
                    yield report | compare(job, rounds, seconds, torch_python)
            except (click.ClickException, SystemExit) as error:
                yield report | {"error": error.message if isinstance(error, click.ClickException) else str(error)}


def told(
    cases: Iterable[Case],
    batch_size: int,
    rounds: int,
    seconds: float,
    device: str,
    torch_python: str = sys.executable,
) -> Iterator[dict[str, Any]]:
    """The reports of `everything`, each in a line on standard error as it comes."""
    for row in everything(cases, batch_size, rounds, seconds, device, torch_python):
        times = row.get("error") or ", ".join(f"{k} {t:.2f} ms" for k, t in row["milliseconds"].items())
        click.echo(f"  {row['case']}, TF32 {'on' if row['tf32'] else 'off'}: {times}", err=True)
        yield row
