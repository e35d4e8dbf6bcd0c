"""What a plot shows, as values: panels of lines with their intervals, which are drawn or written as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Line:
    """A line of a plot.

    label: what its legend says.
    x: (M,), rising.
    y: (M,).
    low, high: ends of the intervals, (M,); None where there are none.
    steps: whether each value holds from its x on up to the next, as of a curve over all eps.
    joined: whether its points are joined; ignored of steps.
    dashed: whether the line is dashed.
    filled: whether the space below is filled, as below a guarantee.
    colour: number of its colour; None for the next one.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    steps: bool = False
    joined: bool = True
    dashed: bool = False
    filled: bool = False
    colour: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The numbers of the line."""
        arrays = {"x": self.x, "y": self.y, "low": self.low, "high": self.high}
        numbers = {name: [float(v) for v in values] for name, values in arrays.items() if values is not None}
        return {"label": self.label, **numbers}


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    xlabel, ylabel: what stands at its axes.
    lines: what it shows.
    fractions: whether y is a fraction of images, from 0 to 1.
    whole: whether x is a whole number, such as an epoch.
    title: above the panel.
    """

    xlabel: str
    ylabel: str
    lines: Sequence[Line]
    fractions: bool = True
    whole: bool = False
    title: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A plot of one panel or more.

    name: makes the identifiers in an SVG, so that several may stand in one page.
    panels: from the left, or from above.
    heading: above all panels.
    stacked: whether the panels stand below one another, as a narrow screen needs them, and not side by side.
    """

    name: str
    panels: Sequence[Panel] = field(default_factory=tuple)
    heading: str = ""
    stacked: bool = False

    def as_json(self) -> dict[str, Any]:
        """The numbers that the plot shows."""
        panels = []
        for p in self.panels:
            lines = [line.as_json() for line in p.lines]
            panels.append({"title": p.title, "x": p.xlabel, "y": p.ylabel, "lines": lines})
        return {"heading": self.heading, "panels": panels}
