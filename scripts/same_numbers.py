"""Shows that two checkouts compute the same numbers: trainings, attacks, evaluations, checklists and the audit.

OLD and NEW are project folders with a .venv, or programs called npsnn. Each case runs on both sides in a folder of its
own, through the command line. Compared are name, type, shape and SHA-256 of each array in last.npz, best.npz and saved
images, and every figure in metrics.jsonl and in JSON documents but times. Texts are not compared. Cases called old-run
make NEW load, attack and resume the runs that OLD has written. The table of cases is scripts/same_numbers_cases.py.
Exit code 1: something differs, or a command failed.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import click
import numpy as np
from same_numbers_cases import CASES, DATA, NOISE, Case, with_needed
from same_numbers_figures import Figures, compare, of_document, of_folder

GOOD_CODES = (0, 3, 4)
"""Of commands that have done their work: 3 and 4 are findings of checklist and audit."""
PATIENCE = 1200.0
SYSTEM = """
import json, sys, numpy, scipy, npsnn, threadpoolctl
found = {"python": sys.version.split()[0], "numpy": numpy.__version__, "scipy": scipy.__version__}
blas = [f"{b['internal_api']} {b['version']} {b.get('architecture')}" for b in threadpoolctl.threadpool_info()]
print(json.dumps([npsnn.__file__, found | {"blas": sorted(blas)}]))
"""


class FailedError(Exception):
    """A command of a case has failed."""


def make_noise(folder: Path) -> None:
    """Write random images in the form of cifar10's binary files, each class equally often."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (10_000, 1 + 3 * 32 * 32), np.uint8)
        records[:, 0] = rng.permutation(10_000) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())


@dataclass
class Side:
    """One checkout, and the folder of its results: for each case figures.json, and the runs that other cases need.

    name: OLD or NEW.
    program: npsnn of the checkout's environment.
    other: the side whose runs are loaded in cases called old-run.
    """

    name: str
    program: Path
    folder: Path
    other: "Side | None" = None

    @property
    def python(self) -> Path:
        return self.program.with_name("python")

    def environment(self, case: Case | None = None) -> dict[str, str]:
        """The environment of commands: no options of npsnn's, no other place to import from, data of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NPSNN_", "PYTHON"))}
        data = str(self.folder / "data")
        if case and case.data:
            data = "data" if case.data == NOISE else os.environ["NPSNN_DATA"]
        return kept | {"NPSNN_DATA": data, "COLUMNS": "200"}

    def system(self) -> dict[str, Any]:
        """Versions and BLAS; raises UsageError unless the environment is the checkout's own."""
        out = subprocess.run(
            [self.python, "-c", SYSTEM], env=self.environment(), capture_output=True, text=True, cwd=self.folder
        )
        if out.returncode:
            raise click.UsageError(f"{self.name}: {self.python} cannot import npsnn: {out.stderr.strip()[-300:]}")
        where, found = json.loads(out.stdout)
        root = self.program.parents[2]
        if not Path(where).resolve().is_relative_to(root):
            raise click.UsageError(f"{self.name}: {self.python} imports npsnn from {where}, which is not in {root}")
        return dict(found)

    def figures(self, case: Case) -> Figures | None:
        """The figures of a case that were kept, unless the case was another one."""
        path = self.folder / case.name / "figures.json"
        kept = json.loads(path.read_text()) if path.is_file() else {}
        return kept["figures"] if kept.get("case") == case.digest else None

    def compute(self, case: Case) -> Figures:
        """The figures of a case, kept or new; raises FailedError where a command fails."""
        if (kept := self.figures(case)) is not None:
            return kept
        place = self.folder / case.name
        folder = place.with_name(f".{place.name}-{os.getpid()}")  # another comparison may have the same cache
        folder.mkdir(parents=True)
        try:
            figures = self._run(case, folder)
            (folder / "figures.json").write_text(json.dumps({"case": case.digest, "figures": figures}))
            shutil.rmtree(folder / "data", ignore_errors=True)
            if not any(other.after == case.name for other in CASES):
                shutil.rmtree(folder / "runs", ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return figures

    def _run(self, case: Case, folder: Path) -> Figures:
        """The figures of a case that runs in an empty folder."""
        if case.after:
            start = self.other if case.old_run and self.other else self
            shutil.copytree(start.folder / case.after / "runs", folder / "runs")
        if case.data == NOISE:
            make_noise(folder / "data" / "cifar-10-batches-bin")
        if case.stopped:
            self._stopped(case, folder)
        figures: Figures = {}
        for number, command in enumerate(case.commands, start=1):
            out, code = self._done(case, folder, self.program, *shlex.split(command))
            what = command.split()[0] + (f" {number}" if len(case.commands) > 1 else "")
            figures |= {f"{what}: exit code": code} | of_document(out, what)
        if case.script:
            figures |= of_document(self._done(case, folder, self.python, "-c", case.script)[0], "python")
        return figures | of_folder(folder)

    def _done(self, case: Case, folder: Path, *args: str | Path) -> tuple[str, int]:
        done = subprocess.run(
            args, cwd=folder, env=self.environment(case), capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode not in GOOD_CODES:
            last = " | ".join(done.stderr.strip().splitlines()[-3:])
            raise FailedError(f"{self.name} ended with {done.returncode}: {shlex.join(map(str, args[1:]))}: {last}")
        return done.stdout, done.returncode

    def _stopped(self, case: Case, folder: Path) -> None:
        """Run a training until an epoch is done, and interrupt it; one that ends before is as good."""
        process = subprocess.Popen(
            [self.program, *shlex.split(case.stopped)],
            cwd=folder,
            env=self.environment(case),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        end = monotonic() + PATIENCE
        while process.poll() is None and monotonic() < end:
            if any(path.stat().st_size for path in (folder / "runs").glob("*/metrics.jsonl")):
                process.send_signal(signal.SIGINT)
                break
            sleep(0.005)
        err = process.communicate(timeout=PATIENCE)[1]
        if process.returncode not in (0, 130):
            raise FailedError(f"{self.name} ended with {process.returncode}: {case.stopped}: {err.strip()[-300:]}")


def side(name: str, place: Path, folder: Path, other: Side | None = None) -> Side:
    """The side of a project folder, or of a program; its results go to `folder`."""
    program = place.resolve() if place.is_file() else place.resolve() / ".venv" / "bin" / "npsnn"
    if not program.is_file():
        raise click.UsageError(f"{name}: there is no {program}: run scripts/check in {place}, which makes it")
    folder.mkdir(parents=True, exist_ok=True)
    return Side(name, program, folder.absolute(), other)


def results(one: Side, cases: list[Case], jobs: int) -> Iterator[Figures | Exception]:
    """The figures of each case on one side, or why there are none, in the order of the cases."""
    futures: dict[str, Future[Figures]] = {}

    def compute(case: Case) -> Figures:
        if case.after and not (case.old_run and one.other):
            futures[case.after].result()  # begun before: the table has it first
        return one.compute(case)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for case in cases:
                futures[case.name] = pool.submit(compute, case)
            for case in cases:
                try:
                    yield futures[case.name].result()
                except (FailedError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                    yield error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def line(case: Case, old: Figures | Exception, new: Figures | Exception, shown: int) -> tuple[str, str]:
    """What became of a case, and the line about it."""
    for found in (old, new):
        if isinstance(found, Exception):
            return "failed", f"failed     {case.name}: {found}"
    assert isinstance(old, dict) and isinstance(new, dict)
    outcome = compare(old, new)
    added = f" ({len(outcome.added)} new figures, such as {outcome.added[0]})" if outcome.added else ""
    if not outcome.differences:
        return "same", f"same       {case.name}: {len(old)} figures{added}"
    count = len(outcome.differences)
    more = f"; and {count - shown} more" if count > shown else ""
    differ = f"{count} of {len(old)} figures: " + "; ".join(outcome.differences[:shown])
    return "different", f"different  {case.name}: {differ}{more}{added}"


def chosen(patterns: tuple[str, ...]) -> list[Case]:
    """The cases whose names hold one of the patterns, and those that they need, on data that are there."""
    names = [case for case in CASES if any(fnmatch(case.name, f"*{p}*") for p in patterns or ("",))]
    if not names:
        raise click.UsageError(f"--only: no case is called so: {', '.join(patterns)}")
    data = os.environ.get("NPSNN_DATA")
    there = {NOISE, ""} | {name for name, place in DATA.items() if data and (Path(data) / place).exists()}
    return [case for case in with_needed(names) if case.data in there]


def check_cache(old: Side) -> None:
    """Raise UsageError where kept results are of another commit or another system than the old side's."""
    git = ["git", "-C", str(old.program.parents[2])]
    head, changed = (
        subprocess.run([*git, *args], capture_output=True, text=True).stdout.strip()
        for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    if changed or not head:
        raise click.UsageError(f"--cache is for a commit: {old.program.parents[2]} is none, or has changes")
    now, path = {"commit": head, **old.system()}, old.folder / "side.json"
    if not path.exists():
        path.write_text(json.dumps(now))
    before = json.loads(path.read_text())
    if odd := [f"{key} {before.get(key)}, and OLD has {now[key]}" for key in now if now[key] != before.get(key)]:
        raise click.UsageError(f"{old.folder} is of {'; '.join(odd)}: name another --cache")


@click.command(help=__doc__)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--only", multiple=True, help="Only cases whose names hold this, as attack/ or train/a2snn-m*; repeatable."
)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Keep OLD's results here, and take those that are there."
)
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="Cases at the same time."
)
@click.option("--shown", type=click.IntRange(1), default=4, show_default=True, help="Differences named for a case.")
@click.option("--list", "listed", is_flag=True, help="Print the cases' names and run nothing.")
def main(old: Path, new: Path, only: tuple[str, ...], cache: Path | None, jobs: int, shown: int, listed: bool) -> None:
    cases = chosen(only)
    if listed:
        click.echo("\n".join(case.name for case in cases))
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or a shell's background would keep it from trainings
    with tempfile.TemporaryDirectory(prefix="npsnn-same-") as scratch:
        first = side("OLD", old, cache or Path(scratch) / "old")
        second = side("NEW", new, Path(scratch) / "new", first)
        if cache:
            check_cache(first)
        if (a := first.system()) != (b := second.system()):
            click.echo(f"warning: the systems differ, OLD has {a}, NEW has {b}", err=True)
        counts = dict.fromkeys(("same", "different", "failed"), 0)
        before = list(results(first, cases, jobs))
        for case, one, other in zip(cases, before, results(second, cases, jobs), strict=True):
            outcome, text = line(case, one, other, shown)
            counts[outcome] += 1
            click.echo(text)
    click.echo(f"{len(cases)} cases: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(0 if counts["same"] == len(cases) else 1)


if __name__ == "__main__":
    main()
