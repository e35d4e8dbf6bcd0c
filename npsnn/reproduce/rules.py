"""Rules that decide about claims: what an interval says of "more", "no less" and "the same".

All take figures over seeds as fractions, with the interval of their paired difference.
"""

from collections.abc import Callable
from itertools import pairwise

from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART, VERDICTS, Ruling
from npsnn.reproduce.panels import PERCENT, Panel, shown
from npsnn.reproduce.records import MissingError, Seeds

Place = tuple[str, str]


def above(panel: Panel, more: Place, less: Place, by: float = 0.0, why: str = "") -> Ruling:
    """Whether one figure is above another.

    The claim holds where the paired difference is surely above 0 and, on average, at least `by`; it holds in part where
    it is surely above 0 and less than `by`; it does not hold where it is surely below 0, or surely below `by` and not
    surely above 0. Otherwise it cannot be told.

    by: the least difference that the claim means, a fraction.
    """
    found = panel.difference(more, less)
    verdict = _decided(found, lambda low, high: (low > 0, high < max(by, 0) or high <= 0))
    return Ruling(PART if verdict == HOLDS and found.mean < by else verdict, _against(panel, more, less), why)


def near(panel: Panel, one: Place, other: Place, within: float, why: str = "") -> Ruling:
    """Whether two figures are the same within a margin.

    The claim holds where the whole interval of the paired difference lies within the margin, and does not hold where it
    lies outside. Otherwise it cannot be told.

    within: the margin, a fraction.
    """
    verdict = _decided(
        panel.difference(one, other),
        lambda low, high: (-within <= low and high <= within, low > within or high < -within),
    )
    return Ruling(verdict, _against(panel, one, other), why)


def no_less(panel: Panel, one: Place, other: Place, within: float, why: str = "") -> Ruling:
    """Whether one figure is at most a margin below another, or above it.

    The claim holds where the whole interval of the paired difference lies above the negative margin, and does not hold
    where it lies below. Otherwise it cannot be told.

    within: the margin, a fraction.
    """
    verdict = _decided(panel.difference(one, other), lambda low, high: (low >= -within, high < -within))
    return Ruling(verdict, _against(panel, one, other), why)


def at_most(panel: Panel, place: Place, bound: float, why: str = "") -> Ruling:
    """Whether a figure is at most a bound, by its interval.

    bound: in the unit of the cells.
    """
    verdict = _decided(panel[place], lambda low, high: (high <= bound, low > bound))
    return Ruling(verdict, _bounded(panel, place, "most", bound), why)


def at_least(panel: Panel, place: Place, bound: float, why: str = "") -> Ruling:
    """Whether a figure is at least a bound, by its interval.

    bound: in the unit of the cells.
    """
    verdict = _decided(panel[place], lambda low, high: (low >= bound, high < bound))
    return Ruling(verdict, _bounded(panel, place, "least", bound), why)


def rises(panel: Panel, places: list[Place], why: str = "") -> Ruling:
    """Whether figures rise along a list of places.

    The claim holds where the last is surely above the first and no step is surely down, in part where the last is
    surely above the first although some step is surely down, and not where the last is surely not above the first.
    """
    whole = above(panel, places[-1], places[0])
    steps = [panel.difference(b, a) for a, b in pairwise(places)]
    down = sum(1 for step in steps if step.ci95 is not None and step.ci95[1] < 0)
    names = [row for row, _ in places] if len({column for _, column in places}) == 1 else [c for _, c in places]
    figure = ", ".join(f"{n}: {_value(panel, place)}" for n, place in zip(names, places, strict=True)) + _unit(panel)
    figure += f", the last less the first {shown(panel.difference(places[-1], places[0]), panel.unit, signed=True)}"
    if whole.verdict == HOLDS and down:
        return Ruling(PART, figure, f"{why} {down} of {len(steps)} steps go down.".strip())
    return Ruling(whole.verdict, figure, why)


def falls(panel: Panel, places: list[Place], why: str = "") -> Ruling:
    """Whether figures fall along a list of places, as `rises` of the list turned round."""
    return rises(panel, places[::-1], why)


def like_theirs(panel: Panel, place: Place, within: float, why: str = "") -> Ruling:
    """Whether a figure is the paper's within a margin, by its interval.

    within: the margin, a fraction.
    Raises MissingError where the paper has no such figure.
    """
    if place not in panel.theirs:
        raise MissingError(f"{panel.title}: the paper has no {place[0]}, {place[1]}")
    theirs = panel.theirs[place] / (100 if panel.unit == PERCENT else 1)
    verdict = _decided(
        panel[place],
        lambda low, high: (
            theirs - within <= low and high <= theirs + within,
            low > theirs + within or high < theirs - within,
        ),
    )
    figure = f"{_named(panel, place)} {shown(panel[place], panel.unit)}, the paper has {panel.theirs[place]:g}"
    return Ruling(verdict, figure + _unit(panel), why)


def all_of(*rulings: Ruling, why: str = "") -> Ruling:
    """Of several parts of a claim: holds where all hold, does not hold where none does, in part where some do.

    A part that cannot be told leaves the claim open, unless others hold and others do not. The figure is that of the
    part with the worst verdict, with how many parts have which; the parts stay with the ruling.
    """
    verdicts = [r.verdict for r in rulings]
    good, bad = {HOLDS, PART} & set(verdicts), {FAILS, PART} & set(verdicts)
    verdict = PART if good and bad else OPEN if OPEN in verdicts else FAILS if bad else HOLDS
    worst = min(rulings, key=lambda r: VERDICTS.index(r.verdict))
    counts = ", ".join(f"{v}: {n}" for v in VERDICTS if (n := verdicts.count(v)))
    figure = worst.figure if len(rulings) == 1 else f"{worst.figure} (the worst of {len(rulings)} parts; {counts})"
    return Ruling(verdict, figure, why, rulings)


def _decided(found: Seeds, by: Callable[[float, float], tuple[bool, bool]]) -> str:
    """The verdict of an interval; by: from its ends to whether the claim holds, and whether it does not."""
    if found.ci95 is None:
        return OPEN
    holds, fails = by(*found.ci95)
    return HOLDS if holds else FAILS if fails else OPEN


def _against(panel: Panel, one: Place, other: Place) -> str:
    """Two figures and their paired difference with its interval."""
    difference = shown(panel.difference(one, other), panel.unit, signed=True)
    places = zip(_told_apart(panel, one, other), (one, other), strict=True)
    values = " against ".join(f"{name} {_value(panel, place)}" for name, place in places)
    return f"{values}{_unit(panel)}, difference {difference}"


def _told_apart(panel: Panel, one: Place, other: Place) -> tuple[str, str]:
    """The names of two places, without what they have in common."""
    if one[1] == other[1]:
        return _named(panel, one), other[0]
    return (one[1], other[1]) if one[0] == other[0] else (_named(panel, one), _named(panel, other))


def _named(panel: Panel, place: Place) -> str:
    return place[0] if len(panel.columns) == 1 else f"{place[0]}, {place[1]}:"


def _bounded(panel: Panel, place: Place, which: str, bound: float) -> str:
    meant = 100 * bound if panel.unit == PERCENT else bound
    return (
        f"{_named(panel, place)} {shown(panel[place], panel.unit)}, where at {which} {meant:g}{_unit(panel)} is meant"
    )


def _value(panel: Panel, place: Place) -> str:
    mean = panel[place].mean
    return f"{100 * mean:.1f}" if panel.unit == PERCENT else f"{mean:.3g}"


def _unit(panel: Panel) -> str:
    return f" {panel.unit}" if panel.unit else ""
