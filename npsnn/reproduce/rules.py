"""Rules that decide about claims: what an interval says of "more", "no less" and "the same".

All take figures over seeds as fractions, with the interval of their paired difference.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART, VERDICTS, Ruling
from npsnn.reproduce.panels import PERCENT, Panel, shown
from npsnn.reproduce.records import MissingError, Seeds
from npsnn.reproduce.wording import CLEAN, ROUNDING, Place, against, alone, listed, needing, size

COLLAPSED = 0.2
"""The clean accuracy on ten classes below which a network has not learned, whatever an attack leaves of it: a network
that gives one answer cannot be attacked."""


def above(panel: Panel, more: Place, less: Place, by: float = 0.0, why: str = "") -> Ruling:
    """Whether one figure is above another.

    The claim holds where the paired difference is surely above 0 and, on average, at least `by`; it holds in part where
    it is surely above 0 and less than `by`; it does not hold where it is surely below 0, or surely below `by` and not
    surely above 0. Otherwise it cannot be told.

    by: the least difference that the claim means, a fraction; the paper's own difference where that is less.
    """
    found, theirs = panel.difference(more, less), panel.in_the_paper(more, less)
    least = by if theirs is None else min(by, max(theirs - ROUNDING, 0.0))
    verdict = _decided(found, lambda low, high: (low > 0, high < least or high <= 0))
    needed = "above 0" + (f", on average at least {size(panel, least)}" if least > 0 else "")
    figure = against(panel, more, less, needed)
    return Ruling(PART if verdict == HOLDS and found.mean < least else verdict, figure, why)


def near(panel: Panel, one: Place, other: Place, within: float, why: str = "") -> Ruling:
    """Whether two figures are the same within a margin.

    The claim holds where the whole interval of the paired difference lies within the margin, and does not hold where it
    lies outside. Otherwise it cannot be told.

    within: the margin, a fraction; the paper's own difference where that is more.
    """
    margin = max(within, abs(panel.in_the_paper(one, other) or 0.0) + ROUNDING)
    verdict = _decided(
        panel.difference(one, other),
        lambda low, high: (-margin <= low and high <= margin, low > margin or high < -margin),
    )
    found = Ruling(verdict, against(panel, one, other, f"within {size(panel, margin)} of 0"), why)
    return telling(panel, (one, other), margin, found)


def no_less(panel: Panel, one: Place, other: Place, within: float, why: str = "") -> Ruling:
    """Whether one figure is at most a margin below another, or above it.

    The claim holds where the whole interval of the paired difference lies above the negative margin, and does not hold
    where it lies below. Otherwise it cannot be told.

    within: the margin, a fraction; what the paper itself loses where that is more.
    """
    margin = max(within, ROUNDING - (panel.in_the_paper(one, other) or 0.0))
    verdict = _decided(panel.difference(one, other), lambda low, high: (low >= -margin, high < -margin))
    return Ruling(verdict, against(panel, one, other, f"at least -{size(panel, margin)}"), why)


def at_most(panel: Panel, place: Place, bound: float, why: str = "") -> Ruling:
    """Whether a figure is at most a bound, by its interval.

    bound: in the unit of the cells.
    """
    verdict = _decided(panel[place], lambda low, high: (high <= bound, low > bound))
    return Ruling(verdict, alone(panel, place, f"at most {size(panel, bound)}"), why)


def at_least(panel: Panel, place: Place, bound: float, why: str = "") -> Ruling:
    """Whether a figure is at least a bound, by its interval.

    bound: in the unit of the cells.
    """
    verdict = _decided(panel[place], lambda low, high: (low >= bound, high < bound))
    return Ruling(verdict, alone(panel, place, f"at least {size(panel, bound)}"), why)


def rises(panel: Panel, places: list[Place], why: str = "") -> Ruling:
    """Whether figures rise along a list of places.

    The claim holds where the last is surely above the first and no step is surely down, in part where the last is
    surely above the first although some step is surely down, and not where the last is surely not above the first.
    """
    return _along(panel, places, why)


def falls(panel: Panel, places: list[Place], why: str = "") -> Ruling:
    """Whether figures fall along a list of places, as `rises` of the list turned round."""
    return _along(panel, places, why, falling=True)


def _along(panel: Panel, places: list[Place], why: str, falling: bool = False) -> Ruling:
    """Whether figures rise, or fall, along a list of places."""
    up = places[::-1] if falling else places
    whole = above(panel, up[-1], up[0])
    steps = [panel.difference(b, a) for a, b in pairwise(up)]
    back = sum(1 for step in steps if step.ci95 is not None and step.ci95[1] < 0)
    change = shown(panel.difference(up[-1], up[0]), panel.unit, signed=True)
    which = "the first minus the last" if falling else "the last minus the first"
    figure = f"{listed(panel, places)}; {which} {change}, {needing(panel, places, 'above 0')}"
    if whole.verdict == HOLDS and back:
        return Ruling(PART, figure, f"{why} {back} of {len(steps)} steps go the other way.".strip())
    return Ruling(whole.verdict, figure, why)


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
    needed = f"within {size(panel, within)} of the paper's {panel.theirs[place]:g}"
    return Ruling(verdict, alone(panel, place, needed), why)


def fairly(panel: Panel, rows: Iterable[str], ruling: Ruling) -> Ruling:
    """The ruling, left open where a seed of one of the networks that it compares has not learned (`COLLAPSED`)."""
    clean = {row: min(panel.cells[row, CLEAN].values) for row in rows if (row, CLEAN) in panel.cells}
    fallen = [
        f"{row} classifies {100 * least:.1f} % of clean images" for row, least in clean.items() if least < COLLAPSED
    ]
    if not fallen:
        return ruling
    return replace(ruling, verdict=OPEN, figure=f"{ruling.figure}; no comparison: {' and '.join(fallen)}")


def telling(panel: Panel, places: Iterable[Place], margin: float, ruling: Ruling) -> Ruling:
    """The ruling, left open where accuracies are all so small that no difference could be beyond the margin."""
    if panel.unit != PERCENT or any(panel[place].mean > margin for place in places):
        return ruling
    return replace(ruling, verdict=OPEN, figure=f"{ruling.figure}; no comparison: too little is left for that margin")


def all_of(*rulings: Ruling, why: str = "", names: Sequence[str] = ()) -> Ruling:
    """Of several parts of a claim: holds where all hold, does not hold where none does, in part where some do.

    A part that cannot be told leaves the claim open, unless others hold and others do not. The figure says which parts
    have which verdict, with the first part of each; the parts stay with the ruling.

    names: what each part is called, in their order; parts of one name are told together.
    """
    verdicts = [r.verdict for r in rulings]
    good, bad = {HOLDS, PART} & set(verdicts), {FAILS, PART} & set(verdicts)
    verdict = PART if good and bad else OPEN if OPEN in verdicts else FAILS if bad else HOLDS
    if len(rulings) == 1:
        return Ruling(verdict, rulings[0].figure, why, rulings)
    parts = tuple(replace(r, name=n) for r, n in zip(rulings, names, strict=True)) if names else rulings
    found = Ruling(verdict, "", why, parts)
    told = []
    for v in (v for v in VERDICTS if v in verdicts):
        called = f" ({'; '.join(found.named_parts[v])})" if v in found.named_parts else ""
        first = next(r.figure for r in rulings if r.verdict == v)
        told.append(f"{v}: {verdicts.count(v)} of {len(rulings)} parts{called}, first: {first}")
    return replace(found, figure=". ".join(told))


def _decided(found: Seeds, by: Callable[[float, float], tuple[bool, bool]]) -> str:
    """The verdict of an interval; by: from its ends to whether the claim holds, and whether it does not."""
    if found.ci95 is None:
        return OPEN
    holds, fails = by(*found.ci95)
    return HOLDS if holds else FAILS if fails else OPEN
