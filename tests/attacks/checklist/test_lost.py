"""The criterion of lost gradients: what single precision leaves at some margins, and what decides."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from checklist_networks import BLIND, LABELS, SMALL, SOUND, X, spoiled, suite
from small_networks import images, predicted

from npsnn.attacks.checklist import lost
from npsnn.attacks.checklist.criteria import CRITERIA
from npsnn.attacks.checklist.lost import Left, lost_gradients, measured
from npsnn.attacks.checklist.outcomes import Outcome
from npsnn.attacks.checklist.suite import Suite
from npsnn.classifier import Classifier


def louder(scale: float, network: Classifier = SOUND) -> Classifier:
    """The network with its logits times `scale`."""
    return replace(network, params=network.params | {"fc": {k: scale * p for k, p in network.params["fc"].items()}})


@pytest.mark.parametrize(
    ("scale", "outcome", "reason"),
    [
        (1, Outcome.PASSES, "the median margin is 0.273"),
        (50, Outcome.PASSES, "0 have no gradient in single precision"),
        (100, Outcome.UNDECIDED, "undecided: half of the images have half of their gradient"),
        (1000, Outcome.FAILS, "the median margin is 273"),
    ],
)
def test_the_louder_a_network_the_less_is_left(scale: float, outcome: Outcome, reason: str) -> None:
    found, explanation, figures = lost_gradients(suite(louder(scale)))
    assert found is outcome and reason in explanation
    quiet = lost_gradients(suite())[2]
    assert figures["median margin"] == pytest.approx(scale * quiet["median margin"], rel=1e-9)
    assert figures["without one in any precision"] == 0, "npsnn's own attacks keep all gradients"
    assert (figures["images without a gradient"] > 0) == (outcome is Outcome.FAILS)


def test_the_margins_and_the_gradients_are_those_of_the_network() -> None:
    quiet = Suite(louder(500).with_sigma(0.0), X, LABELS, SMALL, None)
    left = measured(quiet)
    logits = quiet.network.predict(X)
    rows = np.arange(len(X))
    others = np.where(np.arange(logits.shape[1]) == LABELS[:, None], -np.inf, logits).max(axis=1)
    np.testing.assert_allclose(left.margins, logits[rows, LABELS] - others, rtol=1e-9)
    assert 0 < left.none.sum() < len(X) and not left.nowhere.any()
    # a gradient of 2^-149 times a weight may be lost below: what is surely lost are margins of more than 104
    assert left.none[left.margins > 104.5].all() and not left.none[left.margins < 90].any()


def test_all_draws_must_lose_it() -> None:
    """With noise an image has a gradient as soon as one of the draws has."""
    noisy, one = (measured(suite(louder(1000), eot=draws)) for draws in (20, 1))
    assert noisy.none.sum() < one.none.sum()


def _with(monkeypatch: pytest.MonkeyPatch, none: int, margin: float, of: int = 300) -> Any:
    """What the criterion finds of images of which so many have no gradient."""
    x = images(of)
    made = Suite(SOUND, x, predicted(SOUND, x), SMALL, None)
    left = Left(np.arange(of) < none, np.zeros(of, bool), np.full(of, margin))
    monkeypatch.setattr(lost, "measured", lambda suite: left)
    made.__dict__["clean"] = replace(made.clean, each=np.ones(of))
    return lost_gradients(made)


@pytest.mark.parametrize(
    ("none", "margin", "outcome", "reason"),
    [
        (0, 16.9, Outcome.PASSES, "the median margin is 16.9"),
        (0, 17.0, Outcome.UNDECIDED, "half of the images have half of their gradient"),
        (0, 102.9, Outcome.UNDECIDED, "half of the images have half of their gradient"),
        (0, 103.0, Outcome.FAILS, "the median margin is 103"),
        (1, 5.0, Outcome.UNDECIDED, "undecided: so few of 300 images are not surely more than 1.0 %"),
        (6, 5.0, Outcome.UNDECIDED, "undecided: so few of 300 images"),
        (9, 5.0, Outcome.FAILS, "of 300 images that are right, 9 have no gradient in single precision"),
    ],
)
def test_what_decides(monkeypatch: pytest.MonkeyPatch, none: int, margin: float, outcome: Outcome, reason: str) -> None:
    found, explanation, figures = _with(monkeypatch, none, margin)
    assert found is outcome and reason in explanation, explanation
    assert figures["images without a gradient"] == none and figures["median margin"] == margin


def test_gradients_that_are_0_in_every_precision_are_told_apart() -> None:
    found, explanation, figures = lost_gradients(suite(spoiled(BLIND)))
    assert found is Outcome.FAILS and "39 of them in no precision" in explanation
    assert figures["without one in any precision"] == figures["images without a gradient"] == 39


def test_a_network_that_reads_nothing_is_undecided() -> None:
    wrong = Suite(louder(1000), X, (LABELS + 1) % 3, SMALL, None)
    found, explanation, figures = lost_gradients(wrong)
    assert found is Outcome.UNDECIDED and "commonest class" in explanation
    assert all(np.isfinite(value) for value in figures.values())


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bytes_are_those_of_any_number_of_threads(threads: int) -> None:
    network = louder(400)
    network = replace(network, model=replace(network.model, micro_batch=7))
    one, many = (measured(suite(replace(network, threads=n))) for n in (1, threads))
    for a, b in zip(one, many, strict=True):
        assert a.tobytes() == b.tobytes()


def test_it_is_the_tenth() -> None:
    assert CRITERIA[9][2] is lost_gradients and not CRITERIA[9][3]
