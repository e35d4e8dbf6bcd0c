"""`npsnn compare`."""

from dataclasses import asdict
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from npsnn import data
from npsnn.attacks.judging import Judging
from npsnn.cli.attack_flags import asked, attack_flags, resolve_surrogates
from npsnn.cli.attack_rows import title_of
from npsnn.cli.common import (
    interval,
    percent,
    print_caveats,
    print_json,
    set_precision,
    speaking_of_flags,
    test_images,
)
from npsnn.cli.help import new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import runs_argument, shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.table import Table
from npsnn.cli.terminal import Bar, say
from npsnn.runs.caveats import Caveat
from npsnn.seeing.listing import named

if TYPE_CHECKING:
    from npsnn.seeing.comparing import Compared


def command() -> click.Command:
    """The command, made when it is asked for: it has a flag for each attack of the table."""
    return new_command(
        "compare",
        _compare,
        runs_argument("RUN RUN..."),
        *attack_flags(by_default=False),
        *shared("limit", "data-dir", "other-data"),
        *shared("checkpoint", "conv", "threads", "device", "tf32", "runs-dir", "config", "json"),
    )


def _compare(
    runs: tuple[str, ...],
    inference_sigma: float | None,
    limit: int | None,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Compare runs on the same test images under the same draws of the noise.

    RUN is a run folder or a name in the folder of runs. Each further run is compared with the first: "difference from"
    is how many percentage points more of the images it reads correctly. The difference is taken image by image, so that
    images which are hard for both runs widen no interval; its 95 % interval is over images and noise. "p-value" is how
    often two runs that are alike would differ by as much, either way (an exact sign-flip test).

    Without the name of an attack the images are read as they are. With attacks, which are named as for npsnn attack,
    each is made on each run, and all are judged on the same fresh draws. Nothing is recorded in the runs' folders.

    \b
    Two runs on clean images; the same under attacks:
      npsnn compare RUN1 RUN2
      npsnn compare RUN1 RUN2 --adaptive-pgd --pgd --eps 0.1 --limit 500
    """
    if len(runs) < 2:
        raise click.UsageError(f"compare takes two runs or more, got {len(runs)}: npsnn runs lists them")
    resolve_surrogates(chosen, runs_dir)
    with speaking_of_flags():
        attacks, judging = asked(chosen | {"inference_sigma": inference_sigma})
    set_precision(device, tf32)
    loaded = [load_run(run, runs_dir, checkpoint, threads, device, conv) for run in runs]
    found, x, labels = _on_same_images(loaded, data_dir, limit, other_data)
    for run in found.values() if inference_sigma is not None else ():
        run.sigma(inference_sigma)  # which refuses what the noise of a run cannot be
    if not as_json:
        dataset = data.short(next(iter(found.values())).about["dataset"])
        say(f"{test_images(len(labels), limit)} of {dataset}, {judging.draws} draws, seed {judging.seed}")
        click.echo()
    _run(found, x, labels, attacks, judging, as_json)


def _on_same_images(
    loaded: list[Run], data_dir: Path | None, limit: int | None, other_data: bool
) -> tuple[dict[str, Run], Any, Any]:
    """The runs by their names, and the images that all of them are measured on; ValueError where they differ."""
    names = named([run.folder for run in loaded])
    every = [load_test_images(run, data_dir, limit, other_data) for run in loaded]
    (first, x, labels), *others = every
    for run, images, classes in others:
        if not np.array_equal(images, x) or not np.array_equal(classes, labels):
            sets = " and ".join(data.short(one.about["dataset"]) for one in (first, run))
            raise ValueError(
                f"{first.folder} and {run.folder} have different test images ({sets}): no pairs to compare"
            )
    return dict(zip(names, (run for run, _, _ in every), strict=True)), x, labels


def _run(runs: dict[str, Run], x: Any, labels: Any, attacks: list[Any], judging: Judging, as_json: bool) -> None:
    """Compare the runs, and print each row as it comes."""
    from npsnn.seeing.comparing import compare

    networks = {name: run.classifier for name, run in runs.items()}
    rows: list[Compared] = []
    stop: BaseException | None = None
    table = None if as_json else _table(list(runs), _widest(attacks))
    try:
        made = 1 + sum(len(getattr(attack, "members", [attack])) for attack in attacks)
        with Bar("comparing", len(networks) * len(labels) * made) as bar:
            for row in compare(networks, x, labels, attacks, judging, bar.update):
                rows.append(row)
                if table:
                    _print(table, row)
    except BaseException as error:  # what was finished is printed, whatever ended the rest
        stop = error
    notes = _notes(runs, labels, judging, rows)
    if as_json:
        print_json(_document(runs, labels, judging, rows, notes) | {"interrupted": stop is not None})
    else:
        for caveat, names in notes.items():
            print_caveats([caveat], "" if len(names) == len(runs) else f"note: {', '.join(names)}")
    if isinstance(stop, KeyboardInterrupt):
        leave(stop, f"{len(rows)} rows were finished; start npsnn compare again for all")
    if stop:
        raise stop


def _widest(attacks: list[Any]) -> int:
    """The most columns that the name of an attack takes."""
    from npsnn.attacks.worst import CLEAN
    from npsnn.seeing.comparing import WORST

    named = [title_of(member) for attack in attacks for member in getattr(attack, "members", [attack])]
    return max(map(len, [CLEAN, WORST, *named]))


def _table(names: list[str], widest: int) -> Table:
    columns = {"attack": -widest, "norm": -4, "eps": 7, "run": -max(3, *map(len, names)), "accuracy": 8}
    columns |= {"95 % interval": -16, f"difference from {names[0]}": -max(24, len(names[0]) + 16), "p-value": 7}
    return Table(columns, optional=("norm", "p-value", "95 % interval"))


def _print(table: Table, row: "Compared") -> None:
    """Print a row of the comparison: a line for each run."""
    eps = "" if not row.norm else "any" if isinf(row.eps) else f"{row.eps:.4g}"
    head = [row.attack, row.norm, eps]
    for name, accuracy in row.accuracies.items():
        more = row.differences.get(name)
        said = (
            "" if more is None else f"{100 * more.mean:+.1f} ({100 * more.ci95[0]:+.1f} to {100 * more.ci95[1]:+.1f})"
        )
        p_value = "" if more is None else f"{more.p_value:.2g}"
        table.row(*head, name, percent(accuracy.mean), interval(accuracy.ci95), said, p_value)
        head = [""] * 3


def _notes(runs: dict[str, Run], labels: Any, judging: Judging, rows: list["Compared"]) -> dict[Caveat, list[str]]:
    """What qualifies the rows, each with the runs that it is about."""
    from npsnn.runs import caveats

    found: dict[Caveat, list[str]] = {}
    for name, run in runs.items():
        own = list(run.caveats)
        if rows:
            network = judging.defended(run.classifier)
            own += caveats.of_network(run.classifier, network, rows[0].accuracies[name], labels)
        own += [caveat for row in rows for caveat in row.caveats.get(name, ())]
        for caveat in dict.fromkeys(own):
            found.setdefault(caveat, []).append(name)
    return found


def _document(
    runs: dict[str, Run], labels: Any, judging: Judging, rows: list["Compared"], notes: dict[Caveat, list[str]]
) -> dict[str, Any]:
    """The comparison as JSON."""
    entries = []
    for row in rows:
        entry: dict[str, Any] = {"attack": row.attack, "norm": row.norm, "eps": None if isinf(row.eps) else row.eps}
        entry["accuracy"] = {name: {"mean": a.mean, "ci95": list(a.ci95)} for name, a in row.accuracies.items()}
        entry["more"] = {name: asdict(paired) for name, paired in row.differences.items()}
        entries.append(entry)
    return {
        "runs": {name: run.about for name, run in runs.items()},
        "than": next(iter(runs)),
        "judging": asdict(judging),
        "examples": len(labels),
        "rows": entries,
        "caveats": [asdict(caveat) | {"runs": names} for caveat, names in notes.items()],
    }
