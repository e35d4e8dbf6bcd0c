"""`npsnn sweep`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from npsnn.cli import config_file
from npsnn.cli.common import percent, print_caveats, print_json, speaking_of_flags
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import converted, shared
from npsnn.cli.table import Table
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import EXECUTORS, ExecutorName, UserPath, WholeNumber

if TYPE_CHECKING:
    from npsnn.train.grid import Point

FAILED = 1
"""Exit code where a training has failed."""
LONGEST = 40
"""The most columns for the name of a run."""


def command() -> click.Command:
    """The command, made when it is asked for."""
    return new_command(
        "sweep",
        _sweep,
        click.Argument(["file"], type=UserPath(exists=True, dir_okay=False), metavar="FILE.toml"),
        Option("--dry-run", is_flag=True, help="Print the trainings and what is done of them, and train nothing."),
        Option(
            "--jobs",
            type=WholeNumber(1),
            metavar="N",
            help="Trainings at a time, by default as many as there are cores.",
        ),
        Option("--executor", type=ExecutorName(), metavar="NAME", shown="processes, or mpi with ranks", help=EXECUTORS),
        Option(
            "--runs-dir",
            type=UserPath(file_okay=False),
            metavar="FOLDER",
            shown="runs/FILE",
            help="Folder of the run folders, and of sweep.csv.",
        ),
        *shared("data-dir"),
        *shared("threads", help="Number of threads of one training, by default its share of the cores."),
        *shared("device", "config", "json"),
    )


def _sweep(
    file: Path,
    dry_run: bool,
    jobs: int | None,
    executor: str | None,
    runs_dir: Path | None,
    data_dir: Path | None,
    threads: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Train all networks of a grid of options.

    FILE.toml has a table [train] of options of npsnn train. A list of values is an axis of the grid: each value is
    combined with each of the other lists. recipe may be a list as well, and so may a setting of a recipe.

    Each training is a run folder, named by the values in which it differs, such as sigma0.3-seed1. A training that is
    done is skipped, one that was stopped goes on, one that failed is named, and tried again next time. More values
    in a list add trainings. The table at the end is also written to sweep.csv.

    \b
    A file with [train], sigma = [0.3, 0.6] and seed = [0, 1, 2] asks for six:
      npsnn sweep noise.toml
      npsnn sweep noise.toml --executor tcp://alpha:8786
      mpiexec -n 9 npsnn sweep noise.toml
    """
    from npsnn.host import available_cores
    from npsnn.train import sweep
    from npsnn.workers import launched

    folder, ranks = runs_dir or Path("runs") / file.stem, launched.ranks() > 1
    points = _points(file)
    if dry_run:
        return _show(sweep.rows(points, folder, data_dir=data_dir), folder, as_json, "")
    executor = executor or ("mpi" if ranks else "processes")
    alone = executor in ("processes", "threads")
    if jobs is not None and not alone:
        say(f"warning: --jobs has no effect with --executor {executor}, which decides by itself", err=True)
    jobs = jobs or (1 if ranks or not alone else min(available_cores(), len(points)))
    failed, before = _run(points, folder, jobs, executor, data_dir, threads, device)
    rows = sweep.write(points, folder, failed, data_dir)
    over = f", {before} of them before" if before else ""
    _show(rows, folder, as_json, f"{over}. The table is in {folder / sweep.CSV}")
    if failed:
        raise SystemExit(FAILED)
    return None


def _points(file: Path) -> "list[Point]":
    """The trainings that a file asks for."""
    from npsnn.files import excerpt
    from npsnn.train import grid

    try:
        tables = config_file.tables(config_file.parsed(file), "train")
        if odd := tables.keys() - {"train"}:
            raise ValueError(f"a sweep has the table [train] alone, got [{min(odd)}] as well")
        given = {name.replace("-", "_"): value for name, value in tables.get("train", {}).items()}
        known = grid.options_of(given.get(grid.RECIPE))
        points = grid.grid({name: _value(name, value, *known.get(name, (None, str))) for name, value in given.items()})
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{file}: {excerpt(error)}") from error
    for clause in points[0].idle:
        if all(clause in point.idle for point in points):
            say(f"warning: {clause}", err=True)
    return points


def _value(name: str, value: Any, declared: Any, kind: Any) -> Any:
    """The value of an option; words become what they become on the command line, such as 8/255."""
    if isinstance(value, list):
        return [_value(name, v, declared, kind) for v in value]
    if not isinstance(value, str) or declared is None:
        return value
    try:
        return converted(declared, kind, value)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from error


def _run(
    points: "list[Point]",
    folder: Path,
    jobs: int,
    executor: str,
    data_dir: Path | None,
    threads: int | None,
    device: str,
) -> tuple[dict[str, str], int]:
    """Train, and say what failed: why, by the names of the runs; and how many trainings were done before."""
    from npsnn.files import check_writable
    from npsnn.train import sweep

    check_writable(folder / sweep.CSV)
    failed, before = dict[str, str](), 0
    with Bar(f"{folder}: {len(points)} trainings", len(points)) as bar, speaking_of_flags():
        try:
            for event in sweep.run(points, folder, jobs, executor, data_dir, threads, device):
                (bar.skip if event.earlier else bar.update)(1)
                before += event.earlier
                if event.state != sweep.DONE:
                    failed[event.job.key] = event.why
                if not event.earlier:
                    say(f"{event.job.key} {event.state}{': ' if event.why else ''}{event.why}", err=True)
        except KeyboardInterrupt as stop:
            sweep.write(points, folder, failed, data_dir)
            kept = f"what is done is kept in {folder}, and {sweep.CSV} there says how far each training is"
            leave(stop, f"{kept}; the same command goes on")
        except ChildProcessError as error:
            raise click.ClickException(str(error)) from error
    return failed, before


def _show(rows: list[dict[str, Any]], folder: Path, as_json: bool, beside: str) -> None:
    """Print the table of all trainings, or one JSON document."""
    if as_json:
        documents = [row | {"caveats": [asdict(caveat) for caveat in row["caveats"]]} for row in rows]
        return print_json({"folder": str(folder), "runs": documents})
    widest = min(LONGEST, max(len(row["run"]) for row in rows))
    columns = {"run": -widest, "state": -10, "epochs": 6, "validation": 10, "noise off": 9, "noise on": 8}
    table = Table(columns, optional=("epochs", "validation"))
    figures = ("validation_accuracy", "clean_accuracy", "noisy_accuracy")
    for row in rows:
        cells = (percent(row[name]) if row[name] is not None else "-" for name in figures)
        table.row(row["run"], row["state"], row["epochs_done"], *cells)
    states = Counter(row["state"] for row in rows)
    for row in rows:
        if row["state"] == "blocked":
            say(f"{row['run']}: {row['why']}", err=True)
    for caveat in dict.fromkeys(caveat for row in rows for caveat in row["caveats"]):
        of = [row["run"] for row in rows if caveat in row["caveats"]]
        print_caveats([caveat], "" if len(of) == len(rows) else ", ".join(of))
    say(f"{', '.join(f'{count} {state}' for state, count in states.items())}{beside}.")
    return None
