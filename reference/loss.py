"""The losses of one example, by loops over the classes, in the noise paper's notation; printed and derived.

mu: (n,) means of the outputs, v: (n,) their variances, k: the true class, y = e_k its one-hot target. Sums over
i ≠ k have n - 1 terms.
"""

from collections.abc import Callable
from math import erf, erfc, exp, log, sqrt

import numpy as np

from .plain import Floats


def win_probability(d: float, s: float) -> float:
    """P(Y_k > Y_i) = Φ(d / √s), d = mu_k - mu_i, s = Var(Y_k - Y_i); 1, ½ or 0 where s = 0 (audit N19)."""
    if s == 0:
        return (float(np.sign(d)) + 1) / 2
    return (1 + erf(d / sqrt(2 * s))) / 2


def mse(mu: Floats, k: int) -> float:
    """(1/n) Σ_i (y_i - mu_i)² (noise paper Sec. 2.2, audit N18)."""
    return sum((float(i == k) - float(mu[i])) ** 2 for i in range(len(mu))) / len(mu)


def _minus_mean_win(mu: Floats, k: int, win: Callable[[int], float]) -> float:
    return mse(mu, k) - sum(win(i) for i in range(len(mu)) if i != k) / (len(mu) - 1)


def noise_aware(mu: Floats, v: Floats, k: int) -> float:
    """MSE - 1/(n-1) Σ_{i≠k} ½[1 + erf((mu_k - mu_i)/√(2(v_i + v_k)))]: N18 with N19, the sign as derived (N20)."""
    return _minus_mean_win(mu, k, lambda i: win_probability(mu[k] - mu[i], v[i] + v[k]))


def noise_aware_printed(mu: Floats, v: Floats, k: int) -> float:
    """The same with erf((mu_i - mu_k)/√(2(v_i + v_k))), as the noise paper prints it: P(Y_i > Y_k) (sign error N20)."""
    return _minus_mean_win(mu, k, lambda i: win_probability(mu[i] - mu[k], v[i] + v[k]))


def noise_aware_difference(mu: Floats, W: Floats, v_below: Floats, k: int) -> float:
    """N18 with Var(Y_k - Y_i) = Σ_j (W_kj - W_ij)² v_j of the layer below, instead of independent outputs (N21).

    W: (n, inputs), v_below: (inputs,).
    """

    def spread(i: int) -> float:
        return sum(float(W[k, j] - W[i, j]) ** 2 * float(v_below[j]) for j in range(len(v_below)))

    return _minus_mean_win(mu, k, lambda i: win_probability(mu[k] - mu[i], spread(i)))


def noise_aware_covariance(mu: Floats, S: Floats, k: int) -> float:
    """N18 with Var(Y_k - Y_i) = S_ii + S_kk - 2 S_ik, S the outputs' covariance (audit N19)."""
    return _minus_mean_win(mu, k, lambda i: win_probability(mu[k] - mu[i], S[i, i] + S[k, k] - 2 * S[i, k]))


def surprise(mu: Floats, S: Floats, k: int) -> float:
    """-Σ_{i≠k} ln P(Y_k > Y_i) (extension E3); S: (n,) variances or (n, n) covariance. Not for tails."""
    total = 0.0
    for i in range(len(mu)):
        if i != k:
            s = S[i] + S[k] if S.ndim == 1 else S[i, i] + S[k, k] - 2 * S[i, k]
            total -= log(erfc((mu[i] - mu[k]) / sqrt(2 * s)) / 2)
    return total


def cross_entropy(mu: Floats, k: int) -> float:
    """-ln(exp(mu_k) / Σ_i exp(mu_i))."""
    return log(sum(exp(float(mu[i]) - float(mu[k])) for i in range(len(mu))))
