"""The L1 ball cut with the box: its projection against bisection, its directions, points and walks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from small_networks import convolutional, images, linear, predicted
from strategies import SEEDS

from npsnn.attacks import APGD, APGDT, PGD, Auto, Ball, EoT, Square, expectation, robust_accuracy
from npsnn.attacks import l1 as ours
from npsnn.attacks.plan import RADII, Plan
from npsnn.streams import Stream

QUIET = convolutional().with_sigma(0.0)
X = images(6, low=0.2, high=0.8)
LABELS = predicted(QUIET, X)


def moved(delta: np.ndarray, x: np.ndarray, less: float) -> np.ndarray:
    """The change by `less` less in each entry, cut with the box: nearest to delta of all of its L1 norm."""
    return np.sign(delta) * np.minimum(np.maximum(np.abs(delta) - less, 0), np.where(delta > 0, 1 - x, x))


def bisected(delta: np.ndarray, x: np.ndarray, eps: float) -> np.ndarray:
    low, high = 0.0, float(np.abs(delta).max())
    if np.abs(moved(delta, x, 0)).sum() <= eps:
        return moved(delta, x, 0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(moved(delta, x, middle)).sum() > eps else (low, middle)
    return moved(delta, x, high)


@given(SEEDS, st.integers(1, 12), st.sampled_from([0.0, 1e-3, 0.3, 1.0, 3.0, 20.0]), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_projection_is_that_of_bisection(seed: int, entries: int, eps: float, size: float) -> None:
    rng = np.random.default_rng(seed)
    x, delta = rng.uniform(size=(3, 1, 1, entries)), size * rng.standard_normal((3, 1, 1, entries))
    edge, still = rng.random((2, *x.shape)) < 0.3
    x, delta = np.where(edge, np.round(x), x), np.where(still, 0, delta)
    found = ours.onto_ball(delta, x, eps)
    for n in range(3):
        np.testing.assert_allclose(found[n], bisected(delta[n], x[n], eps), rtol=0, atol=1e-12)
    assert (np.abs(found).sum(axis=(1, 2, 3)) <= eps * (1 + 1e-12)).all()


@given(SEEDS)
def test_no_point_of_ball_and_box_is_nearer(seed: int) -> None:
    """By the sign of the slope: the way from the projection to any other point leads away from delta."""
    rng = np.random.default_rng(seed)
    x, delta, eps = rng.uniform(size=(1, 1, 2, 4)), rng.standard_normal((1, 1, 2, 4)), 1.0
    near = ours.onto_ball(delta, x, eps)
    for _ in range(30):
        other = rng.standard_normal(x.shape)
        other = np.clip(x + other * (eps * rng.random() / np.abs(other).sum()), 0, 1) - x
        assert ((delta - near) * (other - near)).sum() <= 1e-12


def test_a_direction_goes_equally_far_in_the_steepest_entries() -> None:
    g = np.array([3.0, -5.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(ours.along(g, 1).ravel(), [0, -1, 0, 0])
    np.testing.assert_array_equal(ours.along(g, np.array([2])).ravel(), [0.5, -0.5, 0, 0])
    np.testing.assert_allclose(ours.along(g, 9).ravel(), np.array([1, -1, 0, 1]) / 3)
    assert not ours.along(0 * g, 3).any()
    assert np.abs(Ball("l1", 1.0).steepest(np.random.default_rng(0).standard_normal((2, 1, 28, 28)))).max() == 1 / 39


def test_random_points_are_uniform_by_volume_and_keyed_by_sample() -> None:
    x, ball = np.full((4000, 1, 2, 2), 0.5), Ball("l1", 0.2)
    delta = ball.random(x, Stream(0)) - x
    assert stats.kstest((ball.size(delta) / 0.2) ** 4, "uniform").pvalue > 1e-5
    assert (np.abs(delta.mean(axis=0)) < 5 * 0.2 / np.sqrt(4000)).all()
    # uniform by volume: the part of the first entry in the norm has the density 3 (1 - t)²
    share = np.abs(delta[:, 0, 0, 0]) / ball.size(delta)
    assert stats.kstest(1 - (1 - share) ** 3, "uniform").pvalue > 1e-5
    np.testing.assert_array_equal(ball.random(x[7:9], Stream(0).from_sample(7)), ball.random(x, Stream(0))[7:9])


@pytest.mark.parametrize("classes", [2, 3])
def test_on_a_linear_network_it_reaches_the_boundary_and_no_farther(classes: int) -> None:
    """In L1 a boundary is as far as the margin over the largest difference of weights."""
    network, x = linear(0.0, classes=classes), images(6, low=0.45, high=0.55)
    labels, w, z = predicted(network, x), network.params["fc"]["w"], network.predict(x)
    for n, label in enumerate(labels):
        others = [t for t in range(classes) if t != label]
        distance = min((z[n, label] - z[n, t]) / np.abs(w[label] - w[t]).max() for t in others)
        if not 1e-3 < distance < 0.4:
            continue
        one = slice(n, n + 1)
        for part, misread in ((1.01, True), (0.99, False)):
            attack = APGDT(part * distance, "l1", steps=100)
            (result,) = robust_accuracy(network, x[one], labels[one], [attack])
            assert (result.accuracy.mean == 0) == misread


def test_walks_are_stronger_than_steps_of_one_length() -> None:
    target = expectation(convolutional())  # whose looks are not certain: the loss decides
    attacks: list[Any] = [APGD(0.3, "l1", steps=60), PGD(0.3, "l1", steps=60)]
    apgd, pgd = (target(a(target, X, LABELS, Stream(0)), LABELS, Stream(0))[0] for a in attacks)
    assert apgd.mean() > pgd.mean() > target(X, LABELS, Stream(0))[0].mean()


def test_points_beyond_eps_are_no_result() -> None:
    for attack in (APGD(0.2, "l1", steps=30), APGDT(0.2, "l1", steps=30), APGD(0.2, "l1", steps=9, source=EoT(2))):
        (result,) = robust_accuracy(QUIET, X, LABELS, [attack])
        attack.ball.check(result.x_adv, X)
        assert (result.x_adv != X).any()
        objective = attack.ascends.plain
        still = replace(attack, eps=0.0)(expectation(QUIET, objective), X, LABELS, Stream(0))
        np.testing.assert_array_equal(still, X)


def test_plans_have_radii_in_it_and_square_has_no_squares() -> None:
    assert Plan(("pgd",), norm="l1").radii == RADII["l1"]
    assert {a.norm for a in Plan(("pgd", "apgd", "adaptive-apgd-t"), norm="l1").made()} == {"l1"}
    for make in (lambda: Square(1.0, "l1"), lambda: Plan(("square",), norm="l1"), lambda: Auto(1.0, "l1").certain()):
        with pytest.raises(ValueError, match="norm must be one of linf, l2, got 'l1'"):
            make()
