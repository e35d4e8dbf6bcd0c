"""Bounds of a probability from votes: SciPy's, and the part of the cases in which they are wrong."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest

from npsnn.certify import chance, lower_bound

Bound = Callable[[np.ndarray, int, float], np.ndarray]


@pytest.mark.parametrize("alpha", [1e-6, 0.001, 0.05, 0.4])
@pytest.mark.parametrize("draws", [1, 2, 50, 10_000])
def test_the_bound_is_that_of_scipy(draws: int, alpha: float) -> None:
    for count in sorted({0, 1, draws // 3, draws - 1, draws}):
        exact = binomtest(count, draws, alternative="greater").proportion_ci(1 - alpha, "exact").low
        found = float(lower_bound(count, draws, alpha))
        assert found == pytest.approx(exact, rel=1e-9)
        assert found == pytest.approx(beta.ppf(alpha, count, draws - count + 1) if count else 0, rel=1e-10)


def test_all_votes_of_all_draws_have_the_bound_that_a_hand_computes() -> None:
    assert float(lower_bound(10_000, 10_000, 0.001)) == pytest.approx(0.001**1e-4, rel=1e-11)
    assert float(lower_bound(0, 10_000, 0.001)) == 0


def wrong(bound: Bound, draws: int, alpha: float, p: float) -> float:
    """The probability that the bound is above p, exactly: a sum over all counts."""
    counts = np.arange(draws + 1)
    return float(binom.pmf(counts, draws, p)[bound(counts, draws, alpha) > p].sum())


def wald(count: np.ndarray, draws: int, alpha: float) -> np.ndarray:
    """The bound of a normal approximation, which is wrong too often where p is near 1."""
    p = count / draws
    return p - 3.09 * np.sqrt(p * (1 - p) / draws)


def test_the_bound_is_wrong_as_rarely_as_it_says_and_an_approximation_is_not() -> None:
    grid = [0.5, 0.6, 0.9, 0.97, 0.99, 0.999]
    for alpha in (0.001, 0.05):
        assert max(wrong(lower_bound, 200, alpha, p) for p in grid) <= alpha
        assert max(wrong(lower_bound, 200, alpha, p) for p in grid) > alpha / 4  # a bound of 0 would be right as well
    assert max(wrong(wald, 200, 0.001, p) for p in grid) > 0.01


def test_coverage_by_simulation() -> None:
    rng, alpha, times = np.random.default_rng(0), 0.02, 20_000
    for p in (0.55, 0.9, 0.995):
        counts = rng.binomial(1_000, p, times)
        missed = float((lower_bound(counts, 1_000, alpha) > p).mean())
        assert missed <= alpha + 5 * np.sqrt(alpha / times)


def test_the_chance_of_uneven_votes_is_that_of_scipy() -> None:
    for first, second in ((0, 0), (1, 0), (5, 5), (6, 5), (60, 40), (990, 10), (10_000, 0)):
        expected = binomtest(first, first + second).pvalue if first else 1.0
        assert float(chance(first, second)) == pytest.approx(expected, rel=1e-9)
