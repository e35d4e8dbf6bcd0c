"""The formulas of Theorem 1 and of the attacks against brute force, where the audit does not check them already."""

from itertools import product
from math import inf, sqrt

import numpy as np
import pytest

from npsnn.reference import protocol, theorem

RNG = np.random.default_rng(0)
W, B = RNG.standard_normal((4, 5)), RNG.standard_normal(4)
L = np.tril(RNG.standard_normal((5, 5)), -1) + np.diag(RNG.uniform(0.3, 1, 5))
F, SHIFT = RNG.standard_normal(5), RNG.standard_normal(5)


def test_the_spread_is_that_of_the_matrix_product() -> None:
    assert theorem.spread(W[0], L) == pytest.approx(sqrt(W[0] @ L @ L.T @ W[0]))
    assert theorem.spread(W[0], L) == pytest.approx(np.linalg.norm(L.T @ W[0]))


@pytest.mark.parametrize("p", [1, 2, 3, inf])
def test_the_reach_of_a_linear_score_is_attained_and_not_passed(p: float) -> None:
    w = W[0]
    points = RNG.standard_normal((20_000, 5))
    points = np.concatenate([points, np.array(list(product([-1, 1], repeat=5))), np.eye(5)])
    points /= np.linalg.norm(points, p, axis=1, keepdims=True)
    found = 0.3 * np.abs(points @ w).max()
    assert 0.97 * theorem.linear_reach(w, 0.3, p) <= found <= theorem.linear_reach(w, 0.3, p) * (1 + 1e-12)


def test_the_gap_of_a_linear_score_is_that_of_the_worst_corner() -> None:
    w, m = W[0], 0.4
    corners = m + 0.3 * np.array(list(product([-1, 1], repeat=5))) @ w
    s = theorem.spread(w, L)
    assert theorem.gap_linear(w, L, m, 0.3, inf) == pytest.approx(theorem.gap(m, corners, s))


@pytest.mark.parametrize("k", range(4))
def test_pairs_are_the_differences_of_logits(k: int) -> None:
    mu, s = theorem.pairs(W, B, L, F, k)
    logits, S = W @ F + B, W @ L @ L.T @ W.T
    others = [i for i in range(4) if i != k]
    np.testing.assert_allclose(mu, [logits[k] - logits[i] for i in others])
    np.testing.assert_allclose(s**2, [S[i, i] + S[k, k] - 2 * S[i, k] for i in others])
    change = W @ SHIFT
    np.testing.assert_allclose(theorem.pair_reach(W, SHIFT, k), [abs(change[k] - change[i]) for i in others])


@pytest.mark.parametrize("k", range(4))
def test_differences_of_logits_are_no_farther_than_features(k: int) -> None:
    far = theorem.feature_distance(L, SHIFT)
    assert far == pytest.approx(sqrt(SHIFT @ np.linalg.inv(L @ L.T) @ SHIFT))
    assert theorem.difference_distance(W, L, SHIFT, k) <= far
    # a shift that no difference sees costs nothing
    unseen = np.linalg.svd(np.delete(W[k] - W, k, axis=0))[2][-1]
    assert theorem.difference_distance(W, L, unseen, k) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_neyman_pearson_is_at_most_the_total_variation(distance: float) -> None:
    falls = [theorem.neyman_pearson(p, distance) for p in np.linspace(0, 1, 101)]
    most = theorem.total_variation(distance)
    assert min(falls) >= -1e-12 and max(falls) <= most + 1e-12
    # attained by the half-space in the middle
    assert theorem.neyman_pearson((1 + most) / 2, distance) == pytest.approx(most, abs=1e-12)


def test_sums_over_pairs() -> None:
    delta, mu, s = np.array([0.3, 1.0]), np.array([0.5, -0.2]), np.array([0.7, 1.1])
    for total, one in (
        (theorem.pairs_tight(delta, s), theorem.binary_tight),
        (theorem.pairs_lipschitz(delta, s), theorem.theorem1),
    ):
        assert total == pytest.approx(one(0.3, 0.7) + one(1.0, 1.1))
    wanted = theorem.binary_with_margin(0.3, 0.7, 0.5) + theorem.binary_with_margin(1.0, 1.1, -0.2)
    assert theorem.pairs_with_margin(delta, mu, s) == pytest.approx(wanted)


def test_the_margin_loss_stops_at_the_confidence() -> None:
    logits = np.array([1.0, 3.0, 2.5])
    assert protocol.margin_loss(logits, 1, 0.0) == 0.5
    assert protocol.margin_loss(logits, 0, 5.0) == -2.0
    assert protocol.margin_loss(logits, 0, 1.0) == -1.0
    assert protocol.carlini_wagner(logits, 1, np.array([3.0, 4.0]), 2.0, 0.0) == 26.0


def test_the_search_for_the_constant_closes_in() -> None:
    c, low, high, least = 1e-3, 0.0, inf, 0.37
    for _ in range(40):
        c, low, high = protocol.next_constant(c, low, high, success=c >= least)
    assert low <= least <= high and high - low < 1e-9


def test_the_printed_lagrangian() -> None:
    assert protocol.lagrangian_printed(7.0, np.array([3.0, -4.0]), 2) == 2.0
    assert protocol.lagrangian_printed(7.0, np.array([3.0, -4.0]), inf) == 3.0


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize(("step", "steps", "errors"), [(0.1, 10, 0.2), (0.25, 10, 0.3), (0.1, 3, 0.0)])
def test_reach_is_that_of_simulated_walks(step: float, steps: int, errors: float, start: bool) -> None:
    rng, walks = np.random.default_rng(1), 100_000
    way = rng.uniform(-1, 1, walks) if start else np.zeros(walks)
    for _ in range(steps):
        way = np.clip(way + step * np.where(rng.random(walks) < errors, -1, 1), -1, 1)
    mean, corner = protocol.reach(step, steps, start, errors)
    assert mean == pytest.approx(way.mean(), abs=5 * way.std() / sqrt(walks) + 1e-9)
    assert corner == pytest.approx(np.mean(way > 1 - 1e-9), abs=5 * 0.5 / sqrt(walks))


def test_the_stopping_rule_of_few_energies() -> None:
    assert protocol.converged(np.array([1.0, 1.0, 1.0]))
    assert not protocol.converged(np.array([1.0, 2.0]))
    assert protocol.converged(np.zeros(3))
