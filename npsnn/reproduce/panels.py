"""Panels: a table of figures over seeds, rows by columns, with the paper's own figures beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from npsnn.reproduce.records import Difference, MissingError, Seeds

PERCENT, NUMBER = "%", ""


@dataclass(frozen=True, eq=False)
class Panel:
    """A table or the curves of a figure.

    title: what it shows.
    rows: names of the rows, which are the curves of a plot.
    columns: names of the columns.
    cells: the figure of a row and a column; one that is missing was not measured.
    theirs: the paper's figure of a row and a column, in the same unit.
    x: the column as a number, for a plot with an axis; empty for a table.
    axis: label of that axis.
    unit: "%" for accuracies, which are fractions in the cells and percents in `theirs` and in print.
    note: how it was measured, first the data and the network: "mnist, lenet5, 5 epochs of all training images".
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[str, str], Seeds]
    theirs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    x: Mapping[str, float] = field(default_factory=dict)
    axis: str = ""
    unit: str = PERCENT
    note: str = ""

    @property
    def on(self) -> str:
        """The data and the network, by which the note begins."""
        return ", ".join(self.note.rstrip(".").split(", ")[:2])

    def __getitem__(self, place: tuple[str, str]) -> Seeds:
        """The figure of a row and a column; raises MissingError where it was not measured."""
        if place not in self.cells:
            raise MissingError(f"{self.title}: {place[0]}, {place[1]} was not measured")
        return self.cells[place]

    def difference(self, more: tuple[str, str], less: tuple[str, str]) -> Difference:
        """One figure less another, paired by seeds and images."""
        return self[more].less(self[less])

    def in_the_paper(self, more: tuple[str, str], less: tuple[str, str]) -> float | None:
        """The difference of the paper's figures, in the unit of the cells; None where the paper lacks one of them."""
        if not {more, less} <= self.theirs.keys():
            return None
        return (self.theirs[more] - self.theirs[less]) / (100 if self.unit == PERCENT else 1)

    def shown(self, row: str, column: str) -> str:
        """The figure with its interval, for a table; "-" where it was not measured."""
        found = self.cells.get((row, column))
        return "-" if found is None else shown(found, self.unit)


def shown(found: Seeds, unit: str = PERCENT, signed: bool = False) -> str:
    """A figure with its interval in words: "42.1 % (38.0 to 46.2)"; that of a part of the whole ends at 0 and 100 %."""
    ending = " %" if unit == PERCENT and not signed else ""
    text = f"{_number(found.mean, unit, signed)}{ending}"
    if found.ci95 is None:
        return text
    ends = found.ci95 if unit != PERCENT or signed else (max(found.ci95[0], 0.0), min(found.ci95[1], 1.0))
    low, high = (_number(end, unit, signed) for end in ends)
    return f"{text} ({low} to {high})"


def _number(value: float, unit: str, signed: bool) -> str:
    """A number; one that would be rounded to 0 keeps a digit, so that its side of 0 is seen."""
    if unit != PERCENT:
        return f"{value:{'+' * signed}.3g}"
    percent = 100 * value
    if round(percent, 1) == 0:
        return f"{percent:{'+' * signed}.1g}" if abs(percent) >= 0.001 else "0.0"
    return f"{percent:{'+' * signed}.1f}"
