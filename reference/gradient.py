"""Gradients of the noise-aware loss in the noise paper's notation, as printed (Sec. 2.3 and 4) and as derived.

mu: (n,) means of the outputs, v: (n,) their variances, sigma_i = √v_i, k: the true class, y = e_k. For i ≠ k,
S_i = v_i + v_k and E_i = exp(-(mu_k - mu_i)²/(2 S_i)). The loss is `loss.noise_aware`.
"""

from math import erf, exp, nan, pi, sqrt

import numpy as np

from .loss import difference_variance
from .plain import Floats


def c(n: int) -> float:
    """(n - 1) √(2π) (noise paper Sec. 4, audit N37)."""
    return (n - 1) * sqrt(2 * pi)


def alpha(mu: Floats, k: int) -> Floats:
    """∂MSE/∂mu_i = (2/n) (mu_i - y_i) (noise paper Sec. 4, audit N37)."""
    return np.array([2 / len(mu) * (float(mu[i]) - float(i == k)) for i in range(len(mu))])


def bell(d: float, s: float) -> float:
    """E = exp(-d²/(2S)): d = mu_k - mu_i, S = Var(Y_k - Y_i)."""
    return exp(-d * d / (2 * s))


def d_mean(mu: Floats, v: Floats, k: int) -> Floats:
    """∂Loss/∂mu_i = alpha_i + E_i/(c √S_i), and ∂Loss/∂mu_k = alpha_k - Σ_{i≠k} E_i/(c √S_i) (audit N35, N36)."""
    g, n = alpha(mu, k), len(mu)
    for i in range(n):
        if i != k:
            s = v[i] + v[k]
            pull = bell(mu[k] - mu[i], s) / (c(n) * sqrt(s))
            g[i] += pull
            g[k] -= pull
    return g


def d_mean_printed(mu: Floats, v: Floats, k: int) -> Floats:
    """alpha_i - E_i/(c S_i) for i ≠ k, and alpha_k: noise paper Sec. 4 as printed (sign error N35, missing sum N36)."""
    g, n = alpha(mu, k), len(mu)
    for i in range(n):
        if i != k:
            s = v[i] + v[k]
            g[i] -= bell(mu[k] - mu[i], s) / (c(n) * s)
    return g


def d_variance(mu: Floats, v: Floats, k: int) -> Floats:
    """∂Loss/∂v_i = (mu_k - mu_i) E_i/(2 c S_i^{3/2}) for i ≠ k, and ∂Loss/∂v_k = Σ_{i≠k} ∂Loss/∂v_i (audit N24)."""
    g, n = np.zeros(len(mu)), len(mu)
    for i in range(n):
        if i != k:
            s, d = v[i] + v[k], mu[k] - mu[i]
            g[i] = d * bell(d, s) / (2 * c(n) * s**1.5)
            g[k] += g[i]
    return g


def d_deviation(mu: Floats, v: Floats, k: int) -> Floats:
    """∂Loss/∂sigma_i = 2 sigma_i ∂Loss/∂v_i, = (mu_k - mu_i) sigma_i E_i/(c S_i^{3/2}) for i ≠ k (audit N23, N24)."""
    return 2 * np.sqrt(v) * d_variance(mu, v, k)


def second_line(mu: Floats, sigma: Floats, k: int) -> float:
    """Σ_{i≠k} 1/(2n-2) [1 + erf((mu_i - mu_k)/√(2 S_i))]: what Sec. 2.3 differentiates in its second line (N23)."""
    total = 0.0
    for i in range(len(mu)):
        if i != k:
            s = sigma[i] ** 2 + sigma[k] ** 2
            total += (1 + erf((mu[i] - mu[k]) / sqrt(2 * s))) / (2 * len(mu) - 2)
    return total


def d_deviation_constant_printed(mu: Floats, v: Floats, k: int) -> Floats:
    """(mu_k - mu_i) sigma_i E_i/(√π S_i^{3/2}): Sec. 2.3's last line, exponent repaired, constant as printed (N24)."""
    g = np.full(len(mu), nan)
    for i in range(len(mu)):
        if i != k:
            s, d = v[i] + v[k], mu[k] - mu[i]
            g[i] = d * sqrt(v[i]) * bell(d, s) / (sqrt(pi) * s**1.5)
    return g


def d_deviation_printed(mu: Floats, v: Floats, k: int) -> Floats:
    """(mu_k - mu_i) sigma_i/(√π S_i^{3/2}) exp(-(mu_i - mu_k)/(2(v_i - v_k))): Sec. 2.3's last line (wrong, N24).

    Without its factor sigma_(out-1)_j, that is ∂sigma_out/∂W_ij. The row i = k is 0/0 and stays empty.
    """
    g = np.full(len(mu), nan)
    for i in range(len(mu)):
        if i != k:
            s, d = v[i] + v[k], mu[k] - mu[i]
            g[i] = d * sqrt(v[i]) / (sqrt(pi) * s**1.5) * exp(d / (2 * (v[i] - v[k])))
    return g


def d_weight(dsigma: Floats, W: Floats, v_below: Floats) -> Floats:
    """∂Loss/∂sigma_i ∂sigma_i/∂W_ij with sigma_i² = Σ_j W_ij² v_j, hence ∂sigma_i/∂W_ij = W_ij v_j/sigma_i (N24, N25).

    The path through the deviations alone; dsigma: (n,) by the deviations of the outputs, W: (n, inputs).
    """
    g = np.zeros(W.shape)
    for i, j in np.ndindex(*W.shape):
        sigma_i = sqrt(sum(W[i, m] ** 2 * v_below[m] for m in range(len(v_below))))
        g[i, j] = dsigma[i] * W[i, j] * v_below[j] / sigma_i
    return g


def d_weight_printed(dsigma: Floats, W: Floats, v_below: Floats) -> Floats:
    """∂Loss/∂sigma_i sigma_(out-1)_j, as if sigma_out were W sigma_(out-1): Sec. 2.3's factor (wrong, N24, N25)."""
    g = np.zeros(W.shape)
    for i, j in np.ndindex(*W.shape):
        g[i, j] = dsigma[i] * sqrt(v_below[j])
    return g


def d_difference(mu: Floats, W: Floats, v_below: Floats, k: int) -> tuple[Floats, Floats, Floats]:
    """Of `loss.noise_aware_difference` by mu, W (mu held) and v_below (audit N21).

    With q_i = Σ_j (W_kj - W_ij)² v_j and r_i = (mu_k - mu_i) E_i/(2 c q_i^{3/2}): by mu as in `d_mean`, q_i for S_i;
    ±2 r_i (W_k - W_i)∘v, added to row k and taken from row i; Σ_i r_i (W_k - W_i)².
    """
    n = len(mu)
    dmu, dW, dv = alpha(mu, k), np.zeros(W.shape), np.zeros(len(v_below))
    for i in range(n):
        if i != k:
            q, d = difference_variance(W, v_below, i, k), mu[k] - mu[i]
            pull, r = bell(d, q) / (c(n) * sqrt(q)), d * bell(d, q) / (2 * c(n) * q**1.5)
            dmu[i] += pull
            dmu[k] -= pull
            for j in range(len(v_below)):
                apart = W[k, j] - W[i, j]
                dW[k, j] += 2 * r * apart * v_below[j]
                dW[i, j] -= 2 * r * apart * v_below[j]
                dv[j] += r * apart**2
    return dmu, dW, dv


def d_input(dmu: Floats, jacobian: Floats) -> Floats:
    """Σ_i ∂Loss/∂mu_i ∂mu_i/∂x: noise paper Sec. 4 (audit N34); dmu: (n,), jacobian: (n, pixels)."""
    g = np.zeros(jacobian.shape[1])
    for i in range(len(dmu)):
        g += dmu[i] * jacobian[i]
    return g


def fgsm(x: Floats, g: Floats, eps: float) -> Floats:
    """x + eps sign(∇_x Loss), noise paper Eq. 10, cut to the pixels' [0, 1] (audit N33)."""
    return np.clip(fgsm_printed(x, g, eps), 0, 1)


def fgsm_printed(x: Floats, g: Floats, eps: float) -> Floats:
    """x + eps sign(∇_x Loss) as noise paper Eq. 10 prints it, which leaves the box (audit N33)."""
    return x + eps * np.sign(g)


def project(x_adv: Floats, x: Floats, eps: float) -> Floats:
    """The nearest point to x_adv with max |x_adv - x| ≤ eps and pixels in [0, 1]: noise paper Eq. 9 (audit N32)."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        y[place] = min(max(float(x_adv[place]), float(x[place]) - eps, 0.0), float(x[place]) + eps, 1.0)
    return y
