"""What a rule says in words: the figures that it compares, what it needs of them, and where they were measured.

Values stand before the names of what they belong to, as names have commas and numbers of their own.
"""

from collections.abc import Sequence

from npsnn.reproduce.panels import PERCENT, Panel, shown

Place = tuple[str, str]
ROUNDING = 1e-9
"""By which figures that are equal may differ."""
CLEAN = "clean"
"""The column that stands beside attacked accuracies."""


def against(panel: Panel, one: Place, other: Place, needed: str) -> str:
    """Two figures and their paired difference with its interval, beside the paper's difference.

    needed: where the interval must lie for the claim to hold.
    """
    difference = shown(panel.difference(one, other), panel.unit, signed=True)
    theirs = _theirs(panel, one, other)
    return f"{listed(panel, [one, other])}; difference {difference}{theirs}, {needing(panel, [one, other], needed)}"


def alone(panel: Panel, place: Place, needed: str) -> str:
    """A figure with its interval, and where the interval must lie for the claim to hold."""
    head, (name,) = _named(panel, [place])
    value = shown(panel[place], panel.unit)
    return f"{head}: {value}{_clean(panel, place)} for {name}, {needing(panel, [place], needed)}"


def listed(panel: Panel, places: Sequence[Place]) -> str:
    """Figures without their intervals, under what their places have in common."""
    head, names = _named(panel, places)
    values = (f"{_value(panel, place)}{_clean(panel, place)}" for place in places)
    return f"{head}: " * bool(head) + ", ".join(f"{v} for {n}" for v, n in zip(values, names, strict=True))


def needing(panel: Panel, places: Sequence[Place], needed: str) -> str:
    """Where an interval must lie, the data and the network, and the numbers of seeds and of images."""
    seeds = min(len(panel[place].values) for place in places)
    images = [len(each) for place in places for each in panel[place].each]
    of = [panel.on] * bool(panel.on) + [f"{seeds} seed{'s' * (seeds > 1)}"]
    of += [f"{images[0]:,} images"] if len(set(images)) == 1 else []
    return f"needed: {needed} ({', '.join(of)})"


def size(panel: Panel, margin: float) -> str:
    """A margin or a bound, in the unit that figures are shown in."""
    return f"{100 * margin:g}" if panel.unit == PERCENT else f"{margin:g}"


def _named(panel: Panel, places: Sequence[Place]) -> tuple[str, list[str]]:
    """What places have in common, and what tells each from the others."""
    rows, columns = [row for row, _ in places], [_column(panel, column) for _, column in places]
    if len(set(columns)) == 1:
        return columns[0], rows
    if len(set(rows)) == 1:
        return rows[0], columns
    return "", [f"{row} ({column})" for row, column in places]


def _theirs(panel: Panel, one: Place, other: Place) -> str:
    """The paper's own difference, and whether ours is surely another."""
    if (theirs := panel.in_the_paper(one, other)) is None:
        return ""
    low, high = panel.difference(one, other).ci95 or (theirs, theirs)
    beside = ", surely more than here" if high < theirs - ROUNDING else ""
    beside = ", surely less than here" if low > theirs + ROUNDING else beside
    return f", in the paper {100 * theirs if panel.unit == PERCENT else theirs:+.4g}{beside}"


def _column(panel: Panel, column: str) -> str:
    """The name of a column, which is a bare number on some axes."""
    return f"{panel.axis} {column}" if panel.axis and column.replace(".", "").lstrip("-").isdigit() else column


def _value(panel: Panel, place: Place) -> str:
    mean = panel[place].mean
    return f"{100 * mean:.1f} %" if panel.unit == PERCENT else f"{mean:.3g}"


def _clean(panel: Panel, place: Place) -> str:
    """The clean accuracy beside an attacked one."""
    row, column = place
    if panel.unit != PERCENT or CLEAN not in panel.columns or column == CLEAN or (row, CLEAN) not in panel.cells:
        return ""
    return f" (clean {100 * panel[row, CLEAN].mean:.1f})"
