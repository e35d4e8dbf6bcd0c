"""HTML files that hold everything: one frame, and one style for light and dark, wide and narrow screens."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")
VIEWS = Path(__file__).with_name("views.css")
"""Rules for plots, images, lists and tables that `page` is given where it has them."""
PAGE = "<title>npsnn: "
"""How the title of every page begins that npsnn writes."""
NUMBER = "n"
"""The class of a cell that holds a number, and stands to the right."""


def page(title: str, body: str, rules: str = "") -> str:
    """The HTML file.

    title: of the window, in plain text.
    body: HTML.
    rules: CSS after the style sheet.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{PAGE}{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}{rules}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table as HTML.

    header: names of the columns, in plain text.
    rows: cells in plain text, or made by `marked`.
    numbers: the columns that hold numbers.
    """
    kinds = [f' class="{NUMBER}"' if i in numbers else "" for i in range(len(header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind} data-name="{escape(name)}">{_cell(cell)}</td>'
            for name, kind, cell in zip(header, kinds, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    whole = f'<table class="named"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'
    return f'<div class="table">{whole}</div>\n'


class Marked(str):
    """Text that is HTML already."""


def badge(name: str, text: str, mark: str = "") -> Marked:
    """A verdict as a badge, by its sign as well as by its colour.

    name: of the verdict in the style sheet.
    text: what the badge says.
    mark: its sign.
    """
    sign = f'<span aria-hidden="true">{escape(mark)}</span> ' if mark else ""
    return Marked(f'<strong class="verdict" data-of="{escape(name)}">{sign}{escape(text)}</strong>')


def listed(pairs: Iterable[tuple[str, object]]) -> str:
    """Names with their values, in plain text or `Marked`, as a list in two columns."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{_cell(value)}</dd>\n" for name, value in pairs)
    return f"<dl>\n{items}</dl>\n"


def folded(summary: str, content: str) -> str:
    """HTML that a reader opens by its summary, in plain text."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}</details>\n"


def figure(content: str, *caption: str) -> str:
    """A figure: HTML of what is shown, and the lines of its caption in plain text."""
    return f"<figure>{content}<figcaption>{'<br>'.join(map(escape, caption))}</figcaption></figure>\n"


def section(name: str, title: str, content: str) -> str:
    """A section of a page.

    name: its anchor.
    title: its heading, in plain text.
    content: HTML.
    """
    return f'<h2 id="{escape(name)}">{escape(title)}</h2>\n{content}'


def _cell(value: object) -> str:
    return value if isinstance(value, Marked) else escape(str(value))


def views() -> str:
    """The rules of `VIEWS`."""
    return VIEWS.read_text(encoding="utf-8")
