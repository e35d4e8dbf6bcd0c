"""Time the noise-aware LeNet-5 step (forward, backward, update) of npsnn and of a PyTorch twin.

Each side runs in a process of its own, because allocator settings are the process's; the parent has them take turns
and takes medians. A process keeps whatever memory layout it happened to get, so the whole comparison is repeated in
fresh ones, and the median of the ratios counts.

The gradients are compared before anything is timed. The twin does the same work: the Laplace rule, pooling before
ReLU, the covariance of the logits. PyTorch runs with its defaults, in both memory layouts; the faster one counts.
Without PyTorch, npsnn alone is timed.
"""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

HERE = Path(__file__).parent
NO_TORCH = "no PyTorch"


class Side:
    """A process that prints a line for every line it is sent."""

    def __init__(self, python: str, script: str, *args: str) -> None:
        command = [python, str(HERE / script), *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise click.ClickException(f"a side of the benchmark ended with exit code {self.process.wait()}")
        return answer

    def close(self) -> None:
        self.process.communicate()


def largest_error(ours: Path, theirs: Path) -> float:
    """The largest difference of a gradient's entry, over that gradient's largest entry."""
    with np.load(ours) as a, np.load(theirs) as b:
        return max(float(np.abs(a[k] - b[k]).max() / np.abs(a[k]).max()) for k in a.files)


def measure(sides: dict[str, Side], rounds: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds a step, a list of rounds for each side; the first round warms up and is dropped."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            times[name].append(float(side.ask(f"time {steps}")))
    return {name: t[1:] for name, t in times.items()}


def compare(threads: int, batch_size: int, rounds: int, steps: int, torch_python: str) -> dict[str, Any]:
    """One comparison, each side in a fresh process: versions, medians, and the ratio to the faster layout."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        sides = {"npsnn": Side(sys.executable, "bench_npsnn.py", str(threads), str(batch_size), str(start))}
        report: dict[str, Any] = {"npsnn": sides["npsnn"].ask("version")}
        ours = sides["npsnn"].ask(f"gradients {folder}/ours.npz")
        for layout in ("nchw", "channels_last"):
            side = Side(torch_python, "bench_torch.py", str(threads), layout, str(start))
            report["torch"] = side.ask("version")
            if report["torch"] == NO_TORCH:
                break
            theirs = side.ask(f"gradients {folder}/{layout}.npz")
            error = largest_error(Path(folder) / "ours.npz", Path(folder) / f"{layout}.npz")
            if error > 1e-4:
                raise click.ClickException(f"gradients differ by {error:.1e} ({layout}): loss {ours} and {theirs}")
            report["gradient_error"] = max(error, report.get("gradient_error", 0.0))
            sides[f"torch {layout}"] = side
        times = measure(sides, rounds, steps)
        for side in sides.values():
            side.close()
    report["milliseconds"] = {name: median(t) for name, t in times.items()}
    theirs_best = min((median(t) for name, t in times.items() if name != "npsnn"), default=None)
    report["ratio"] = None if theirs_best is None else median(times["npsnn"]) / theirs_best
    return report


@click.command()
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--batch-size", type=int, default=128, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True, help="Comparisons, each in fresh processes.")
@click.option("--rounds", type=int, default=9, show_default=True, help="Turns that each side takes.")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps in a turn.")
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
@click.option("--json", "as_json", is_flag=True)
def main(
    threads: int, batch_size: int, repeats: int, rounds: int, steps: int, torch_python: str, as_json: bool
) -> None:
    """Interleaved medians of the noise-aware LeNet-5 step, npsnn against PyTorch."""
    reports = [compare(threads, batch_size, rounds, steps, torch_python) for _ in range(repeats)]
    if as_json:
        click.echo(json.dumps({"threads": threads, "batch_size": batch_size, "comparisons": reports}))
        return
    first = reports[0]
    click.echo(f"noise-aware LeNet-5 step, batch {batch_size}, float32, {threads} threads, {platform.machine()}")
    click.echo(f"npsnn {first['npsnn']}, PyTorch {first['torch']}")
    for name in first["milliseconds"]:
        each = [r["milliseconds"][name] for r in reports]
        click.echo(f"  {name:<20} {median(each):6.2f} ms   medians {min(each):.2f} to {max(each):.2f}")
    if first["ratio"]:
        ratios = [r["ratio"] for r in reports]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        click.echo(f"npsnn / PyTorch (its defaults, faster layout) = {median(ratios):.2f}   ({spread})")
        click.echo(f"largest relative difference of a gradient {max(r['gradient_error'] for r in reports):.1e}")


if __name__ == "__main__":
    main()
