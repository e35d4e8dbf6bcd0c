"""Random search keeps the worst of what it tried, and its control tries nothing but the clean image."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import Asked, convolutional, images, linear, predicted

from npsnn.attacks.balls import NORMS
from npsnn.attacks.judging import accuracy
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import expectation, sampled
from npsnn.streams import Stream

X = images(6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_point_that_most_draws_misread_is_kept(norm: str) -> None:
    network = linear(sigma=0.4)
    target, labels = sampled(network, 1), predicted(network, X)
    attack = RandomSearch({"linf": 0.1, "l2": 0.5}[norm], norm, samples=9, draws=20)
    x_adv = attack(target, X, labels, Stream(2))
    points = [attack.ball.random(X, Stream(2).at("sample", s)) for s in range(9)]
    misread = [target.misread(p, labels, 20, Stream(2).at("judge", s)) for s, p in enumerate(points)]
    worst = np.argmax(misread, axis=0)
    assert len(set(worst)) > 1, "a test of the choice for each image needs different winners"
    np.testing.assert_array_equal(x_adv, np.stack(points)[worst, np.arange(6)])
    attack.ball.check(x_adv, X)


def test_it_finds_what_there_is_to_find() -> None:
    network = linear(sigma=0.0)
    labels = predicted(network, X)
    attack = RandomSearch(0.3, samples=200)
    left = accuracy(network, attack(expectation(network), X, labels, Stream(0)), labels).mean
    assert left < accuracy(network, attack.ball.random(X, Stream(1)), labels).mean


def test_the_control_has_the_same_draws_and_no_perturbation() -> None:
    network = convolutional(sigma=0.5)
    labels, attack = predicted(network, X), RandomSearch(0.5, "l2", samples=5, draws=2)
    targets = [Asked.like(sampled(network, 1)) for _ in range(2)]
    moved = attack(targets[0], X, labels, Stream(0).from_sample(3))
    control = attack.control()
    assert control == replace(attack, eps=0.0)
    np.testing.assert_array_equal(control(targets[1], X, labels, Stream(0).from_sample(3)), X)
    assert (moved != X).any()
    assert targets[0].asked == targets[1].asked
    assert len(targets[0].asked["misread"]) == len(set(targets[0].asked["misread"])) == 5
    assert attack.passes(targets[0]) == 10
    assert attack.passes(expectation(linear(sigma=0.0))) == 5, "without noise one look says all"


def test_a_batch_may_be_split_anywhere() -> None:
    network = convolutional(sigma=0.5)
    target, labels, attack = sampled(network, 1), predicted(network, X), RandomSearch(0.2, samples=5, draws=3)
    whole = attack(target, X, labels, Stream(4))
    parts = [attack(target, X[s], labels[s], Stream(4).from_sample(s.start)) for s in (slice(0, 2), slice(2, 6))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("options", [{"samples": 0}, {"draws": 0}])
def test_counts_must_be_positive(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be >= 1, got 0"):
        RandomSearch(0.1, **options)
