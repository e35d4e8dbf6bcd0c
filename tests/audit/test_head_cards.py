"""The card of the closed forms of A2SNN's classifier notices what breaks them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.reference import a2snn, gaussian_head

HEAD = "npsnn.reference.gaussian_head"


def part(name: str, factor: float) -> Callable[[Any], Any]:
    """Multiplies one of the gradients that a function returns."""

    def mutate(f: Callable[..., a2snn.Slopes]) -> Callable[..., a2snn.Slopes]:
        def broken(*args: Any) -> a2snn.Slopes:
            parts = vars(f(*args))
            return a2snn.Slopes(**(parts | {name: factor * parts[name]}))

        return broken

    return mutate


def negated(at: int) -> Callable[[Any], Any]:
    """Changes the sign of one part of a tuple."""
    return lambda f: lambda *args: tuple(-z if i == at else z for i, z in enumerate(f(*args)))


MUTANTS: list[Mutant] = [
    # the wrong class is rewarded, and gradients of the wrong sign, in the engine
    ("E3", "npsnn.ops.loss.win_probability", lambda f: lambda mean, var, k: f(-mean, var, k)),
    ("E3", "npsnn.ops.loss.log_win_probability", lambda f: lambda mean, var, k: f(-mean, var, k)),
    ("E3", "npsnn.ops.loss.log_win_probability", negated(1)),
    ("E3", "npsnn.ops.loss.log_win_probability", negated(2)),
    # logits taken for independent in the engine
    (
        "E3",
        "npsnn.ops.loss.log_win_probability",
        lambda f: lambda mean, var, k: f(mean, var * np.eye(len(mean))[..., None], k),
    ),
    ("E3", f"{HEAD}.margin", lambda f: lambda i, k, *rest: -f(i, k, *rest)),
    *[("E3", f"{HEAD}.margin_slopes", part(name, -1)) for name in ("f", "W", "b", "L")],
    ("E3", f"{HEAD}.margin_slopes", part("L", 2)),
    ("E3", f"{HEAD}.mills", lambda f: lambda u: 1 / f(u)),
    # the chain without its second half
    ("E3", f"{HEAD}.chain", lambda f: lambda dm, dS, *rest: f(dm, dS / 2, *rest)),
    # a bound that is none, a density without its conditional part
    ("E3", f"{HEAD}.correct_bounds", lambda f: lambda wins: (f(wins)[0], f(wins)[2], f(wins)[1])),
    ("E3", f"{HEAD}.correct_bounds", lambda f: lambda wins: tuple(f(wins) + np.array([-0.1, 0, 0.1]))),
    ("E3", f"{HEAD}.correct_probability_slope", lambda f: lambda *args: -f(*args)),
    ("E3", f"{HEAD}.correct_probability", lambda f: lambda m, S, k: f(m, np.diag(np.diag(S)), k)),
    # the second order twice, and its gradient that of no noise
    (
        "E3",
        f"{HEAD}.cross_entropy_second_order",
        lambda f: lambda m, S, k: 2 * f(m, S, k) - f(m, 0 * S, k),
    ),
    ("E3", f"{HEAD}.cross_entropy_second_order_slope", lambda f: lambda m, S, k: f(m, 0 * S, k)),
    # the gradient by S without its half, or without p pᵀ; the factor of the covariance without W
    ("E3", f"{HEAD}.expected_curvature", lambda f: lambda *args: 2 * f(*args)),
    ("E3", f"{HEAD}.expected_curvature", lambda f: lambda *args: np.diag(np.diag(f(*args)))),
    ("E3", f"{HEAD}.expected_cross_entropy_by_factor", lambda f: lambda W, L, H: f(W, L @ L, H)),
    ("E3", f"{HEAD}.expected_probabilities", lambda f: lambda m, S, x: f(m, 0 * S, x)),
    # points of half the spread
    ("E3", f"{HEAD}.sobol", lambda f: lambda count, C: f(count, C) / 2),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


def test_points_are_the_same_each_time() -> None:
    np.testing.assert_array_equal(gaussian_head.sobol(64, 3), gaussian_head.sobol(64, 3))
