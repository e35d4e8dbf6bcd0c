"""Pictures as PNG and SVG by matplotlib, in one style: colours that stand out on a light and on a dark page."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO, StringIO
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.files import check_replaceable, write_atomic
from npsnn.pages.page import PAGE
from npsnn.pages.pictures import Line, Panel, Picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2a7fc9", "#d0560a", "#0a8f6a", "#a566c8", "#cf4f86", "#8c7a00", "#7a7f87", "#a8643c")
"""The colours of lines. A test holds each to a contrast of 3 on both papers (WCAG 2.2, 1.4.11)."""
MARKERS = "osD^vP*X"
LIGHT, DARK = ("#1b1b1b", "#ffffff"), ("#e6e6e6", "#16181c")
"""Ink and paper."""
ENDINGS = (".png", ".svg")
MARKS = {".png": "Software\0npsnn", ".svg": "--ink", ".html": PAGE}
"""What the beginning of a file holds that npsnn has written, by its ending."""
SIZE = (5.6, 3.8)
"""Inches of one panel."""
HEADING, LEGEND = 70, 70
"""The characters that a line of the heading has room for above one panel, and a line of a legend."""


def check_library(why: str) -> None:
    """Check that matplotlib is installed; ValueError that says what needs it, and how to install it, otherwise."""
    if find_spec("matplotlib") is None:
        raise ValueError(f"{why} needs matplotlib: install npsnn with its extra, pip install 'npsnn[plot]'")


def check_path(path: "Path", name: str, endings: tuple[str, ...] = ENDINGS) -> None:
    """Check that a picture, or a page, can be written to a file of this name.

    name: of the argument, in messages.
    Raises ValueError for another ending, a folder that does not exist, and as `npsnn.files.check_replaceable`.
    """
    if path.suffix not in endings or not path.parent.is_dir():
        raise ValueError(f"{name} must name a {' or '.join(endings)} in a folder that exists, got {path}")
    check_replaceable(path, name, MARKS[path.suffix])


def write(picture: Picture, path: "Path", dark: bool = False) -> None:
    """Write a picture as PNG or SVG, as the ending of its path says; equal pictures give equal bytes.

    dark: whether a PNG has light ink on dark paper. An SVG has the colours of whoever shows it.
    Raises ValueError for another ending and without matplotlib, OSError, naming the file, where it cannot be written.
    """
    check_path(path, "path")
    write_atomic(path, png(picture, dark) if path.suffix == ".png" else standalone(picture).encode())


def png(picture: Picture, dark: bool = False) -> bytes:
    """The PNG file of a picture; arguments and errors as for `write`."""
    return png_of(_figure(picture, DARK if dark else LIGHT), dark)


def png_of(figure: "Figure", dark: bool = False) -> bytes:
    """The PNG file of a figure of matplotlib on the paper of this style."""
    file = BytesIO()
    ink, paper = DARK if dark else LIGHT
    with _one_warning(missing=True):
        figure.savefig(file, format="png", dpi=150, facecolor=paper, edgecolor=ink, metadata={"Software": "npsnn"})
    return file.getvalue()


@contextmanager
def _one_warning(missing: bool) -> Iterator[None]:
    """Let matplotlib warn once of all characters that its font lacks, and not of each.

    missing: whether the picture lacks them then; else nothing is said.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    lacking = dict[str, None]()
    for warning in found:
        if glyph := re.match(r"Glyph (\d+) ", str(warning.message)):
            lacking[chr(int(glyph[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking and missing:
        what = "the picture has boxes in their place, an .svg or .html file has the letters"
        warnings.warn(f"the font of matplotlib lacks {''.join(lacking)}: {what}", stacklevel=3)


def standalone(picture: Picture) -> str:
    """The SVG file of a picture, which follows whoever shows it from light to dark."""
    ink, dark = LIGHT[0], DARK[0]
    rules = f"svg{{--ink:{ink}}}@media(prefers-color-scheme:dark){{svg{{--ink:{dark};background:{DARK[1]}}}}}"
    head, tag, rest = inline(picture).partition(">\n")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{tag}<style>{rules}</style>\n{rest}'


def inline(picture: Picture) -> str:
    """The SVG of a picture for a page, whose text has the colour that the page calls --ink.

    Its letters stay letters: the reader's fonts have those of all languages. Raises ValueError without matplotlib.
    """
    check_library("a plot")
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "none"}), _one_warning(missing=False):
        text = StringIO()
        figure = _figure(picture, LIGHT)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    source = text.getvalue()
    source = source[source.index("<svg") :]
    source = re.sub(r"<metadata>.*?</metadata>", "", source, flags=re.DOTALL)
    # a reader of SVG that knows no variables keeps the first of two declarations
    source = re.sub(rf"\b(fill|stroke): {LIGHT[0]}", rf"\1: {LIGHT[0]}; \1: var(--ink, {LIGHT[0]})", source)
    return "\n".join(line.rstrip() for line in source.splitlines()) + "\n"


def style(ink: str, paper: str) -> dict[str, Any]:
    """The settings of matplotlib that all pictures have."""
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    papers = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    plain = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
    plain |= {"text.parse_math": False}  # a run may be called a$b$
    return plain | dict.fromkeys(inks, ink) | dict.fromkeys(papers, paper)


def _figure(picture: Picture, colours: tuple[str, str]) -> "Figure":
    """The figure of matplotlib; its legends stand below the panels, where they hide nothing."""
    check_library("a plot")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = list(picture.panels)
    with mpl.rc_context(style(*colours)):
        high = [SIZE[1] + 0.2 * sum(_label(line).count("\n") + 1 for line in panel.lines) for panel in panels]
        rows, columns = (len(panels), 1) if picture.stacked else (1, len(panels))
        size = SIZE[0] * columns, sum(high) if picture.stacked else max(high, default=SIZE[1])
        figure = Figure(figsize=size, layout="constrained")
        for axes, panel in zip(figure.subplots(rows, columns, squeeze=False).flat, panels, strict=True):
            _draw(axes, panel)
        if picture.heading:
            figure.suptitle(fill(picture.heading, HEADING * columns), x=0.01, ha="left", fontsize=10)
    return figure


def _draw(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max((float(line.x[-1]) for line in panel.lines if len(line.x)), default=1.0)
    last = 1.05 * last or 1.0
    fixed = {line.colour for line in panel.lines}
    free = cycle([number for number in range(len(COLOURS)) if number not in fixed] or [0])
    for number, line in enumerate(panel.lines):
        colour = COLOURS[(next(free) if line.colour is None else line.colour) % len(COLOURS)]
        if line.steps:
            _steps(axes, line, colour, last)
        else:  # where colours come again, markers are others
            _points(axes, line, colour, MARKERS[(number + number // len(COLOURS)) % len(MARKERS)])
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)
    if panel.fractions:
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    if panel.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xlim(0, last)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)


def _label(line: Line) -> str:
    """What the legend says of a line, within the panel; matplotlib leaves out what begins with a low line."""
    label = fill(line.label, LEGEND)
    return f" {label}" if label.startswith("_") else label


def _points(axes: "Axes", line: Line, colour: str, marker: str) -> None:
    """Points with their intervals, joined or not."""
    error = None
    if line.low is not None and line.high is not None:
        error = np.maximum([line.y - line.low, line.high - line.y], 0)
    kind = ("--" if line.dashed else "-") if line.joined else "none"
    axes.errorbar(
        line.x, line.y, error, color=colour, marker=marker, ms=4.5, ls=kind, lw=1.5, capsize=2.5, label=_label(line),
        mfc="none" if line.dashed else colour, clip_on=False,
    )  # fmt: skip


def _steps(axes: "Axes", line: Line, colour: str, last: float) -> None:
    """A function that has each value from its x on, with the band of its intervals."""
    axes.plot(*corners(line.x, line.y, last), color=colour, lw=1.8, ls="--" if line.dashed else "-", label=_label(line))
    if line.filled:
        axes.fill_between(*corners(line.x, line.y, last), color=colour, alpha=0.2, lw=0)
    if line.low is not None and line.high is not None:
        x, low = corners(line.x, line.low, last)
        axes.fill_between(x, low, corners(line.x, line.high, last)[1], color=colour, alpha=0.15, lw=0)


def corners(x: np.ndarray, y: np.ndarray, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the function that has each value from its x on, up to the last x that is shown."""
    return np.append(np.repeat(x, 2)[1:], last), np.repeat(y, 2)
