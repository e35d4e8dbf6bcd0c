"""Check npsnn on a GPU: the tests with CuPy's arrays, results against a CPU's, steps against PyTorch's.

Writes gpu-check.json and gpu-check.md after each part. On cpu-double the double of CuPy takes the place of a GPU, and
nothing is timed: that proves this script, not a GPU.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import click

from npsnn.cli.values import UserPath

ROOT = Path(__file__).parent.parent
DOUBLE = "cpu-double"
PARTS = ("tests", "compare", "bench")
MODELS = ("lenet5", "cnn5", "lenetpp", "resnet18")
TESTS = ("tests/test_device.py", "tests/test_backend.py")

Report = dict[str, Any]


@contextmanager
def computing_on(device: str) -> Iterator[str]:
    """The device's name for npsnn, once it can be used; raises click.ClickException, in one line, where it cannot."""
    from npsnn.backend import use_device

    if device != DOUBLE:
        try:
            use_device(device)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        if device == "cpu":
            raise click.ClickException(f"device must be cuda, cuda:N or {DOUBLE}, got 'cpu'")
        yield device
        return
    if find_spec("pytest") is None:
        raise click.ClickException(f"{DOUBLE} needs pytest, which is not installed")
    sys.path.append(str(ROOT / "tests"))
    import cupy_double
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        cupy_double.install(patch)
        yield "cuda"


def tests(device: str, select: str | None) -> Report:
    """The tests of the engine, in a process of their own."""
    if lacking := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        return {"passed": None, "summary": f"not run: {', '.join(lacking)} not installed"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *TESTS]
    command += ["-k", select] if select else []
    environment = os.environ | {"NPSNN_TEST_CUPY": "0" if device == DOUBLE else "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    report = {"passed": done.returncode == 0, "summary": lines[-1].strip("= ")}
    return report if report["passed"] else report | {"output": lines[-100:]}


def compare(models: tuple[str, ...], device: str) -> list[Report]:
    """Every comparison of these networks, told as they come."""
    import gpu_compare

    rows = []
    for name in models:
        for found in gpu_compare.everything(name, device):
            rows.append(asdict(found) | {"limit": found.limit, "passed": found.passed})
            worst = max(found.errors.values())
            click.echo(
                f"  {name}, {found.what}, {found.dtype}: {worst:.1e}{'' if found.passed else '  TOO LARGE'}", err=True
            )
    return rows


def bench(models: tuple[str, ...], batch_size: int, rounds: int, seconds: float, device: str) -> list[Report]:
    """Every timing of these networks, told as they come."""
    from bench import chosen
    from bench_device import steps, told

    return list(told(steps(chosen(models)), batch_size, rounds, seconds, device))


def failures(report: Report) -> list[str]:
    """What did not pass, in words."""
    found = ["tests"] if report.get("tests", {}).get("passed") is False else []
    found += [f"{r['model']}, {r['what']}, {r['dtype']}" for r in report.get("compare", []) if not r["passed"]]
    return found + [f"{r['case']}: {r['error']}" for r in report.get("bench", []) if "error" in r]


@click.command(context_settings={"show_default": True})
@click.option("--out", type=UserPath(file_okay=False), default=Path("gpu-check"), help="Folder.")
@click.option("--device", default="cuda", help=f"cuda, cuda:N, or {DOUBLE} for a run without a GPU.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="What to do.")
@click.option("--model", "models", multiple=True, type=click.Choice(MODELS), default=MODELS, help="Which networks.")
@click.option("--select", help="Of the tests only those that pytest -k would select.")
@click.option("--batch-size", type=click.IntRange(2), default=128, help="Of the timed steps.")
@click.option("--rounds", type=click.IntRange(1), default=7, help="Turns that each timed side takes.")
@click.option("--seconds", type=click.FloatRange(0), default=0.4, help="A turn.")
def main(
    out: Path,
    device: str,
    parts: tuple[str, ...],
    models: tuple[str, ...],
    select: str | None,
    batch_size: int,
    rounds: int,
    seconds: float,
) -> None:
    """Check npsnn on a GPU and write what was found to the folder --out; exit code 1 where something differs."""
    from gpu_report import write

    from npsnn.runs.environment import environment

    with computing_on(device) as usable:
        report: Report = {"environment": environment("cpu" if device == DOUBLE else device)}
        for part in (p for p in PARTS if p in parts and (p, device) != ("bench", DOUBLE)):
            click.echo(f"{part}:", err=True)
            if part == "tests":
                report[part] = tests(device, select)
                click.echo(f"  {report[part]['summary']}", err=True)
            elif part == "compare":
                report[part] = compare(models, usable)
            else:
                report[part] = bench(models, batch_size, rounds, seconds, device)
            write(report, out)
    if failed := failures(report):
        raise click.ClickException(f"{len(failed)} checks failed, see {out / 'gpu-check.md'}: {'; '.join(failed)}")
    click.echo(f"all checks passed: {out / 'gpu-check.md'}")


if __name__ == "__main__":
    main()
