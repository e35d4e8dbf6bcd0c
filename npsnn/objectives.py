"""What is minimised in training and ascended in an attack: the moments of the logits in, a value for each example out.

An objective takes `Moments` of the logits, (classes, N), and labels (N,), and returns the values (N,) and their
cotangent, again `Moments`.
"""

from collections.abc import Callable
from functools import cache
from math import sqrt
from typing import TypeAlias

import numpy as np
from scipy.special import ndtri

from npsnn.backend import Array, namespace
from npsnn.layers.moments import Moments
from npsnn.ops import loss

Objective: TypeAlias = Callable[[Moments, Array], tuple[Array, Moments]]


def noise_aware(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """Squared error minus the probability of the label winning: Σ(y_i - mean_i)²/n - Σ_{i≠k} P(Y_k > Y_i)/(n-1).

    With the covariance of the logits the pairs are compared exactly; with variances alone, as independent.
    Source: noise paper Sec. 2.2 (audit N18), with the derived sign (N20) and the difference form (N21); its gradient,
    Sec. 2.3 and 4, is the derived one (N23, N24, N34-N37).
    """
    error, dmean = loss.squared_error(m.mean, labels)
    won, dwon_mean, dwon_var = loss.win_probability(m.mean, m.var, labels)
    return error - won, Moments(dmean - dwon_mean, None if dwon_var is None else -dwon_var)


def mse(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """Squared error of the mean against one-hot targets (noise paper Sec. 2.2); the variance does not enter."""
    value, dmean = loss.squared_error(m.mean, labels)
    return value, Moments(dmean)


def cross_entropy(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-ln softmax(mean)_k; the variance does not enter."""
    value, dmean = loss.cross_entropy(m.mean, labels)
    return value, Moments(dmean)


def win_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-Σ_{i≠k} ln P(Y_k > Y_i): no less than -ln P(the label wins) if no two comparisons correlate negatively.

    Source: extension E3 (Slepian's inequality). Raises ValueError for logits without variance: it says nothing of them.
    """
    if m.var is None:
        raise ValueError("the win-probability objective needs noise: sigma must be > 0 and propagated in closed form")
    value, dmean, dvar = loss.log_win_probability(m.mean, m.var, labels)
    return -value, Moments(-dmean, None if dvar is None else -dvar)


@cache
def sobol_normal(classes: int, points: int = 64) -> np.ndarray:
    """Standard normal quantiles of the first Sobol points, half a step inside the cube: (points, classes), float64."""
    # scipy.stats takes most of a second to import, and few commands need it
    from scipy.stats import qmc

    cube = qmc.Sobol(classes, scramble=False).random(points) + 1 / (2 * points)
    return np.asarray(ndtri(cube))


def expected_cross_entropy(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """E[-ln softmax(h)_k] over the noisy logits h ~ N(mean, covariance), by 64 Sobol points and no draw.

    Source: extension E3. Raises ValueError for logits without their covariance: only a joint last layer has it.
    """
    if m.var is None:
        return cross_entropy(m, labels)
    if m.var.ndim != 3:
        raise ValueError("the expected-cross-entropy objective needs the covariance of the logits: a joint last layer")
    points = namespace(m.mean).asarray(sobol_normal(len(m.mean)), m.mean.dtype)
    value, dmean, dvar = loss.expected_cross_entropy(m.mean, m.var, labels, points)
    return value, Moments(dmean, dvar)


OBJECTIVES: dict[str, Objective] = {
    "noise-aware": noise_aware,
    "mse": mse,
    "cross-entropy": cross_entropy,
    "expected-cross-entropy": expected_cross_entropy,
    "win-probability": win_probability,
}


def sigma_reward(sigma: float, alpha: float) -> tuple[float, float]:
    """-alpha sigma², and its derivative: the reward for noise of the noise paper's "Bimodel" (Sec. 7).

    The loss with it is unbounded below as sigma grows (audit N29), so sigma must be capped.
    """
    return -alpha * sigma**2, -2 * alpha * sigma


def largest_stationary_sigma(alpha: float) -> float:
    """√(max r φ(r) / (2 alpha)): above it the rewarded loss falls for every margin, under the Laplace rule (N30)."""
    return sqrt(0.24197072451914337 / (2 * alpha))
