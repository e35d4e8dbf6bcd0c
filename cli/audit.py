"""`npsnn audit`."""

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from npsnn.audit.card import PAPERS, VERDICTS
from npsnn.cli.common import print_caveats, print_json
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.suggest import Choice
from npsnn.cli.table import REST, Table
from npsnn.cli.terminal import say, width
from npsnn.cli.values import UserPath, WholeNumber
from npsnn.files import check_replaceable, check_writable
from npsnn.validate import listed

if TYPE_CHECKING:
    from npsnn.audit.fits import Fit
    from npsnn.audit.run import Row

UNSUPPORTED = 3
REPORT = UserPath(dir_okay=False)


def command() -> click.Command:
    """The command, made when it is asked for."""
    papers = list(PAPERS.values())
    return new_command(
        "audit",
        _audit,
        click.Argument(["ids"], nargs=-1, metavar="[ROW]..."),
        _option("--paper", "Rows", type=Choice(papers), help=f"Only the rows of this source: {listed(papers)}."),
        _option("--verdict", "Rows", type=Choice(VERDICTS), help=f"Only the rows judged {listed(VERDICTS)}."),
        _option("--thorough", "Rows", is_flag=True, help="Take 16 times the Monte Carlo draws."),
        _option("--details", "Report", is_flag=True, help="Print each card whole, with the rows it rests on."),
        _option("--markdown", "Report", type=REPORT, help="Write the report as Markdown, its figures beside it."),
        _option("--html", "Report", type=REPORT, help="Write the report as one HTML file."),
        _option("--run", "Comparison", metavar="RUN", help="Compare the closed forms with draws, layer by layer."),
        _count("--images", 1, 5, "Test images for the comparison."),
        _count("--draws", 2, 4000, "Draws of the noise for each image."),
        *shared("checkpoint", "data-dir", "other-data", "runs-dir", group="Comparison"),
        *shared("seed", "config", "json"),
    )


def _option(flag: str, group: str, **settings: Any) -> Option:
    settings = {"metavar": "NAME"} | settings if isinstance(settings.get("type"), Choice) else settings
    return Option(flag, group=group, **settings)


def _count(flag: str, low: int, default: int, text: str) -> Option:
    kind = WholeNumber(low)
    return _option(flag, "Comparison", type=kind, metavar="N", default=default, shown=str(default), help=text)


def _audit(
    ids: tuple[str, ...],
    paper: str | None,
    verdict: str | None,
    thorough: bool,
    details: bool,
    markdown: Path | None,
    html: Path | None,
    run: str | None,
    images: int,
    draws: int,
    checkpoint: str,
    other_data: bool,
    seed: int,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Check the equations of the two papers: as printed, as derived, with verdict and evidence.

    ROW is a number such as N20. By default all rows are checked. N1 to N42 are claims of the noise paper, A1 to A33
    claims of A2SNN. B1 to B17 say where the code of A2SNN's authors differs, C1 to C34 what the twelve defences of
    A2SNN's tables publish, code and claim, and E1 to E5 what npsnn puts in their place.

    Each check measures on npsnn's own code whether the verdict holds. A row "checked on reference" has only the plain
    formula yet. Exit code 3: a verdict does not hold.
    """
    from npsnn import audit
    from npsnn.audit import layerwise, publish, report
    from npsnn.runs.environment import environment

    start = time.perf_counter()
    try:
        selected = audit.audit(ids, paper, verdict, seed, thorough)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _check_reports(markdown, html)
    where = load_run(run, runs_dir, checkpoint, None, "cpu") if run else None
    if where:
        layerwise.check_noise(where.classifier)  # before the rows, which take a minute and would be lost
        where, x, labels = load_test_images(where, data_dir, images, other_data)
    rows: list[Row] = []
    fit, stop = None, None
    try:
        rows.extend(selected) if as_json else _print_rows(rows, selected, details)
        fit = layerwise.layerwise(where.classifier, x / 255, labels, draws, seed) if where else None
    except KeyboardInterrupt as interrupt:  # the rows that were checked are printed
        stop = interrupt
    seconds = time.perf_counter() - start
    if as_json:
        document = {"seed": seed, "thorough": thorough, "environment": environment()}
        document |= {"rows": [row.to_json() for row in rows], "seconds": seconds, "interrupted": stop is not None}
        print_json(document | ({"run": _of_run(where, fit)} if where and fit else {}))
    if stop:
        leave(stop, f"{len(rows)} rows were checked and no report was written; npsnn audit ROW ... checks other rows")
    if not as_json:
        _print_comparison(where, fit)
        say(f"{len(rows)} row{'s' * (len(rows) != 1)} in {seconds:.1f} s: {report.outcome(rows)}")
    if markdown or html:  # last, so that what fails here loses nothing that was printed
        publish.write(rows, markdown, html, report.comparison(where.heading, fit) if where and fit else "")
    if not all(row.supported for row in rows):
        sys.exit(UNSUPPORTED)


def _check_reports(markdown: Path | None, html: Path | None) -> None:
    """Raise ValueError or OSError, before any work, where the reports could not be written."""
    from npsnn.audit import publish, report
    from npsnn.pages.page import PAGE

    for path, name, mark in ((markdown, "--markdown", report.TITLE), (html, "--html", PAGE)):
        if path:
            publish.check_libraries()
            check_writable(path)
            check_replaceable(path, name, mark)


def _of_run(run: Run, fit: "Fit") -> dict[str, Any]:
    caveats = [asdict(caveat) for caveat in run.caveats]
    return {"folder": str(run.folder)} | run.about | asdict(fit) | {"caveats": caveats}


def _print_rows(rows: list["Row"], selected: Iterable["Row"], details: bool) -> None:
    """Add the selected rows to `rows`, and print each as its check ends."""
    from npsnn.audit import report

    columns = {"row": -4, "place": -22, "verdict": -13, "checked on": -14, "holds": -5, "decisive figure": REST}
    table = Table(columns, optional=("checked on", "place"))
    for row in selected:
        rows.append(row)
        holds = "yes" if row.supported else "NO"
        table.row(
            row.card.id, row.card.place, row.card.verdict, row.checked_on, holds, report.headline(row) or row.card.title
        )
    for row in rows if details else ():
        click.echo(f"\n{report.section(row)}".rstrip())
    click.echo()


def _print_comparison(run: Run | None, fit: "Fit | None") -> None:
    from npsnn.audit import report

    if run is None or fit is None:
        return
    header, *rows = report.comparison_table(fit)
    say(f"{run.heading}: the closed forms against draws")
    table = Table({header[0]: -19} | dict.fromkeys(header[1:], 13))
    for cells in rows:
        table.row(*cells)
    click.echo(click.wrap_text(report.comparison_notes(fit), min(80, width() or 80)) + "\n")
    print_caveats(run.caveats)
