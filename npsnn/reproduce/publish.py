"""The report as files: Markdown with its plots beside it, and one HTML file that holds everything."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from npsnn.audit.publish import check_libraries
from npsnn.audit.report import slug
from npsnn.audit.webpage import STYLE, rendered
from npsnn.files import check_replaceable, write_atomic
from npsnn.pages.page import PAGE
from npsnn.reproduce.claims import FAILS, HOLDS, MISSING, OPEN, PART, VERDICTS
from npsnn.reproduce.overview import TITLE
from npsnn.reproduce.plots import svg
from npsnn.reproduce.records import Records
from npsnn.reproduce.report import markdown, plot_name
from npsnn.reproduce.scales import Scale
from npsnn.reproduce.sections import Section

MARKS = {FAILS: "✗", PART: "±", OPEN: "?", HOLDS: "✓", MISSING: "–"}
"""A sign for each verdict, so that verdicts differ by more than their colour."""


def check(path: Path, name: str) -> None:
    """Raise ValueError where the report would replace files that do not say that npsnn wrote them.

    path: file of the Markdown.
    name: of the argument, in messages.
    """
    check_replaceable(path, name, f"# {TITLE}")
    check_replaceable(path.with_suffix(".html"), name, PAGE)


def write(found: Sequence[Section], scale: Scale, records: Records, path: Path) -> None:
    """Write the report as Markdown, and as HTML beside it.

    found: its sections.
    scale: the scale.
    records: the records.
    path: file of the Markdown, as docs/reproduction.md; plots go to the folder reproduction-figures beside it.
    Raises ValueError without the extra "report" of npsnn, and OSError where a file cannot be written.
    """
    check_libraries()
    folder = path.with_name(f"{path.stem}-figures")
    sources = {}
    for section in found:
        for number, draw in enumerate(section.plots.values()):
            name = plot_name(section, number)
            sources[f"{name}.svg"] = svg(name, draw)
    for name, source in sources.items():
        write_atomic(folder / name, source.encode())
    write_atomic(path, markdown(found, scale, records, f"{folder.name}/").encode())
    write_atomic(path.with_suffix(".html"), page(markdown(found, scale, records, ""), sources).encode())


def page(text: str, pictures: dict[str, str]) -> str:
    """The HTML file, which asks for nothing from outside.

    text: the report in Markdown.
    pictures: SVG source of each path that the report shows.
    """
    verdicts = "|".join(verdict.replace(" ", r"\s") for verdict in VERDICTS)  # a line may end within one
    marked = rf"<strong>({verdicts})</strong>"
    body = re.sub(marked, lambda found: _badge(" ".join(found[1].split())), rendered(text, pictures))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{PAGE}{escape(TITLE)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _badge(verdict: str) -> str:
    sign = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<strong class="verdict" data-of="{slug(verdict)}">{sign} {verdict}</strong>'
