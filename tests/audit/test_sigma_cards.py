"""The cards of the noise as a parameter notice what breaks them."""

from typing import Any

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn.reference import differences, sigma


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *args: tuple(z * factor if i == part else z for i, z in enumerate(f(*args)))


MUTANTS: list[Mutant] = [
    # the reward turned into a penalty, without its square, without alpha
    ("N29", "npsnn.reference.sigma.bimodel", lambda f: lambda mu, v, k, s, a: f(mu, v, k, s, -a)),
    ("N29", "npsnn.reference.sigma.bimodel", lambda f: lambda mu, v, k, s, a: f(mu, v, k, s**0.5, a)),
    ("N29", "npsnn.objectives.sigma_reward", lambda f: lambda s, a: f(s, -a)),
    ("N29", "npsnn.objectives.sigma_reward", lambda f: lambda s, a: (-a * s, f(s, a)[1])),
    ("N29", "npsnn.objectives.sigma_reward", scaled(1, 0.5)),
    # the sign of either term, a lost factor, a bound that does not hold
    ("N30", "npsnn.reference.sigma.slope", lambda f: lambda m, s, a=0.0: f(m, s, -a)),
    ("N30", "npsnn.reference.sigma.slope", lambda f: lambda m, s, a=0.0: f(-m, s, a)),
    ("N30", "npsnn.reference.sigma.slope", lambda f: lambda m, s, a=0.0: f(m, s, a / 2)),
    ("N30", "npsnn.reference.sigma.largest_stationary", lambda f: lambda a: f(a / 2)),
    ("N30", "npsnn.reference.sigma.largest_minimum", lambda f: sigma.largest_stationary),
    ("N30", "npsnn.reference.sigma.slope_by_variances", lambda f: lambda *args: f(*args) / 2),
    ("N30", "npsnn.objectives.largest_stationary_sigma", lambda f: lambda a: f(2 * a)),
    ("N30", "npsnn.objectives.sigma_reward", scaled(1, -1)),
    ("N30", "npsnn.ops.loss.win_probability", scaled(2, 2)),
    # the printed sign descended, a slope that does not die, the engine's slope with the wrong sign
    ("N31", "npsnn.reference.sigma.flow", lambda f: lambda m, n, sign=1.0: f(m, n, sign=-sign)),
    ("N31", "npsnn.reference.sigma.flow", lambda f: lambda m, n, sign=1.0: f(m, n, step=0.02, sign=sign)),
    ("N31", "npsnn.reference.sigma.flow_time", lambda f: lambda m, s, e: np.log(s / e)),
    ("N31", "npsnn.reference.sigma.slope", lambda f: lambda m, s, a=0.0: f(-m, s, a)),
    ("N31", "npsnn.ops.loss.win_probability", scaled(2, -1)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_the_slope_is_that_of_the_loss(alpha: float) -> None:
    margins = np.array([0.4, -0.2, 1.3])
    for s in (0.2, 0.7, 1.9):
        wanted = differences.slope(lambda at: sigma.noise_part(margins, at, alpha), s)
        assert sigma.slope(margins, s, alpha) == pytest.approx(wanted, abs=1e-9)


def test_a_descent_starts_where_it_is_told_and_falls() -> None:
    path = sigma.flow(1.0, 50, start=1.2)
    assert path.shape == (51,) and path[0] == 1.2 and (np.diff(path) < 0).all()
    assert path[1] == 1.2 - 0.01 * sigma.slope(np.array([1.0]), 1.2)
    assert (np.diff(sigma.flow(1.0, 50, sign=-1)) > 0).all()


def test_a_rewarded_descent_leaves_for_infinity_above_the_bound() -> None:
    bound = sigma.largest_stationary(0.25)
    assert (np.diff(sigma.flow(1.0, 200, start=1.01 * bound, alpha=0.25)) > 0).all()
