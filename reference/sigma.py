"""The noise as a parameter (noise paper Sec. 7): the slope of the loss along sigma, where it can be 0, and its descent.

Under the paper's own rule the outputs' variances are v_i = sigma² c_i while no mask changes, so that every
r_i = (mu_k - mu_i)/√(v_i + v_k) is m_i/sigma with a fixed margin m_i, in units of the deviation at sigma = 1. The mean
of the outputs, and with it the MSE, does not depend on sigma.
"""

from math import sqrt

import numpy as np
from scipy.integrate import quad

from .gradient import d_variance
from .loss import noise_aware
from .plain import Floats, Phi, phi

TABLE_1_START, TABLE_1_MODEL, TABLE_1_BIMODEL = 1.9, 0.7, 0.79
"""sigma_0 and the two sigma* of the noise paper's Table 1."""
PRINTED_ALPHA = 0.25


def bimodel(mu: Floats, v: Floats, k: int, sigma: float, alpha: float) -> float:
    """MSE - Σ_{i≠k} P(Y_k > Y_i)/(n-1) - alpha sigma²: noise paper Sec. 7 (audit N29); v belongs to this sigma."""
    return noise_aware(mu, v, k) - alpha * sigma**2


def noise_part(margins: Floats, sigma: float, alpha: float = 0.0) -> float:
    """-mean Φ(m/sigma) - alpha sigma²: what of the loss depends on sigma (audit N30)."""
    return -sum(Phi(float(m) / sigma) for m in margins) / len(margins) - alpha * sigma**2


def slope(margins: Floats, sigma: float, alpha: float = 0.0) -> float:
    """∂Loss/∂sigma = (1/sigma) mean r φ(r) - 2 alpha sigma, r = m/sigma (audit N30)."""
    pull = sum(float(m) / sigma * phi(float(m) / sigma) for m in margins) / len(margins)
    return pull / sigma - 2 * alpha * sigma


def slope_by_variances(mu: Floats, v: Floats, k: int, sigma: float, alpha: float = 0.0) -> float:
    """∂Loss/∂sigma = (2/sigma) Σ_i v_i ∂Loss/∂v_i - 2 alpha sigma: the same by the chain rule of Sec. 7 (audit N30)."""
    d = d_variance(mu, v, k)
    return 2 / sigma * sum(float(v[i] * d[i]) for i in range(len(v))) - 2 * alpha * sigma


def largest_stationary(alpha: float) -> float:
    """√(φ(1)/(2 alpha)): the slope is negative above it for all margins, as r φ(r) ≤ φ(1) (audit N30)."""
    return sqrt(phi(1) / (2 * alpha))


def largest_minimum(alpha: float) -> float:
    """√(√3 φ(√3)/(2 alpha)): where a minimum along sigma can be at most, for all margins (audit N30).

    There mean r φ(r) = 2 alpha sigma² and, from the second derivative, mean (r² - 3) r φ(r) ≥ 0; hence
    2 alpha sigma² ≤ mean r³ φ(r)/3 ≤ √3 φ(√3).
    """
    return sqrt(sqrt(3) * phi(sqrt(3)) / (2 * alpha))


def flow(
    margin: float, steps: int, start: float = TABLE_1_START, step: float = 0.01, alpha: float = 0.0, sign: float = 1.0
) -> Floats:
    """sigma_0 ... sigma_steps of sigma ← sigma - step · ∂Loss/∂sigma for one margin: (steps + 1,) (audit N31).

    sign: -1 descends the printed closed form, whose win probability has its arguments exchanged (N20).
    """
    path = np.empty(steps + 1)
    path[0] = sigma = start
    for t in range(1, steps + 1):
        r = margin / sigma
        sigma -= step * (sign * r * phi(r) / sigma - 2 * alpha * sigma)
        path[t] = sigma
    return path


def flow_time(margin: float, start: float, end: float) -> float:
    """The time in which dsigma/dt = -r φ(r)/sigma takes sigma from `start` down to `end`, by integration (N31).

    With r = margin/sigma, dr/dt = r⁴ φ(r)/margin², so t = ∫ margin²/(r⁴ φ(r)) dr, of order exp(r²/2): after a time t
    sigma has come down to about margin/√(2 ln t) only.
    """
    return float(quad(lambda r: margin**2 / (r**4 * phi(r)), margin / start, margin / end, limit=200)[0])
