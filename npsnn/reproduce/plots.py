"""Plots of a reproduction, as SVG: the curves of panels that have an axis, and what experiments draw themselves."""

import io
from typing import TYPE_CHECKING

import numpy as np

from npsnn.reproduce.experiments import Draw
from npsnn.reproduce.panels import PERCENT, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (6.4, 3.6)
MOST = 16
"""The most curves of a plot: more have no place in its legend, and nobody tells them apart."""


def svg(name: str, draw: Draw) -> str:
    """The SVG source of a plot; the same libraries give the same bytes.

    name: name of the plot, which makes the identifiers in the file.
    draw: function that draws on axes.
    Raises ImportError without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": drawn_by()})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def drawn_by() -> str:
    """The library that draws, with its version; raises ImportError without it."""
    import matplotlib as mpl

    return f"Matplotlib {mpl.__version__}"


def curves(panel: Panel) -> Draw | None:
    """The curves of a panel, ours with their intervals and the paper's dashed.

    None for a panel without an axis, without figures, or with more than `MOST` rows.
    """
    columns = [c for c in panel.columns if c in panel.x]
    if len(columns) < 2 or not any(row in panel.rows for row, _ in panel.cells) or len(panel.rows) > MOST:
        return None
    factor = 100 if panel.unit == PERCENT else 1

    def draw(axes: "Axes") -> None:
        for number, row in enumerate(panel.rows):
            again = number // 10  # how often the colours have been used up
            colour, marker, line = f"C{number % 10}", "osD^vPX*<>"[(number + again) % 10], "-:"[min(again, 1)]
            places = [(panel.x[c], panel.cells[row, c]) for c in columns if (row, c) in panel.cells]
            if places:
                x, means = [p[0] for p in places], [factor * p[1].mean for p in places]
                ends = [p[1].ci95 or (p[1].mean, p[1].mean) for p in places]
                error = np.abs(factor * np.array(ends).T - means)
                axes.errorbar(x, means, error, color=colour, marker=marker, ls=line, ms=4, lw=1.2, capsize=2, label=row)
            theirs = [(panel.x[c], panel.theirs[row, c]) for c in columns if (row, c) in panel.theirs]
            if theirs:
                label = f"{row}, the paper"
                axes.plot(
                    *zip(*theirs, strict=True), color=colour, marker=marker, ms=4, mfc="none", ls="--", label=label
                )
        axes.set_xlabel(panel.axis)
        axes.set_ylabel("accuracy, %" if panel.unit == PERCENT else panel.unit or "value")
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return draw
