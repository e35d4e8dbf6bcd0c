"""Time the noise-aware LeNet-5 step (forward, backward, update) of npsnn and of a PyTorch twin.

Each side runs in a process of its own, because allocator settings are the process's; the parent has them take turns,
a round each, and takes medians. The gradients are compared before anything is timed. The twin does the same work:
the Laplace rule, pooling before ReLU, the covariance of the logits. PyTorch runs with its defaults, in both memory
layouts; the faster one counts. Without PyTorch, npsnn alone is timed.
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


@click.command()
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--batch-size", type=int, default=128, show_default=True)
@click.option("--rounds", type=int, default=15, show_default=True)
@click.option("--steps", type=int, default=20, show_default=True, help="Steps in a round.")
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
@click.option("--json", "as_json", is_flag=True)
def main(threads: int, batch_size: int, rounds: int, steps: int, torch_python: str, as_json: bool) -> None:
    """Interleaved medians of the noise-aware LeNet-5 step, npsnn against PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        sides = {"npsnn": Side(sys.executable, "bench_npsnn.py", str(threads), str(batch_size), str(start))}
        report: dict[str, Any] = {"npsnn": sides["npsnn"].ask("version"), "machine": platform.machine()}
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
    report |= {"threads": threads, "batch_size": batch_size}
    report["milliseconds"] = {n: {"median": median(t), "least": min(t), "most": max(t)} for n, t in times.items()}
    if len(sides) > 1:
        best = min((n for n in times if n != "npsnn"), key=lambda n: median(times[n]))
        report["ratio"] = median(times["npsnn"]) / median(times[best])
    click.echo(json.dumps(report) if as_json else as_text(report))


def as_text(report: dict[str, Any]) -> str:
    lines = [f"noise-aware LeNet-5 step, batch {report['batch_size']}, float32, {report['threads']} threads"]
    lines += [f"npsnn {report['npsnn']}, PyTorch {report['torch']}"]
    for name, t in report["milliseconds"].items():
        lines.append(f"  {name:<20} {t['median']:7.2f} ms   ({t['least']:.2f} to {t['most']:.2f})")
    if "ratio" in report:
        lines.append(f"npsnn / PyTorch (its defaults, better layout) = {report['ratio']:.2f}")
        lines.append(f"largest relative difference of the gradients {report['gradient_error']:.1e}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
