"""The report as files: Markdown with its figures beside it, or one HTML file that holds everything."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from npsnn.audit.report import markdown
from npsnn.audit.run import Row
from npsnn.files import write_atomic

LIBRARIES = ("matplotlib", "latex2mathml", "markdown_it", "mdit_py_plugins")


def check_libraries() -> None:
    """Check that the libraries that write a report are installed.

    Raises ValueError that names the missing ones.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise ValueError(
            f"a report needs {', '.join(missing)}: install npsnn with its extra, pip install 'npsnn[report]'"
        )


def write(rows: Sequence[Row], as_markdown: Path | None = None, as_html: Path | None = None, extra: str = "") -> None:
    """Write the report as Markdown, as HTML, or both.

    rows: rows to report.
    as_markdown: file for the Markdown; the figures of notes.md become SVG files in the folder notes-figures.
    as_html: file for the HTML, which holds its figures.
    extra: a last section, in Markdown.

    Raises ValueError without the extra "report" of npsnn, and OSError where a file cannot be written.
    """
    check_libraries()
    from npsnn.audit.plots import PLOTS, svg
    from npsnn.audit.webpage import page

    numbers = {row.card.id for row in rows}
    plots = [plot for plot in PLOTS if plot.card in numbers]
    sources = {f"{plot.name}.svg": svg(plot) for plot in plots}

    def text(folder: str) -> str:
        places = [(plot.card, (plot.caption, f"{folder}{plot.name}.svg")) for plot in plots]
        return markdown(rows, {card: [place for c, place in places if c == card] for card, _ in places}, extra)

    if as_markdown:
        folder = as_markdown.with_name(f"{as_markdown.stem}-figures")
        for name, source in sources.items():
            write_atomic(folder / name, source.encode())
        write_atomic(as_markdown, text(f"{folder.name}/").encode())
    if as_html:
        write_atomic(as_html, page(text(""), sources).encode())
