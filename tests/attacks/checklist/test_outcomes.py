"""What may decide a criterion: images that are read, enough of them, and attacks that take something."""

import numpy as np
import pytest

from npsnn.attacks.checklist.outcomes import Outcome, decided, unreadable
from npsnn.attacks.judging import Accuracy

LABELS = np.arange(60) % 3
CLEAN, NOTHING = Accuracy(np.ones(60)), np.zeros(60)


def test_fewer_images_than_could_decide_are_too_few() -> None:
    few = Accuracy(np.ones(5))
    assert (
        unreadable(few, LABELS[:5], 6)
        == "5 images are right without an attack, and fewer than 6 are never surely taken"
    )
    assert unreadable(Accuracy(np.ones(6)), LABELS[:6], 6) == ""
    assert decided(few, LABELS[:5], [NOTHING[:5]], fails=True)[0] is Outcome.UNDECIDED


def test_a_network_that_names_one_class_reads_nothing() -> None:
    one_class = Accuracy((LABELS == 0).astype(float))
    assert "33.3 % of a network that always names the commonest class" in unreadable(one_class, LABELS, 6)
    assert unreadable(Accuracy((LABELS < 2).astype(float)), LABELS, 6) == ""


@pytest.mark.parametrize(
    ("attack", "fails", "unsure", "outcome"),
    [
        (NOTHING, False, "", Outcome.PASSES),
        (NOTHING, True, "", Outcome.FAILS),
        (NOTHING, True, "too few", Outcome.FAILS),
        (NOTHING, False, "too few", Outcome.UNDECIDED),
        (CLEAN.each, False, "", Outcome.UNDECIDED),
        (CLEAN.each, True, "", Outcome.FAILS),
    ],
)
def test_the_outcome_of_a_comparison(attack: np.ndarray, fails: bool, unsure: str, outcome: Outcome) -> None:
    found, reason = decided(CLEAN, LABELS, [attack], fails, unsure=unsure)
    assert found is outcome and bool(reason) == (outcome is Outcome.UNDECIDED)
