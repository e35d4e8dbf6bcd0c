"""A2SNN's Theorem 1 step by step (Sec. 3.2, App. A), its tight form, and bounds for many classes (extension E4).

In the paper's notation: m the margin of the noise-free score, positive where it is right; s = √(wᵀΣw) > 0 the standard
deviation of the noisy score; delta = Δ, by how much an attack can change the noise-free score at most; G the rise of
the probability of an error. For many classes, arrays over the classes i ≠ k: mu_i = h̃_k - h̃_i and s_i = √(d_iᵀΣd_i),
d_i = w_k - w_i, of the differences of logits, and delta_i, by how much an attack can change each.
"""

from math import log, pi, sqrt

import numpy as np
from scipy.special import ndtri

from .alignment import variance_along
from .plain import Floats, Phi


def margin(y: int, h: float) -> float:
    """m_h(x, y) = y h(x), y ∈ {-1, 1} (A2SNN Sec. 3.2, audit A8)."""
    return y * h


def spread(w: Floats, L: Floats) -> float:
    """√(wᵀΣw), Σ = LLᵀ: the standard deviation of wᵀz for z ~ N(0, Σ) (A2SNN App. A, audit A12)."""
    return sqrt(variance_along(w, L))


def error_probability(m: float, s: float) -> float:
    """P(m_h < 0) = Φ(-m/s) (A2SNN Eq. 5, audit A12)."""
    return Phi(-m / s)


def worst_error(m: Floats, s: float) -> float:
    """max over the attacks of P(m_h <= 0), the max moved inside: Φ(max -m/s), m: one margin an attack (audit A13)."""
    return Phi(max(-float(x) for x in m) / s)


def gap(m: float, m_attacked: Floats, s: float) -> float:
    """G = max_δ P(m_h(x + δ, y) <= 0) - P(m_h(x, y) <= 0), m_attacked: one margin an attack (A2SNN Eq. 3, audit A9)."""
    return max(error_probability(float(x), s) for x in m_attacked) - error_probability(m, s)


def error_bound(m: float, delta: float, s: float) -> float:
    """Φ((-m + Δ)/s) >= max_δ P(m_h(x + δ, y) <= 0) (A2SNN Eq. 6, audit A15)."""
    return Phi((-m + delta) / s)


def theorem1(delta: float, s: float) -> float:
    """G <= Δ/√(2π wᵀΣw) (A2SNN Theorem 1 and Eq. 7, audit A10)."""
    return delta / (s * sqrt(2 * pi))


def binary_tight(delta: float, s: float) -> float:
    """G <= 2Φ(Δ/2s) - 1, the largest rise of Φ over a length Δ/s; attained at the margin Δ/2 (audit A10)."""
    return 2 * Phi(delta / (2 * s)) - 1


def binary_with_margin(delta: float, s: float, m: float) -> float:
    """G <= Φ((Δ - m)/s) - Φ(-m/s) for a known margin m: the line between A2SNN's Eq. 6 and 7 (audit A10, A15)."""
    return error_bound(m, delta, s) - error_probability(m, s)


def linear_reach(w: Floats, eps: float, p: float) -> float:
    """Δ of a linear score wᵀx: eps ‖w‖_q with 1/p + 1/q = 1, attained (audit A9, A10)."""
    q = 1.0 if p == np.inf else np.inf if p == 1 else p / (p - 1)
    return eps * float(np.linalg.norm(w, q))


def gap_linear(w: Floats, L: Floats, m: float, eps: float, p: float) -> float:
    """G of the score wᵀ(x + z) + b, exactly: the attack takes the whole Δ = eps ‖w‖_q from the margin (audit A10)."""
    return binary_with_margin(linear_reach(w, eps, p), spread(w, L), m)


def widest_gap_noise(m: float, delta: float) -> float:
    """The s at which Φ((Δ - m)/s) - Φ(-m/s), the gap of a margin m > Δ > 0, is largest: below it noise adds (A16)."""
    return sqrt(delta * (2 * m - delta) / (2 * log(m / (m - delta))))


def pair(W: Floats, b: Floats, L: Floats, f: Floats, k: int, i: int) -> tuple[float, float]:
    """mu_i = d_iᵀf + b_k - b_i and s_i = √(d_iᵀΣd_i), Σ = LLᵀ, of h_k - h_i, the logits being W(f + Lε) + b (E4)."""
    d = W[k] - W[i]
    return float(d @ f + b[k] - b[i]), spread(d, L)


def pairs(W: Floats, b: Floats, L: Floats, f: Floats, k: int) -> tuple[Floats, Floats]:
    """mu_i and s_i of each class i ≠ k (E4)."""
    mu, s = np.array([pair(W, b, L, f, k, i) for i in range(len(W)) if i != k]).T
    return mu, s


def pair_reach(W: Floats, shift: Floats, k: int) -> Floats:
    """delta_i = |d_iᵀδ_f|, by how much a shift δ_f of the features changes each difference of logits (E4)."""
    return np.array([abs(float((W[k] - W[i]) @ shift)) for i in range(len(W)) if i != k])


def pairs_with_margin(delta: Floats, mu: Floats, s: Floats) -> float:
    """G <= Σ_{i≠k} [Φ((Δ_i - mu_i)/s_i) - Φ(-mu_i/s_i)], clean and attacked input under the same draw of z (E4)."""
    return sum(binary_with_margin(float(d), float(r), float(m)) for d, m, r in zip(delta, mu, s, strict=True))


def pairs_tight(delta: Floats, s: Floats) -> float:
    """G <= Σ_{i≠k} (2Φ(Δ_i/2s_i) - 1) (E4)."""
    return sum(binary_tight(float(d), float(r)) for d, r in zip(delta, s, strict=True))


def pairs_lipschitz(delta: Floats, s: Floats) -> float:
    """G <= Σ_{i≠k} Δ_i/(s_i √(2π)), Theorem 1 of each pair (E4)."""
    return sum(theorem1(float(d), float(r)) for d, r in zip(delta, s, strict=True))


def feature_distance(L: Floats, shift: Floats) -> float:
    """‖L⁻¹δ_f‖, how far a shift of the features is in standard deviations of the noise (E4)."""
    return float(np.linalg.norm(np.linalg.solve(L, shift)))


def difference_distance(W: Floats, L: Floats, shift: Floats, k: int) -> float:
    """√(rᵀ(D Σ Dᵀ)⁻¹r), r = Dδ_f, rows of D = d_i: the same of the differences of logits; never larger (E4)."""
    D = np.array([W[k] - W[i] for i in range(len(W)) if i != k])
    r = D @ shift
    return float(np.sqrt(r @ np.linalg.solve(D @ L @ L.T @ D.T, r)))


def total_variation(distance: float) -> float:
    """G <= 2Φ(distance/2) - 1, the total variation of two Gaussians of one covariance this far apart (E4)."""
    return 2 * Phi(distance / 2) - 1


def neyman_pearson(p: float, distance: float) -> float:
    """G <= p - Φ(Φ⁻¹(p) - distance), p = P(correct) at the clean input: no event of probability p falls more (E4)."""
    return p - Phi(float(ndtri(p)) - distance)
