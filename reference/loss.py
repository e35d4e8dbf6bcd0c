"""The losses of one example, by loops over the classes, in the noise paper's notation; printed and derived.

mu: (n,) means of the outputs, v: (n,) their variances, k: the true class, y = e_k its one-hot target. Sums over
i ≠ k have n - 1 terms.
"""

from collections.abc import Callable
from math import erf, erfc, exp, inf, log, sqrt

import numpy as np
from scipy.integrate import quad

from .plain import Floats, Phi, phi


def win_probability(d: float, s: float) -> float:
    """P(Y_k > Y_i) = Φ(d / √s), d = mu_k - mu_i, s = Var(Y_k - Y_i); 1, ½ or 0 where s = 0 (audit N19)."""
    if s == 0:
        return (float(np.sign(d)) + 1) / 2
    return (1 + erf(d / sqrt(2 * s))) / 2


def pair_probability(mu: Floats, S: Floats) -> float:
    """P(X_1 > X_2) = ½[1 + erf((mu_1 - mu_2)/√(2(S_11 + S_22 - 2 S_12)))], S the covariance matrix (audit N19)."""
    return win_probability(mu[0] - mu[1], S[0, 0] + S[1, 1] - 2 * S[0, 1])


def pair_probability_printed(mu: Floats, S: Floats) -> float:
    """The same with sigma_{1,2} read to the letter, the root of the entry sigma²_{1,2} of S (typo N19); S_12 > 0."""
    return win_probability(mu[0] - mu[1], S[0, 0] + S[1, 1] - 2 * sqrt(S[0, 1]))


def pair_probability_by_integration(mu: Floats, S: Floats) -> float:
    """P(X_1 > X_2) = ∫ f(x) P(X_2 < x | X_1 = x) dx over the density f of X_1: assumes no law of the difference."""
    s1 = sqrt(S[0, 0])
    regression = S[0, 1] / S[0, 0]
    rest = sqrt(S[1, 1] - regression * S[0, 1])

    def integrand(t: float) -> float:
        return phi(t) * Phi((mu[0] + s1 * t - mu[1] - regression * s1 * t) / rest)

    return float(quad(integrand, -inf, inf, epsabs=1e-12)[0])


def mse(mu: Floats, k: int) -> float:
    """(1/n) Σ_i (y_i - mu_i)² (noise paper Sec. 2.2, audit N18)."""
    return sum((float(i == k) - float(mu[i])) ** 2 for i in range(len(mu))) / len(mu)


def _mean_over_others(n: int, k: int, win: Callable[[int], float]) -> float:
    return sum(win(i) for i in range(n) if i != k) / (n - 1)


def mean_win(mu: Floats, v: Floats, k: int) -> float:
    """1/(n-1) Σ_{i≠k} P(Y_k > Y_i) of independent outputs: what the loss rewards (N18 with N19)."""
    return _mean_over_others(len(mu), k, lambda i: win_probability(mu[k] - mu[i], v[i] + v[k]))


def mean_win_printed(mu: Floats, v: Floats, k: int) -> float:
    """1/(n-1) Σ_{i≠k} P(Y_i > Y_k): what the printed closed form rewards instead (sign error N20)."""
    return _mean_over_others(len(mu), k, lambda i: win_probability(mu[i] - mu[k], v[i] + v[k]))


def noise_aware(mu: Floats, v: Floats, k: int) -> float:
    """MSE - 1/(n-1) Σ_{i≠k} ½[1 + erf((mu_k - mu_i)/√(2(v_i + v_k)))]: N18 with N19, the sign as derived (N20)."""
    return mse(mu, k) - mean_win(mu, v, k)


def noise_aware_printed(mu: Floats, v: Floats, k: int) -> float:
    """The same with erf((mu_i - mu_k)/√(2(v_i + v_k))), as the noise paper prints it: P(Y_i > Y_k) (sign error N20)."""
    return mse(mu, k) - mean_win_printed(mu, v, k)


def difference_variance(W: Floats, v_below: Floats, i: int, k: int) -> float:
    """Var(Y_k - Y_i) = Σ_j (W_kj - W_ij)² v_j for Y = W X + b with independent inputs of variance v (audit N21)."""
    return sum(float(W[k, j] - W[i, j]) ** 2 * float(v_below[j]) for j in range(len(v_below)))


def noise_aware_difference(mu: Floats, W: Floats, v_below: Floats, k: int) -> float:
    """N18 with Var(Y_k - Y_i) = Σ_j (W_kj - W_ij)² v_j of the layer below, instead of independent outputs (N21).

    W: (n, inputs), v_below: (inputs,).
    """

    def win(i: int) -> float:
        return win_probability(mu[k] - mu[i], difference_variance(W, v_below, i, k))

    return mse(mu, k) - _mean_over_others(len(mu), k, win)


def noise_aware_covariance(mu: Floats, S: Floats, k: int) -> float:
    """N18 with Var(Y_k - Y_i) = S_ii + S_kk - 2 S_ik, S the outputs' covariance (audit N19)."""

    def win(i: int) -> float:
        return win_probability(mu[k] - mu[i], S[i, i] + S[k, k] - 2 * S[i, k])

    return mse(mu, k) - _mean_over_others(len(mu), k, win)


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
