"""`npsnn reproduce`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from npsnn.cli.common import in_words_of_time, print_json, speaking_of_flags
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import shared
from npsnn.cli.suggest import Choice
from npsnn.cli.table import REST, Table
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import EXECUTORS, ExecutorName, UserPath, WholeNumber
from npsnn.files import check_writable

if TYPE_CHECKING:
    from npsnn.jobs.schedule import Event
    from npsnn.reproduce.sections import Section

FAILED = 1
"""Exit code where a job has failed."""


def command() -> click.Command:
    """The command, made when it is asked for."""
    from npsnn.reproduce.scales import SCALES

    return new_command(
        "reproduce",
        _reproduce,
        click.Argument(["names"], nargs=-1, metavar="[EXPERIMENT]..."),
        Option(
            "--scale",
            type=Choice(list(SCALES)),
            metavar="NAME",
            group="Size",
            help="quick takes minutes on digits and decides nothing, small takes hours, paper asks for a GPU. By "
            "default that of --out, or quick.",
        ),
        Option("--seeds", type=WholeNumber(1), metavar="N", group="Size", help="Seeds of each training."),
        Option(["--list", "listed"], is_flag=True, group="Size", help="List the experiments, and run nothing."),
        Option("--dry-run", is_flag=True, group="Size", help="Print jobs, hours and disk space, and run nothing."),
        Option("--report", is_flag=True, group="Report", help="Make the report of what is done, and run nothing."),
        Option(
            "--markdown",
            type=UserPath(dir_okay=False),
            metavar="FILE.md",
            group="Report",
            help="The report, with FILE.html beside it; by default report.md in the folder.",
        ),
        Option(
            "--out",
            type=UserPath(file_okay=False),
            metavar="FOLDER",
            default=Path("reproduction"),
            shown="reproduction",
            help="Folder of the reproduction: networks, records, report.",
        ),
        Option("--jobs", type=WholeNumber(1), metavar="N", default=1, shown="1", help="Jobs at a time."),
        Option(
            "--executor",
            type=ExecutorName(),
            metavar="NAME",
            default="processes",
            shown="processes",
            help=EXECUTORS,
        ),
        *shared("data-dir"),
        *shared("device", "config", "json"),
    )


def _reproduce(
    names: tuple[str, ...],
    scale: str | None,
    seeds: int | None,
    listed: bool,
    dry_run: bool,
    report: bool,
    markdown: Path | None,
    out: Path,
    jobs: int,
    executor: str,
    data_dir: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure the figures, tables and claims of both papers again, and judge each claim.

    EXPERIMENT is a name such as noise-figure-4 (--list). By default all experiments are run. An experiment asks for
    jobs: networks to train, attacks, measurements. A job that is done is skipped, one that was stopped goes on, one
    that failed is named, and tried again next time. The records do not depend on --jobs, --executor or stops.

    At the end the report is written as Markdown and as one HTML file: a table of all claims, the worst verdict first,
    then each figure beside the paper's. It needs the extra "report"; the verdicts are printed without. Exit code 1: a
    job has failed.

    \b
    Everything in minutes, one figure in an hour or so, and the report again:
      npsnn reproduce
      npsnn reproduce noise-figure-4 --scale small --jobs 2 --out runs/small
      npsnn reproduce --report --out runs/small
    """
    from npsnn.reproduce import whole

    with speaking_of_flags():
        if scale is None and (out / whole.ABOUT).is_file():
            scale, seeds = whole.scale_of(out).name, seeds or whole.scale_of(out).seeds
        at = whole.at_scale(scale or "quick", seeds)
        chosen = whole.experiments(names)
    if listed:
        return _list(chosen, as_json)
    failed: list[Event[Any]] = []
    if dry_run:
        return _estimate(names, at, out, data_dir, device, jobs, as_json)
    target = _target(markdown, out, report)
    if not report:
        check_writable(out / whole.ABOUT)
        failed = _run(names, at, out, jobs, executor, data_dir, device)
    found = whole.report(out, target, names)
    if as_json:
        print_json(_document(found, failed, target))
    else:
        _print(found, failed, target)
    if failed:
        raise SystemExit(FAILED)


def _target(markdown: Path | None, out: Path, report: bool) -> Path | None:
    """The report's file, before hours are spent for it; None, with a warning, where what writes it is not installed.

    Raises UsageError where the report was asked for and cannot be written, and where it would replace another file.
    """
    from npsnn.audit.publish import check_libraries
    from npsnn.reproduce.publish import check

    try:
        check_libraries()
    except ValueError as error:
        if report or markdown:
            raise click.UsageError(str(error)) from error
        say(f"warning: {error}. Verdicts are printed; npsnn reproduce --report writes the report later", err=True)
        return None
    path = markdown or out / "report.md"
    with speaking_of_flags():
        check(path, "markdown" if markdown else "out")
    return path


def _list(chosen: list[Any], as_json: bool) -> None:
    """Print the experiments."""
    if as_json:
        rows = [{"name": e.name, "paper": e.paper, "shows": e.shows, "title": e.title} for e in chosen]
        return print_json({"experiments": rows})
    table = Table({"experiment": -max(len(e.name) for e in chosen), "of": -11, "shows": -12, "title": REST})
    for e in chosen:
        table.row(e.name, e.paper, e.shows, e.title)
    return None


def _estimate(
    names: tuple[str, ...], at: Any, out: Path, data_dir: Path | None, device: str, jobs: int, as_json: bool
) -> None:
    """Print what is left to do, and what it will cost."""
    from npsnn.reproduce import whole
    from npsnn.reproduce.costs import costs
    from npsnn.reproduce.perform import Place

    place = Place(out, data_dir, None if jobs == 1 else 1, device)
    left = [job for job in whole.planned(names, at) if not place.records.holds(job)]
    found = costs(left, place)
    kinds = Counter(type(job).__name__ for job in left)
    seconds, disk = sum(c.seconds for c in found.values()), sum(c.disk for c in found.values())
    if as_json:
        rows = [{"job": job.key, "seconds": found[job.key].seconds, "disk": found[job.key].disk} for job in left]
        return print_json({"scale": at.name, "jobs": rows, "seconds": seconds / jobs, "disk": disk})
    table = Table({"job": -50, "time": 8})
    for job in left:
        table.row(job.key, in_words_of_time(found[job.key].seconds))
    say(
        f"{len(left)} jobs ({', '.join(f'{n} {kind.lower()}' for kind, n in kinds.items())}): about "
        f"{in_words_of_time(seconds / jobs)} with --jobs {jobs}, {disk / 2**20:.0f} MiB. Measurements are not counted."
    )
    return None


def _run(
    names: tuple[str, ...], at: Any, out: Path, jobs: int, executor: str, data_dir: Path | None, device: str
) -> "list[Event[Any]]":
    """Run what is not done, and say what failed."""
    from npsnn.jobs.schedule import DONE
    from npsnn.reproduce import whole

    with speaking_of_flags():
        planned = whole.planned(names, at)
    failed: list[Event[Any]] = []
    with Bar(f"{at.name}: {len(planned)} jobs", len(planned)) as bar:
        try:
            for event in whole.run(out, names, at.name, at.seeds, jobs, executor, data_dir, device):
                (bar.skip if event.earlier else bar.update)(1)
                if event.state != DONE:
                    failed.append(event)
                    bar.clear()
                    say(f"{event.job.key} {event.state}: {event.why}", err=True)
                bar.say(f"{at.name}, after {event.job.name}"[:40])
        except KeyboardInterrupt as stop:
            leave(stop, f"what is done is kept in {out}; the same command goes on with it")
        except ChildProcessError as error:
            raise click.ClickException(str(error)) from error
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return failed


def _print(found: "list[Section]", failed: "list[Event[Any]]", target: Path | None) -> None:
    """Print the verdict of each claim, the worst first; the figures are in the report."""
    from npsnn.reproduce.claims import VERDICTS
    from npsnn.reproduce.overview import possible

    rows = [(claim, ruling) for section in found for claim, ruling in section.rulings]
    rows.sort(key=lambda row: VERDICTS.index(row[1].verdict))
    table = Table({"claim": -41, "verdict": REST})
    for claim, ruling in rows:
        table.row(claim.id, f"{ruling.verdict}{possible(ruling)}")
    failures = f"{len(failed)} jobs failed or were not run. " if failed else ""
    if failures or target:
        where = f"The report is in {target} and {target.with_suffix('.html').name}." if target else ""
        say(f"{failures}{where}".strip())


def _document(found: "list[Section]", failed: "list[Event[Any]]", target: Path | None) -> dict[str, Any]:
    return {
        "claims": [
            {"claim": claim.id, "experiment": s.experiment.name, **asdict(ruling)}
            for s in found
            for claim, ruling in s.rulings
        ],
        "failed": [{"job": event.job.key, "state": event.state, "why": event.why} for event in failed],
        "report": str(target) if target else None,
    }
