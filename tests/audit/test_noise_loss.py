"""The cards of the noise paper's loss notice what breaks them, and the plain losses agree where they must."""

from typing import Any

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn.reference import loss


def backwards(f: Any) -> Any:
    """The engine's win probability for the wrong class."""
    return lambda mean, var, k: tuple(-z for z in f(-mean, var, k))


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *args: tuple(z * factor if i == part else z for i, z in enumerate(f(*args)))


MUTANTS: list[Mutant] = [
    # the squared error of a sum instead of a mean, and the sum of the probabilities instead of their mean
    ("N18", "npsnn.reference.loss.mse", lambda f: lambda mu, k: len(mu) * f(mu, k)),
    ("N18", "npsnn.reference.loss.mean_win", lambda f: lambda mu, v, k: (len(mu) - 1) * f(mu, v, k)),
    ("N18", "npsnn.ops.loss.squared_error", scaled(0, 2)),
    ("N18", "npsnn.ops.loss.win_probability", backwards),
    # the covariance with the wrong sign, without its factor, to the letter; erf without the root of 2
    ("N19", "npsnn.reference.loss.pair_probability", lambda f: lambda mu, S: f(mu, 2 * np.diag(np.diag(S)) - S)),
    ("N19", "npsnn.reference.loss.pair_probability", lambda f: lambda mu, S: f(mu, (S + np.diag(np.diag(S))) / 2)),
    ("N19", "npsnn.reference.loss.pair_probability", lambda f: loss.pair_probability_printed),
    ("N19", "npsnn.reference.loss.pair_probability_printed", lambda f: loss.pair_probability),
    ("N19", "npsnn.reference.loss.win_probability", lambda f: lambda d, s: f(d, s / 2)),
    (
        "N19",
        "npsnn.ops.loss.margins",
        lambda f: lambda mean, var, hot: (f(mean, var, hot)[0], 2 * f(mean, var, hot)[1]),
    ),
    # the printed sign in place of the derived one, and the reverse
    ("N20", "npsnn.reference.loss.noise_aware", lambda f: loss.noise_aware_printed),
    ("N20", "npsnn.reference.loss.noise_aware_printed", lambda f: loss.noise_aware),
    ("N20", "npsnn.reference.loss.mean_win", lambda f: loss.mean_win_printed),
    (
        "N20",
        "npsnn.reference.gradient.d_mean",
        lambda f: lambda mu, v, k: 2 * np.asarray(mu - np.eye(6)[k]) / 3 - f(mu, v, k),
    ),
    # the engine rewards the wrong class
    ("N20", "npsnn.ops.loss.win_probability", backwards),
    # the independent form for the exact one, on either side, and a factor 2 in a gradient
    ("N21", "npsnn.reference.loss.difference_variance", lambda f: independent_variance),
    ("N21", "npsnn.ops.linear.joint_covariance", lambda f: lambda v, w: f(v, w) * np.eye(len(w))[..., None]),
    ("N21", "npsnn.ops.linear.joint_covariance_backward", scaled(0, 2)),
    ("N21", "npsnn.ops.linear.joint_covariance_backward", scaled(1, 0.5)),
    ("N21", "npsnn.reference.gradient.d_difference", scaled(1, -1)),
    ("N22", "npsnn.ops.loss.win_probability", scaled(2, 2)),
    ("N22", "npsnn.ops.loss.squared_error", scaled(1, 0.5)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


def independent_variance(W: Any, v: Any, i: int, k: int) -> float:
    return float((W[i] ** 2 + W[k] ** 2) @ v)


def test_pairs_of_independent_variables_have_no_covariance() -> None:
    mu, v = np.array([0.3, -0.1]), np.array([0.5, 0.2])
    want = loss.win_probability(0.4, 0.7)
    assert loss.pair_probability(mu, np.diag(v)) == want
    assert loss.pair_probability_by_integration(mu, np.diag(v)) == pytest.approx(want, rel=1e-11)
    assert loss.mean_win(mu, v, 0) == pytest.approx(want, rel=1e-14)


def test_the_two_signs_are_complements() -> None:
    rng = np.random.default_rng(0)
    mu, v = rng.standard_normal(7), rng.uniform(0.1, 1, 7)
    assert loss.mean_win(mu, v, 3) + loss.mean_win_printed(mu, v, 3) == pytest.approx(1, rel=1e-14)
    assert loss.noise_aware_printed(mu, v, 3) == pytest.approx(2 * loss.mse(mu, 3) - 1 - loss.noise_aware(mu, v, 3))
    assert loss.noise_aware_covariance(mu, np.diag(v), 3) == pytest.approx(loss.noise_aware(mu, v, 3), rel=1e-14)


def test_difference_form_is_the_covariance_form_of_a_last_layer() -> None:
    rng = np.random.default_rng(1)
    mu, W, v = rng.standard_normal(5), rng.standard_normal((5, 8)), rng.uniform(0.1, 1, 8)
    S = W @ np.diag(v) @ W.T
    want = loss.noise_aware_covariance(mu, S, 2)
    assert loss.noise_aware_difference(mu, W, v, 2) == pytest.approx(want, rel=1e-13)
