"""The cards of the loss's gradient notice what breaks them."""

from typing import Any

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn.reference import differences, gradient, loss


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *args: tuple(z * factor if i == part else z for i, z in enumerate(f(*args)))


def times(factor: float) -> Any:
    return lambda f: lambda *args: factor * f(*args)


MUTANTS: list[Mutant] = [
    # the lost minus put back, the derived order of the arguments, a lost factor
    ("N23", "npsnn.reference.gradient.second_line", times(-1)),
    ("N23", "npsnn.reference.gradient.second_line", lambda f: lambda mu, s, k: f(-mu, s, k)),
    ("N23", "npsnn.reference.gradient.d_variance", times(0.5)),
    ("N23", "npsnn.reference.loss.noise_aware_printed", lambda f: loss.noise_aware),
    ("N23", "npsnn.ops.loss.win_probability", scaled(2, -1)),
    # printed for derived and the reverse, the constant, the factor of the weights, the engine's three parts
    ("N24", "npsnn.reference.gradient.d_deviation", lambda f: gradient.d_deviation_printed),
    ("N24", "npsnn.reference.gradient.d_deviation_printed", lambda f: gradient.d_deviation),
    ("N24", "npsnn.reference.gradient.d_deviation_printed", times(0.5)),
    ("N24", "npsnn.reference.gradient.d_deviation_constant_printed", times(0.5)),
    ("N24", "npsnn.reference.gradient.d_deviation_constant_printed", lambda f: gradient.d_deviation),
    ("N24", "npsnn.reference.gradient.c", lambda f: lambda n: f(n) / np.sqrt(2)),
    ("N24", "npsnn.reference.gradient.d_weight", lambda f: gradient.d_weight_printed),
    ("N24", "npsnn.reference.gradient.d_weight_printed", lambda f: gradient.d_weight),
    ("N24", "npsnn.reference.gradient.d_weight_printed", times(0)),
    ("N24", "npsnn.ops.loss.win_probability", scaled(2, 2)),
    ("N24", "npsnn.ops.loss.margins_backward", scaled(1, -1)),
    ("N24", "npsnn.ops.linear.linear_weight_backward", times(2)),
    # printed for derived and the reverse, the sign, the root
    ("N35", "npsnn.reference.gradient.d_mean", lambda f: gradient.d_mean_printed),
    ("N35", "npsnn.reference.gradient.d_mean_printed", lambda f: gradient.d_mean),
    ("N35", "npsnn.reference.gradient.bell", lambda f: lambda d, s: -f(d, s)),
    ("N35", "npsnn.reference.gradient.bell", lambda f: lambda d, s: f(d, s) / s**0.5),
    ("N35", "npsnn.ops.loss.win_probability", scaled(1, -1)),
    # the sum that is missing in print, missing in the engine or with the wrong sign
    ("N36", "npsnn.reference.gradient.d_mean", lambda f: gradient.d_mean_printed),
    ("N36", "npsnn.reference.gradient.d_mean_printed", lambda f: gradient.d_mean),
    ("N36", "npsnn.reference.gradient.bell", lambda f: lambda d, s: -f(d, s)),
    ("N36", "npsnn.ops.loss.margins_backward", lambda f: lambda dd, ds, hot, joint: (-dd, f(dd, ds, hot, joint)[1])),
    ("N36", "npsnn.ops.loss.squared_error", scaled(1, 0.5)),
    ("N37", "npsnn.reference.gradient.alpha", times(0.5)),
    ("N37", "npsnn.reference.gradient.c", lambda f: lambda n: f(n) * n / (n - 1)),
    ("N37", "npsnn.reference.gradient.c", lambda f: lambda n: f(n) / np.sqrt(2)),
    ("N37", "npsnn.ops.loss.squared_error", scaled(1, 2)),
    ("N37", "npsnn.ops.loss.win_probability", scaled(1, 2)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


@pytest.mark.parametrize("k", [0, 4])
def test_gradients_by_means_and_variances_are_the_slopes_of_the_loss(k: int) -> None:
    rng = np.random.default_rng(k)
    mu, v = rng.standard_normal(5), rng.uniform(0.2, 1, 5)
    by_mean = differences.gradient(lambda m: loss.noise_aware(m, v, k), mu)
    by_variance = differences.gradient(lambda w: loss.noise_aware(mu, w, k), v)
    np.testing.assert_allclose(gradient.d_mean(mu, v, k), by_mean, atol=1e-10)
    np.testing.assert_allclose(gradient.d_variance(mu, v, k), by_variance, atol=1e-10)


def test_the_repaired_last_line_differs_by_its_constant_alone() -> None:
    rng = np.random.default_rng(0)
    mu, v, k = rng.standard_normal(6), rng.uniform(0.2, 1, 6), 1
    ratio = gradient.d_deviation_constant_printed(mu, v, k) / gradient.d_deviation(mu, v, k)
    np.testing.assert_allclose(np.delete(ratio, k), 7.0710678118654755, rtol=1e-12)
    assert np.isnan(ratio[k])


def test_difference_form_of_disjoint_inputs_is_the_independent_one() -> None:
    mu, v, k = np.array([0.3, -0.2, 0.4]), np.array([0.5, 0.2, 0.7]), 0
    dmu, _, dv = gradient.d_difference(mu, np.eye(3), v, k)
    np.testing.assert_allclose(dmu, gradient.d_mean(mu, v, k), rtol=1e-13)
    np.testing.assert_allclose(dv, gradient.d_variance(mu, v, k), rtol=1e-13)
