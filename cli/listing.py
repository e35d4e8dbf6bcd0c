"""`npsnn runs`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from npsnn import data
from npsnn.cli.common import percent, print_json
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import shared
from npsnn.cli.suggest import Choice
from npsnn.cli.table import Table
from npsnn.cli.terminal import say
from npsnn.cli.values import WholeNumber

if TYPE_CHECKING:
    from npsnn.seeing.listing import Listed

WIDEST = 32
"""The most columns of a name; a longer one loses its middle, and --json has it whole."""
COLUMNS = ("run", "dataset", "model", "noise", "epochs", "accuracy", "noisy", "attacks", "state", "age")


def command() -> click.Command:
    """The command, made when it is asked for."""
    from npsnn.seeing.listing import STATES

    return new_command(
        "runs",
        _runs,
        Option("--dataset", metavar="NAME", group="Filter", help="Only runs on this data set."),
        Option("--model", metavar="NAME", group="Filter", help="Only runs of this model."),
        Option("--state", type=Choice(STATES), metavar="NAME", group="Filter", help=f"Only {', '.join(STATES)} runs."),
        Option("--newest", type=WholeNumber(1), metavar="N", group="Filter", help="Only the N newest runs."),
        *shared("runs-dir", "config", "json"),
    )


def _runs(
    dataset: str | None, model: str | None, state: str | None, newest: int | None, runs_dir: Path, as_json: bool
) -> None:
    """List the runs in the folder of runs, the newest first.

    The noise is the recipe of a defence where the run has one, else the kind of the noise and its sigma. The accuracy
    is that of the validation images after the last epoch, with the noise off; noisy is the same under one draw of the
    noise. Attacks are the results that npsnn attack has recorded. The age counts from the last epoch.

    A run is finished when it has all its epochs; stopped when it has fewer, is still in training, or has diverged;
    broken when its files are damaged or missing. Commands without RUN take the newest finished run.

    \b
    The newest ten; those whose training can be continued:
      npsnn runs --newest 10
      npsnn runs --state stopped
    """
    from npsnn.seeing.listing import runs

    now = time.time()
    found = runs(runs_dir, dataset, model, state, newest)
    if as_json:
        print_json({"runs": [asdict(run) | {"folder": str(run.folder), "age": now - run.written} for run in found]})
        return
    if not found:
        every = runs(runs_dir)
        what = f"none of the {len(every)} runs in {runs_dir}/ is such a run" if every else f"no runs in {runs_dir}/"
        say(f"{what}: train one with 'npsnn train'" if not every else what, err=True)
        return
    rows = [_cells(run, now) for run in found]
    wide = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    texts = {"run", "dataset", "model", "noise", "state"}
    columns = {name: -width if name in texts else width for name, width in zip(COLUMNS, wide, strict=True)}
    table = Table(columns, optional=("attacks", "noisy", "age", "model", "noise", "dataset"))
    for row in rows:
        table.row(*row)
    for run in found:
        if run.why:
            say(f"{run.name} {run.why}", err=True)


def _cells(run: "Listed", now: float) -> tuple[str, ...]:
    accuracies = ("-" if value is None else percent(value) for value in (run.accuracy, run.noisy_accuracy))
    epochs = f"{run.done}/{'?' if run.epochs is None else run.epochs}"
    names = (short(name) for name in (run.name, data.short(run.dataset), run.model, run.noise))
    return (*names, epochs, *accuracies, str(run.attacked or ""), run.state, age(now - run.written))


def short(name: str) -> str:
    """A name of at most `WIDEST` columns."""
    half = (WIDEST - 1) // 2
    return name if len(name) <= WIDEST else f"{name[:half]}…{name[-half:]}"


def age(seconds: float) -> str:
    """A time that has passed, in the unit that suits it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
