"""Time steps of npsnn's models and of PyTorch twins that do the same work: see docs/performance.md.

Each side runs in a process of its own, because allocator settings are the process's; the parent has them take turns
and takes medians. A process keeps whatever memory layout it happened to get, so the whole comparison is repeated in
fresh ones, and the median of the ratios counts.

The gradients are compared before anything is timed. PyTorch runs in both memory layouts, of which the faster counts,
once with its defaults and once with an allocator that keeps freed memory as npsnn's does. Without PyTorch, npsnn alone
is timed. A step by the exact rule has no twin: it is compared with npsnn's own by the Laplace rule.

On a GPU, with --device cuda, see bench_device.py.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import bench_report
import checkout  # noqa: F401
import click
import numpy as np
from bench_cases import CASES, ON_A_GPU, Case, Job
from bench_flops import step_flops
from bench_side import NO_TORCH, Side

from npsnn.backend import use_device
from npsnn.cli.values import UserPath
from npsnn.host import ALLOCATOR
from npsnn.runs.environment import environment

LOSS_LIMIT = 1e-4
LIMITS = {"resnet18": 5e-2}
LIMIT = 1e-3
"""How far gradients may be apart, by `difference`, of the models in LIMITS and of others.

Rounding leaves 1e-6 or less where it moves no unit across the kink of a ReLU, but among the 70 million units of
ResNet-18 at batch 128 it always moves some: npsnn's own gradient in float32 is 3e-3 from that in float64, and an
algorithm that rounds a few times as much (Winograd's) moves a few times as many. scripts/run compare-torch, away from
kinks and in float64, compares to 1e-9.
"""
LAYOUTS = ("nchw", "channels_last")
RAISED = {f"MALLOC_{name}_": str(value) for name, (_, value) in ALLOCATOR.items()}
ALLOCATORS: dict[str, dict[str, str]] = {"defaults": {}, "raised": RAISED}


def difference(ours: Path, theirs: Path) -> float:
    """The largest |a - b| / |a| of two files' arrays, of Euclidean norms: where one unit lies so close to a kink that
    rounding decides its side, single entries jump, but not a whole gradient.
    """
    with np.load(ours) as a, np.load(theirs) as b:
        if set(a.files) != set(b.files):
            raise click.ClickException(f"only one side has a gradient of {', '.join(set(a.files) ^ set(b.files))}")
        return max(float(np.linalg.norm(a[k] - b[k]) / np.linalg.norm(a[k])) for k in a.files)


def rivals(job: Job, torch_python: str) -> dict[str, Side]:
    """The sides that npsnn is compared with, by name; none without PyTorch."""
    if job.case.step == "exact":
        other = replace(job, case=replace(job.case, step="noise-aware"), start=None)
        return {"laplace": Side(sys.executable, "bench_npsnn.py", other.to_json())}
    own = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    sides: dict[str, Side] = {}
    for layout in LAYOUTS:
        arguments = replace(job, layout=layout).to_json()
        for allocator, variables in ALLOCATORS.items():
            sides[f"{allocator} {layout}"] = Side(
                torch_python, "bench_torch.py", arguments, environment=own | variables
            )
    if any(side.ask("version") == NO_TORCH for side in sides.values()):
        for side in sides.values():
            side.close()
        return {}
    return sides


def check_gradients(case: Case, ours: Side, sides: dict[str, Side], folder: Path) -> float | None:
    """The largest difference from any side; raises click.ClickException for one that is more than rounding."""
    loss, largest = float(ours.ask(f"gradients {folder}/ours.npz")), None
    for name, side in sides.items():
        theirs = float(side.ask(f"gradients {folder}/theirs.npz"))
        if name == "laplace":  # another formula: its gradients are not the same
            continue
        if not abs(loss - theirs) <= LOSS_LIMIT * abs(loss):
            raise click.ClickException(f"{case.name}: npsnn's loss is {loss}, PyTorch's {theirs} ({name})")
        found, limit = difference(folder / "ours.npz", folder / "theirs.npz"), LIMITS.get(case.model, LIMIT)
        if not found <= limit:
            raise click.ClickException(
                f"{case.name}: a gradient differs by {found:.1e} from PyTorch's ({name}), more than {limit:g}"
            )
        largest = max(found, largest or 0.0)
    return largest


def compare(case: Case, threads: int, batch_size: int, rounds: int, seconds: float, torch_python: str) -> Any:
    """One comparison, each side in a fresh process: medians of milliseconds and of the ceilings, peaks of memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(case, batch_size, threads, start=str(folder / "start.npz"))
        ours = Side(sys.executable, "bench_npsnn.py", job.to_json())
        versions = {"npsnn": ours.ask("version")}  # and by now it has written the start
        others = rivals(job, torch_python)
        if others and case.step != "exact":
            versions["PyTorch"] = next(iter(others.values())).ask("version")
        sides = {"npsnn": ours} | others
        before = {k: int(side.ask("memory")) for k, side in sides.items()}
        error = check_gradients(case, ours, others, folder)
        ceilings = Side(sys.executable, "bench_ceilings.py", str(threads))
        measured: dict[str, list[float]] = {k: [] for k in (*sides, "sgemm", "copy")}
        for _ in range(rounds + 1):
            for k, side in sides.items():
                measured[k].append(float(side.ask(f"time {seconds}")))
            for k in ("sgemm", "copy"):
                measured[k].append(float(ceilings.ask(f"{k} {seconds / 4}")))
        memory = {k: int(side.ask("memory")) for k, side in sides.items()}
        for side in (*sides.values(), ceilings):
            side.close()
    medians = {k: median(t[1:]) for k, t in measured.items()}  # the first round warms up
    return {
        "versions": versions,
        "milliseconds": {k: medians[k] for k in sides},
        "ceilings": {k: medians[k] for k in ("sgemm", "copy")},
        "memory": memory,
        "memory_before": before,
        "gradient_difference": error,
    }


def chosen(names: tuple[str, ...]) -> list[Case]:
    """The cases of these names, each of a case or of a model with several; all of them for none."""
    odd = [n for n in names if not any(n in (c.name, c.model) for c in CASES.values())]
    if odd:
        known = dict.fromkeys(name for c in CASES.values() for name in (c.model, c.name))
        raise click.BadParameter(f"unknown case {odd[0]!r}, expected one of {', '.join(known)}", param_hint="--case")
    return [c for c in CASES.values() if not names or {c.name, c.model} & set(names)]


def on_host(
    cases: list[Case], threads: int, batch_size: int, repeats: int, rounds: int, seconds: float, torch_python: str
) -> bench_report.Report:
    """The report of these cases on the CPU, told as they come."""
    report: bench_report.Report = {
        "environment": environment() | {"processor": bench_report.processor(), "load": os.getloadavg()[0]},
        "options": {"threads": threads, "batch_size": batch_size, "rounds": rounds, "seconds": seconds},
        "cases": [],
    }
    for case in cases:
        found = []
        for i in range(repeats):
            click.echo(f"{case.name}: comparison {i + 1} of {repeats}", err=True)
            found.append(compare(case, threads, batch_size, rounds, seconds, torch_python))
        report["cases"].append({"case": case.name, "flops": batch_size * step_flops(case), "comparisons": found})
    return report


def on_device(
    cases: list[Case], batch_size: int, rounds: int, seconds: float, device: str, torch_python: str
) -> bench_report.Report:
    """The report of the training steps among these cases on a GPU, without TF32 and with it, told as they come."""
    import bench_device

    steps = [case for case in ON_A_GPU if case in cases]
    if not steps:
        raise click.BadParameter("on a GPU only training steps are timed", param_hint="--case")
    try:
        use_device(device)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from None
    sides, found = bench_device.Sides(device, torch_python), []
    for row in bench_device.steps(steps, (batch_size,), (False, True), rounds, seconds, sides):
        click.echo(bench_device.in_words(row), err=True)
        found.append(row)
    sides.close()
    return {"environment": environment(device), "bench": found}


@click.command()
@click.option("--case", "names", multiple=True, help="A case or a model, as often as you like; all by default.")
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda or cuda:N for training steps on a GPU.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Of a CPU.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Of a CPU: in fresh processes.")
@click.option("--rounds", type=click.IntRange(1), default=4, show_default=True, help="Turns that each side takes.")
@click.option("--seconds", type=click.FloatRange(0), default=1.0, show_default=True, help="A turn; one step at least.")
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
@click.option("--from", "source", type=UserPath(exists=True, dir_okay=False), help="A --json report.")
@click.option("--json", "form", flag_value="json", help="One JSON document.")
@click.option("--markdown", "form", flag_value="markdown", help="The tables of docs/performance.md or docs/gpu.md.")
def main(
    names: tuple[str, ...],
    device: str,
    threads: int,
    batch_size: int,
    repeats: int,
    rounds: int,
    seconds: float,
    torch_python: str,
    source: Path | None,
    form: str | None,
) -> None:
    """Interleaved medians of steps, npsnn against PyTorch; with --from, the tables of an earlier report."""
    if source is not None:
        report = bench_report.read(source, bench_report.FORMS["text"])
    elif device == "cpu":
        report = on_host(chosen(names), threads, batch_size, repeats, rounds, seconds, torch_python)
    else:
        report = on_device(chosen(names), batch_size, rounds, seconds, device, torch_python)
    click.echo(bench_report.FORMS[form or "text"](report))


if __name__ == "__main__":
    main()
