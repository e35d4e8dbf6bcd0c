"""Signs that attacks failed for reasons of their own: reasons to read what they leave together with care.

Source: the flags of AutoAttack's authors' code, and Pintor et al. 2022 (arXiv 2106.09947), indicators of failure.
"""

from math import inf, prod
from typing import Any

import numpy as np

from npsnn.attacks.base import ask
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.statistics import Difference, wilson_interval
from npsnn.objectives import OBJECTIVES
from npsnn.runs.caveats import Caveat

MORE = 0.002
"""By how much a black box may leave less than the white boxes: 0.2 points."""
ALL = 0.01
"""What may be left where nothing bounds an attack: a network that guesses is right by luck now and then."""
HALF = 0.5
"""The same on a network with noise, of an attack that brings an image to the boundary, where noise decides."""

RISING = 1 / 3
"""The part of the images whose loss may rise to the end; to be said, a 95 % interval must be above it."""


def of_together(results: list[Any]) -> list[Caveat]:
    """Caveats of what attacks of one ball leave together, `Result`s that were judged on the same draws."""
    return _black_box(results) + _transfer(results)


def _black_box(results: list[Any]) -> list[Caveat]:
    blind = [r for r in results if ask(r.by, "forward_only")]
    found, before = [], set[str]()
    for r in (r for r in results if r.met is not None):
        if r not in blind:
            before.add(r.group)
        elif r.group in before and r.took > MORE * len(r.met):
            what = f"{r.attack}, which takes no gradient, took {r.took:,} of {int(r.met.sum()):,} images that were left"
            found.append(Caveat("black-box", f"{what}: the gradients mislead"))
    white = [r for r in results if r not in blind and not _transferred(r)]
    more = _surely_less([r for r in blind if r.met is None], [r for r in white if r.met is None], MORE)
    if more:
        least, other = more
        what = f"{least.attack}, which takes no gradient, leaves less than {other.attack}, the best of those that do"
        found.append(Caveat("black-box", f"{what}: the gradients mislead"))
    return found


def _transfer(results: list[Any]) -> list[Caveat]:
    moved = [r for r in results if _transferred(r) and r.met is None]
    white = [r for r in results if not _transferred(r) and not ask(r.by, "forward_only") and r.met is None]
    more = _surely_less(moved, white, 0)
    if not more:
        return []
    least, other = more
    what = f"{least.attack} takes more by the gradients of another network than {other.attack} by this one's own"
    return [Caveat("transfer", f"{what}: these mislead")]


def _transferred(r: Any) -> bool:
    return bool(r.noise_ignored) or r.surrogate is not None


def _surely_less(some: list[Any], others: list[Any], margin: float) -> tuple[Any, Any] | None:
    """The best of both, where that of `some` leaves less by more than the margin, and by more than luck."""
    if not some or not others:
        return None
    least, other = (min(each, key=lambda r: r.accuracy.mean) for each in (some, others))
    difference = Difference.of(other.accuracy.each, least.accuracy.each)
    return (least, other) if difference.mean > margin and difference.surely() else None


def of_unbounded(norm: str, eps: float, left: Accuracy, shape: tuple[int, ...]) -> list[Caveat]:
    """Caveats of an attack that may go anywhere, as its ball holds the whole box, and does not take all.

    shape: of an image, (C, H, W).
    """
    reach = {"linf": 1, "l2": prod(shape) ** 0.5, "l1": prod(shape), "l0": prod(shape[1:])}[norm]
    noise = bool(((left.each > 0) & (left.each < 1)).any())
    if eps < reach or left.ci95[0] <= (HALF if noise and eps == inf else ALL):
        return []
    what = f"no bound holds the attack, and it leaves {100 * left.mean:.1f} %"
    return [Caveat("unbounded", f"{what}: it fails for reasons of its own")]


def of_steps(rising: int, left: int) -> list[Caveat]:
    """Caveats of an attack with few steps.

    rising: of how many of the images that are left the loss still rises where the steps end. left: how many are left.
    """
    each = np.repeat([1.0, 0.0], [rising, left - rising])
    if not rising or wilson_interval(each)[0] <= RISING:  # of few images many may rise by luck
        return []
    what = f"the loss of {rising:,} of the {left:,} images that are left still rises where the steps end"
    return [Caveat("still-rising", f"{what}: more steps make the attack stronger")]


def of_answers(probabilities: bool) -> list[Caveat]:
    """Caveats of a network that answers with probabilities in the place of logits."""
    if not probabilities:
        return []
    what = "the network answers with probabilities, where logits are expected"
    return [Caveat("probabilities", f"{what}: a softmax of a softmax hides most of the gradient")]


def of_replaced(objective: Any, classes: int) -> list[Caveat]:
    """Caveats of an objective that needs more classes than there are, in whose place another is ascended."""
    for name, least, other in (("dlr", 3, "margin"), ("targeted-dlr", 4, "targeted-margin")):
        if objective is OBJECTIVES[name] and classes < least:
            return [Caveat("replaced-loss", f"{name} needs {least} classes: of {classes} it is {other}")]
    return []
