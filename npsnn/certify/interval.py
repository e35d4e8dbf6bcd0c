"""How sure counted votes are: the bounds and the test that certificates rest on, all exact for any number of draws."""

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv

ROUNDING = 1e-12
"""The part by which a bound is lowered, far above the rounding of SciPy's quantiles."""


def lower_bound(count: npt.ArrayLike, draws: int, alpha: float) -> npt.NDArray[np.float64]:
    """One-sided Clopper-Pearson bound: the probability is at least this much, except with a chance of alpha.

    p = Beta⁻¹(alpha; k, n - k + 1), the p at which k or more of n draws have the probability alpha; 0 for k = 0.

    count: k, the draws in which it happened; any shape, which the result has.
    draws: n, the number of draws, independent and not chosen by what they show.
    alpha: in (0, 1).
    Source: Clopper and Pearson 1934; Cohen et al. 2019 (arXiv 1902.02918), LowerConfBound.
    """
    k = np.asarray(count, np.float64)
    some = np.maximum(k, 1)
    bound = np.asarray(betaincinv(some, draws - some + 1, alpha), np.float64)
    return np.where(k > 0, bound * (1 - ROUNDING), 0.0)


def chance(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Two-sided binomial test: the chance of votes at least as uneven if both classes were as likely.

    min(1, 2 P(X >= a)) for X ~ Binomial(a + b, 1/2), a >= b.

    first: a, the votes for the most frequent class; any shape, which the result has.
    second: b, the votes for the second.
    Source: Cohen et al. 2019, BinomPValue; the test is Hung and Fithian's (2019).
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    # P(X >= a) = I_(1/2)(a, b + 1); without a vote nothing is known
    tail = np.where(a > 0, betainc(np.maximum(a, 1), b + 1, 0.5), 1.0)
    both: npt.NDArray[np.float64] = np.minimum(1.0, 2 * tail)
    return both
