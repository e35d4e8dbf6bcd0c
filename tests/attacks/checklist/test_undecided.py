"""Criteria that these images cannot decide, and how surely one is decided."""

from dataclasses import replace

import numpy as np
import pytest
from checklist_networks import BLIND, LABELS, SMALL, SOUND, X, balanced, spoiled, suite
from small_networks import SHAPE

from npsnn.attacks.checklist import criteria as checklist
from npsnn.attacks.checklist.criteria import examine
from npsnn.attacks.checklist.outcomes import Outcome
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.judging import Accuracy
from npsnn.classifier import Classifier


def test_of_a_few_images_that_are_left_none_is_surely_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 images the smaller eps leaves 3, and the larger as many: that is no flat ladder yet."""
    few = suite(ladder=(0.01, 0.02))
    left = np.where(np.arange(40) < 3, 1.0, 0.0)
    monkeypatch.setattr(Suite, "pgd", lambda self, eps=None: replace(few.fgsm, accuracy=Accuracy(left)))
    outcome, explanation, _ = checklist.rising_eps(few)
    assert outcome is Outcome.UNDECIDED and "the smallest eps leaves 3 images, and fewer than 6" in explanation


@pytest.mark.parametrize(("taken", "expected"), [(6, Outcome.PASSES), (7, Outcome.FAILS)])
def test_one_of_three_comparisons_must_be_the_surer(
    monkeypatch: pytest.MonkeyPatch, taken: int, expected: Outcome
) -> None:
    """Random search takes some images more than any other attack: 6 would do for one comparison."""
    many = suite()
    white, random = (
        replace(many.fgsm, accuracy=Accuracy((np.arange(40) < left).astype(float))) for left in (20, 20 - taken)
    )
    many.__dict__.update(fgsm=white, adaptive=white, random=random)
    monkeypatch.setattr(Suite, "pgd", lambda self, eps=None: white)
    monkeypatch.setattr(Suite, "one_pixel", lambda self, pixels: white)
    outcome, explanation, _ = checklist.black_box(many)
    assert outcome is expected, explanation


DIVERGED = replace(SOUND, params=SOUND.params | {"fc": {"w": 0 * SOUND.params["fc"]["w"], "b": np.array([0.0, 1, 2])}})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "count", "reason"),
    [
        (DIVERGED, 40, "which is not surely more than the 37.5 % of a network that always names the commonest class"),
        (DIVERGED, 4, "of 4 images are right without an attack"),
        (balanced(20.0), 40, "which is not surely more than"),
        (SOUND, 4, "images are right without an attack"),
    ],
    ids=["diverged", "diverged, few", "all noise", "few"],
)
def test_a_network_that_reads_nothing_passes_nothing(network: Classifier, count: int, reason: str) -> None:
    options = replace(SMALL, steps=1, samples=2, generations=1, ladder=(0.01, 0.02))
    found = list(examine(network, X[:count], LABELS[:count], options))
    assert [c.passed for c in found] == [None] * 10
    assert [c.outcome for c in found] == [Outcome.UNDECIDED] * 10
    assert all("; undecided: " in c.explanation and reason in c.explanation for c in found)
    assert all(np.isfinite(value) for c in found for value in c.figures.values())


def test_an_attack_that_takes_nothing_decides_nothing() -> None:
    """Neither FGSM nor PGD does anything without gradients: that PGD leaves no more than FGSM is no merit."""
    for decide in (checklist.one_step, checklist.transfer, checklist.known_noise):
        outcome, explanation, _ = decide(suite(spoiled(BLIND)))
        assert outcome is Outcome.UNDECIDED and "no attack surely takes anything of the " in explanation


@pytest.mark.parametrize(
    ("left", "images", "expected"),
    [
        (0, 100, Outcome.PASSES),
        (1, 100, Outcome.PASSES),
        (2, 100, Outcome.UNDECIDED),
        (9, 100, Outcome.FAILS),
        (1, 40, Outcome.UNDECIDED),
        (2, 40, Outcome.FAILS),
    ],
)
def test_what_an_unbounded_attack_leaves_is_weighed_by_the_images(
    monkeypatch: pytest.MonkeyPatch, left: int, images: int, expected: Outcome
) -> None:
    many = Suite(SOUND, np.resize(X, (images, *SHAPE)), np.resize(LABELS, images), SMALL, None)
    result = replace(many.fgsm, accuracy=Accuracy((np.arange(images) < left).astype(float)))
    monkeypatch.setattr(Suite, "unbounded", lambda self: {"steps": result})
    outcome, explanation, _ = checklist.unbounded(many)
    assert outcome is expected, explanation
