"""Check npsnn on a GPU: the tests with CuPy's arrays, results against a CPU's, times beside PyTorch's.

Writes gpu-check.json and gpu-check.md after each row, tells each row as it comes, and goes on after one that fails. On
cpu-double the double of CuPy takes the place of a GPU: that proves this script, not a GPU, and its times mean nothing.
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import checkout  # noqa: F401
import click
from bench_cases import ON_A_GPU
from gpu_bound import CARDS
from gpu_device import DOUBLE, ROOT, computing_on

from npsnn.cli.values import UserPath

MODELS = ("lenet5", "cnn5", "lenetpp", "resnet18")
STEPS = [case.name for case in ON_A_GPU]
TESTS = ("tests/test_device.py", "tests/test_backend.py")
SHOWN = 6
"""Lines of a traceback that are told at once; the report has all of them."""
TF32 = {"off": (False,), "on": (True,), "both": (False, True)}

Report = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """What was asked for."""

    device: str
    models: tuple[str, ...]
    cases: tuple[str, ...]
    select: str | None
    only: tuple[str, ...]
    test_seconds: int
    batch_sizes: tuple[int, ...]
    tf32: tuple[bool, ...]
    rounds: int
    seconds: float
    images: int | None
    updates: int
    card: str
    torch_python: str

    def steps(self, of: Iterable[Any]) -> list[Any]:
        """Of these cases those of the chosen networks, or of the chosen names."""
        return [c for c in of if c.name in self.cases or (not self.cases and c.model in self.models)]


@dataclass
class Checking:
    """A run: what it found, where that is written, and until when rows may begin."""

    report: Report
    out: Path
    until: float = float("inf")
    begun: float = field(default_factory=perf_counter)

    def part(self, name: str, rows: Iterator[Report], told: Callable[[Report], str]) -> None:
        """All rows of a part, written and told one by one; a part whose time is up says so."""
        from gpu_report import write

        found = self.report[name] = []
        click.echo(f"{name}: (at {self.seconds:.0f} s)", err=True)
        while True:
            if self.seconds > self.until:
                self.report.setdefault("cut_short", []).append(name)
                click.echo(f"  cut short after {len(found)} rows: time is up", err=True)
                break
            try:
                row = next(rows)
            except StopIteration:
                break
            except Exception:
                row = {"error": traceback.format_exc()}
            found.append(row)
            click.echo(told(row) if "error" not in row else _failed(row), err=True)
            write(self.report, self.out)
        write(self.report, self.out)

    @property
    def seconds(self) -> float:
        return perf_counter() - self.begun


def _failed(row: Report) -> str:
    what = row.get("what") or row.get("case") or row.get("attack") or ""
    last = "\n".join(f"    {line}" for line in row["error"].strip().splitlines()[-SHOWN:])
    return f"  {row.get('model', '')} {what}: FAILED\n{last}"


def tests(device: str, select: str | None, seconds: int) -> Report:
    """The tests of the engine, in a process of their own, for so many seconds at most."""
    if lacking := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        return {"passed": None, "summary": f"not run: {', '.join(lacking)} not installed"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *TESTS]
    command += ["-k", select] if select else []
    command += ["-n", "4"] if find_spec("xdist") and device != DOUBLE else []
    environment = os.environ | {"NPSNN_TEST_CUPY": "0" if device == DOUBLE else "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return {"passed": False, "summary": f"not done after {seconds} s", "output": output.splitlines()[-200:]}
    lines = done.stdout.strip().splitlines() or ["no output"]
    report = {"passed": done.returncode == 0, "summary": lines[-1].strip("= ")}
    return report if report["passed"] else report | {"output": lines[-200:]}


def comparisons(kind: str, models: tuple[str, ...], only: tuple[str, ...], device: str) -> Iterator[Report]:
    """A row for each comparison of these networks, of "compare", "training" or "attacks", with one of these words."""
    import gpu_compare
    import gpu_compare_runs

    jobs = {"compare": gpu_compare.passes, "training": gpu_compare_runs.trainings, "attacks": gpu_compare_runs.walking}
    for model in models:
        try:
            listed = [job for job in jobs[kind](model) if not only or any(words in job[0] for words in only)]
        except Exception:
            yield {"model": model, "what": "beginning", "error": traceback.format_exc()}
            continue
        for what, dtype, f, how in listed:
            row, start = {"model": model, "what": what, "dtype": dtype}, perf_counter()
            try:
                found = gpu_compare.compared(model, what, dtype, device, f, **how)
                row |= asdict(found) | {"limit": found.limit, "passed": found.passed}
            except Exception:
                row |= {"error": traceback.format_exc(), "passed": False}
            yield row | {"seconds": perf_counter() - start}


def compared_in_words(row: Report) -> str:
    cpu = f"{max(row['errors'].values()):.1e} from a CPU, " if row["errors"] else ""
    same = "same bits with graphs" if row["apart"] == 0 else f"graphs {row['apart']:.1e} apart"
    late = "" if row["passed"] else "  TOO LARGE"
    warned = "".join(f"\n    {line}" for line in row["warned"])
    head = f"  {row['model']}, {row['what']}, {row['dtype']}"
    return f"{head}: {cpu}{same} ({row['graphs']}){late} [{row['seconds']:.1f} s]{warned}"


def run(part: str, chosen: Chosen, checking: Checking, usable: str, sides: Any) -> None:
    """One part."""
    import bench_device
    import gpu_bound

    if part == "tests":
        checking.report[part] = tests(chosen.device, chosen.select, chosen.test_seconds)
        found = checking.report[part]
        click.echo("\n".join(["tests:", *found.get("output", []), f"  {found['summary']}"]), err=True)
        return
    if part in ("compare", "training", "attacks"):
        checking.part(part, comparisons(part, chosen.models, chosen.only, usable), compared_in_words)
        return
    settings = chosen.batch_sizes, chosen.tf32
    rows = {
        "bench": lambda: bench_device.steps(chosen.steps(ON_A_GPU), *settings, chosen.rounds, chosen.seconds, sides),
        "attack-bench": lambda: bench_device.attacks(
            [name for name, model in {"pgd": "lenet5", "eot": "resnet18"}.items() if model in chosen.models],
            chosen.tf32,
            chosen.images,
            sides,
        ),
        "memory": lambda: bench_device.memory(
            chosen.steps(bench_device.MEMORY_CASES), settings[0][0], chosen.updates, min(30, chosen.updates), sides
        ),
        "profile": lambda: bench_device.profiles(chosen.steps(ON_A_GPU), *settings, sides),
        "bound": lambda: gpu_bound.bounds(chosen.steps(ON_A_GPU), *settings, chosen.card),
    }
    checking.part(part, rows[part](), bench_device.in_words)


ON_THE_CARD = ("tests", "compare", "training", "attacks", "bench", "attack-bench", "memory", "profile")
PARTS = (*ON_THE_CARD, "bound")
"""The last one is a CPU's work of minutes, and done when it is asked for."""


def failures(report: Report) -> list[str]:
    """What did not pass, in words; a goal that was missed is no failure."""
    found = ["tests"] if report.get("tests", {}).get("passed") is False else []
    for part in PARTS[1:]:
        for row in report.get(part, []):
            if "error" in row or row.get("passed") is False:
                what = [str(row[k]) for k in ("model", "what", "case", "attack", "dtype") if k in row]
                why = f": {row['error'].strip().splitlines()[-1]}" if "error" in row else ""
                found.append(f"{', '.join(what)}{why}")
    return found


@click.command(context_settings={"show_default": True})
@click.option("--out", type=UserPath(file_okay=False), default=Path("gpu-check"), help="Folder.")
@click.option("--device", default="cuda", help=f"cuda, cuda:N, or {DOUBLE} for a run without a GPU.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=ON_THE_CARD, help="What to do.")
@click.option("--model", "models", multiple=True, type=click.Choice(MODELS), default=MODELS, help="Which networks.")
@click.option("--case", "cases", multiple=True, type=click.Choice(STEPS), help="Of the timed steps only these.")
@click.option("--select", help="Of the tests only those that pytest -k would select.")
@click.option("--only", multiple=True, help="Of what is compared only this, as PGD, EoT or 'closed form'.")
@click.option("--test-seconds", type=click.IntRange(1), default=120, help="The tests are stopped after so long.")
@click.option(
    "--batch-size", "batch_sizes", multiple=True, type=click.IntRange(2), default=(128, 1024), help="Of steps."
)
@click.option("--tf32", type=click.Choice(list(TF32)), default="both", help="Whether products may round to TF32.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Turns that each timed side takes.")
@click.option("--seconds", type=click.FloatRange(0), default=0.15, help="A turn.")
@click.option("--images", type=click.IntRange(1), help="Images of a timed attack, instead of its own number.")
@click.option("--updates", type=click.IntRange(4), default=300, help="Steps of the trainings whose memory is watched.")
@click.option("--card", type=click.Choice(list(CARDS)), default="h200", help="Whose peaks bound a step.")
@click.option("--minutes", type=click.FloatRange(0), help="No row begins later.")
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
def main(out: Path, parts: tuple[str, ...], tf32: str, minutes: float | None, **options: Any) -> None:
    """Check npsnn on a GPU and write what was found to the folder --out; exit code 1 where something differs."""
    from bench_device import Sides

    from npsnn.runs.environment import environment

    chosen = Chosen(tf32=TF32[tf32], **options)
    with ExitStack() as stack:
        try:
            usable = stack.enter_context(computing_on(chosen.device))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        about = environment("cpu" if chosen.device == DOUBLE else chosen.device)
        until = float("inf") if minutes is None else 60 * minutes
        checking = Checking({"environment": about, "options": asdict(chosen)}, out, until)
        sides = Sides(chosen.device, chosen.torch_python)
        stack.callback(sides.close)
        for part in (p for p in PARTS if p in parts and (p, chosen.device) != ("profile", DOUBLE)):
            run(part, chosen, checking, usable, sides)
        checking.report["seconds"] = checking.seconds
    if failed := failures(checking.report):
        raise click.ClickException(f"{len(failed)} checks failed, see {out / 'gpu-check.md'}: {'; '.join(failed)}")
    click.echo(f"all checks passed: {out / 'gpu-check.md'}")


if __name__ == "__main__":
    main()
