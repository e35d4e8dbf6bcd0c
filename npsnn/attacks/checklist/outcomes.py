"""The outcome of a criterion, and whether the images can decide it at all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from npsnn.attacks.judging import Accuracy
from npsnn.attacks.statistics import Difference, needed
from npsnn.runs.caveats import Caveat, at_chance


class Outcome(StrEnum):
    """The decision of a criterion by its figures."""

    PASSES = "passes"
    FAILS = "fails"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


Findings: TypeAlias = tuple[Outcome, str, dict[str, float]]
"""outcome, explanation and figures."""


@dataclass(frozen=True)
class Criterion:
    """One criterion: the question, to which a sound network's answer is no, the figures, and what they decide.

    figures: accuracies and their differences are fractions; counts are of images.
    outcome: undecided where these images cannot tell, not applicable where the question does not arise.
    explanation: one sentence; the reason where the outcome is undecided.
    caveats: what qualifies the attacks that were made for this criterion first.
    """

    number: int
    name: str
    question: str
    outcome: Outcome
    explanation: str
    figures: dict[str, float] = field(default_factory=dict)
    caveats: tuple[Caveat, ...] = ()

    def __repr__(self) -> str:
        return f"<Criterion {self.number}, {self.name}: {self.outcome.value}>"

    @property
    def passed(self) -> bool | None:
        """True if the criterion passes, False if it fails, None otherwise."""
        return {Outcome.PASSES: True, Outcome.FAILS: False}.get(self.outcome)


def unreadable(clean: Accuracy, labels: np.ndarray, least: int) -> str:
    """Why no comparison of attacks on these images says anything; "" if one may.

    A network must surely read more images than one that names a single class, and read at least `least` of them.
    """
    commonest = at_chance(clean, labels)
    if commonest is not None:
        text = f"{100 * clean.mean:.1f} % of {len(labels):,} images are right without an attack, which is not surely "
        return f"{text}more than the {100 * commonest:.1f} % of a network that always names the commonest class"
    right = int((clean.each > 0.5).sum())
    if right < least:
        return f"{right:,} images are right without an attack, and fewer than {least} are never surely taken"
    return ""


def decided(
    clean: Accuracy,
    labels: np.ndarray,
    attacks: Iterable[np.ndarray],
    fails: bool,
    comparisons: int = 1,
    unsure: str = "",
) -> tuple[Outcome, str]:
    """The outcome of a comparison of attacks, and the reason where it is undecided.

    clean: the accuracy without an attack.
    attacks: the accuracy of each image under each attack, (N,).
    fails: whether an attack is surely what it must not be, as the greatest of `comparisons`.
    unsure: why it does not pass either, where it does not.

    Attacks of which none surely takes anything decide nothing.
    """
    reason = unreadable(clean, labels, needed(comparisons))
    if fails and not reason:
        return Outcome.FAILS, ""
    reason = reason or unsure
    if not reason and not any(Difference.of(clean.each, each).surely() for each in attacks):
        reason = f"no attack surely takes anything of the {100 * clean.mean:.1f} % that are right"
    return (Outcome.UNDECIDED, reason) if reason else (Outcome.PASSES, "")
