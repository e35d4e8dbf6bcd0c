"""How a step's time and memory grow with the batch, the image, the width, the classes and the draws of an attack.

Every point is a fresh process of npsnn's side of the benchmarks, because peak memory is the process's. The points of
a curve take turns, and medians over the turns count. See docs/performance.md.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import checkout  # noqa: F401
import click
from bench_cases import Case, Job
from bench_flops import step_flops
from bench_report import Report, machine, markdown_table, processor, read, text_table
from bench_side import Side

from npsnn.cli.values import UserPath
from npsnn.runs.environment import environment

LENET5 = Case("lenet5", "noise-aware")
CNN5 = Case("cnn5", "noise-aware")
HEAD = ("curve", "step", "value", "µs an image", "µs a MFLOP", "peak memory", "of it before the step")


@dataclass(frozen=True)
class Curve:
    """A step, what of it varies, and the values; `field` is one of the case's, or the batch size."""

    name: str
    case: Case
    field: str
    values: tuple[int, ...]

    def case_at(self, value: int) -> Case:
        return self.case if self.field == "batch" else replace(self.case, **{self.field: value})

    def batch_at(self, value: int, usual: int) -> int:
        return value if self.field == "batch" else usual


CURVES = {
    curve.name: curve
    for curve in (
        Curve("batch size", LENET5, "batch", (32, 64, 128, 256, 512, 1024, 2048, 4096)),
        Curve("image size", CNN5, "size", (32, 64, 96, 128)),
        Curve("width", LENET5, "width", (1, 2, 3, 4, 6)),
        Curve("classes", LENET5, "classes", (2, 10, 50, 100, 200)),
        Curve("draws", Case("lenet5", "sampled", attack=True), "draws", (1, 2, 5, 10, 20, 50)),
    )
}


def measured(curve: Curve, threads: int, batch_size: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """The points of a curve: microseconds an image, peak memory after the steps and before the first, in bytes."""
    sides, before = [], []
    for value in curve.values:
        job = Job(curve.case_at(value), curve.batch_at(value, batch_size), threads)
        side = Side(sys.executable, "bench_npsnn.py", job.to_json())
        before.append(int(side.ask("memory")))
        sides.append(side)
    turns = [[float(side.ask(f"time {seconds}")) for side in sides] for _ in range(rounds + 1)]
    points = []
    for i, (value, side) in enumerate(zip(curve.values, sides, strict=True)):
        examples = curve.batch_at(value, batch_size)
        points.append(
            {
                "value": value,
                "microseconds": 1e3 * median(turn[i] for turn in turns[1:]) / examples,
                "flops": step_flops(curve.case_at(value)),
                "memory": int(side.ask("memory")),
                "memory_before": before[i],
            }
        )
        side.close()
    return points


def rows(report: Report) -> list[list[str]]:
    """A row of cells for each point, under HEAD."""
    found = []
    for curve in report["curves"]:
        for p in curve["points"]:
            rate = f"{p['microseconds'] / p['flops'] * 1e6:.1f}"
            cells = [curve["curve"], curve["step"], str(p["value"]), f"{p['microseconds']:.0f}", rate]
            found.append([*cells, *(f"{p[k] / 1e6:.0f} MB" for k in ("memory", "memory_before"))])
    return found


def heading(report: Report) -> str:
    """The machine and the versions, and the number of measurements, in one paragraph."""
    options = report["options"]
    return f"{machine(report)}. {options['rounds']} turns of {options['seconds']:g} s for each point."


def draw(report: Report, target: Path) -> None:
    """Time an image and peak memory along each curve; dashed, time in proportion to the floating-point operations."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curves = report["curves"]
    figure, axes = plt.subplots(2, len(curves), figsize=(3 * len(curves), 5), layout="constrained", squeeze=False)
    for curve, (above, below) in zip(curves, axes.T, strict=True):
        points = curve["points"]
        x, times, flops = ([p[k] for p in points] for k in ("value", "microseconds", "flops"))
        scale = sum(times) / sum(flops)
        above.plot(x, times, marker="o", label="measured")
        above.plot(x, [scale * f for f in flops], "--", label="in proportion to FLOPs")
        below.plot(x, [p["memory"] / 1e6 for p in points], marker="o", label="peak")
        below.plot(x, [p["memory_before"] / 1e6 for p in points], "--", label="before the first step")
        above.set(title=curve["step"], ylim=(0, 1.15 * max(times)))
        below.set(xlabel=curve["curve"], ylim=(0, 1.15 * max(p["memory"] for p in points) / 1e6))
        for ax in (above, below):
            if curve["curve"] == "batch size":
                ax.set_xscale("log", base=2)
                ax.set_xticks(x[::2], [str(v) for v in x[::2]])
            ax.grid(alpha=0.3)
    axes[0, 0].set(ylabel="µs an image")
    axes[1, 0].set(ylabel="memory, MB")
    for ax in axes[:, 0]:
        ax.legend(frameon=False)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def curves(names: tuple[str, ...], threads: int, batch_size: int, rounds: int, seconds: float) -> Report:
    """The curves of these names, all of them for none, as JSON."""
    report: Report = {
        "environment": environment() | {"processor": processor(), "load": os.getloadavg()[0]},
        "options": {"threads": threads, "batch_size": batch_size, "rounds": rounds, "seconds": seconds},
        "curves": [],
    }
    for curve in CURVES.values():
        if not names or curve.name in names:
            click.echo(f"{curve.name}: {', '.join(map(str, curve.values))}", err=True)
            points = measured(curve, threads, batch_size, rounds, seconds)
            report["curves"].append({"curve": curve.name, "step": curve.case.name, "points": points})
    return report


FORMS: dict[str, Callable[[Report], str]] = {
    "json": lambda report: json.dumps(report, indent=1),
    "markdown": lambda report: f"{heading(report)}\n\n{markdown_table(HEAD, rows(report))}",
    "text": lambda report: f"{heading(report)}\n\n{text_table(HEAD, rows(report))}",
}


@click.command()
@click.option("--curve", "names", multiple=True, type=click.Choice(list(CURVES)), help="As often as you like.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True, help="Where it does not vary.")
@click.option("--rounds", type=click.IntRange(1), default=4, show_default=True, help="Turns that each point takes.")
@click.option("--seconds", type=click.FloatRange(0), default=0.2, show_default=True, help="A turn; one step at least.")
@click.option("--plot", type=UserPath(dir_okay=False), help="Draw the curves into this PNG.")
@click.option("--from", "source", type=UserPath(exists=True, dir_okay=False), help="A --json report.")
@click.option("--json", "form", flag_value="json", help="One JSON document.")
@click.option("--markdown", "form", flag_value="markdown", help="The table of docs/performance.md.")
def main(
    names: tuple[str, ...],
    threads: int,
    batch_size: int,
    rounds: int,
    seconds: float,
    plot: Path | None,
    source: Path | None,
    form: str | None,
) -> None:
    """Time an image and peak memory along curves, each point in a fresh process; with --from, of an earlier report."""
    report = read(source, FORMS["text"]) if source else curves(names, threads, batch_size, rounds, seconds)
    if plot is not None:
        draw(report, plot)
    click.echo(FORMS[form or "text"](report))


if __name__ == "__main__":
    main()
