"""How large A2SNN's feature noise is and how it lies to the weights: Eq. 2 and 4, and what extension E4 makes of them.

W: (C, D) weights of the last layer, row w_i for class i. L: (D, D) lower triangular, Sigma = L Lᵀ the covariance of the
noise. Derivatives by L are those by its lower triangle, with zeros above.
"""

from collections.abc import Iterator
from itertools import combinations
from math import e, log, pi, sqrt

import numpy as np

from .plain import Floats


def covariance(L: Floats) -> Floats:
    """Sigma = L Lᵀ (A2SNN Sec. 3.3, audit A20)."""
    return L @ L.T


def variance_along(w: Floats, L: Floats) -> float:
    """wᵀ Sigma w = Σ_j (Σ_i w_i L_ij)²: the variance of wᵀz, z = L eps; L may be any root of Sigma (audit A16, A17)."""
    return sum(float(w @ L[:, j]) ** 2 for j in range(L.shape[1]))


def max_entropy(L: Floats) -> float:
    """½ ln det(2πe L Lᵀ) = D/2 ln(2πe) + Σ_i ln|L_ii| (A2SNN Eq. 2, audit A5)."""
    return len(L) / 2 * log(2 * pi * e) + sum(log(abs(float(L[i, i]))) for i in range(len(L)))


def max_entropy_printed(sigma: Floats) -> float:
    """½ ln det(2πe Sigma), as A2SNN prints Eq. 2 (audit A5)."""
    return log(float(np.linalg.det(2 * pi * e * sigma))) / 2


def max_entropy_by_factor(L: Floats) -> Floats:
    """The lower triangle of (L⁻¹)ᵀ, which is diag(1/L_ii): no other entry has a gradient (audit A5)."""
    return np.diag([1 / float(L[i, i]) for i in range(len(L))])


def weight_covariance_alignment(W: Floats, L: Floats) -> float:
    """Σ_i ln(w_iᵀ Sigma w_i) (A2SNN Eq. 4, audit A17)."""
    return sum(log(variance_along(w, L)) for w in W)


def alignment_by_weights(W: Floats, L: Floats) -> Floats:
    """Row i: 2 Sigma w_i / (w_iᵀ Sigma w_i) (audit A17)."""
    return np.array([2 * (covariance(L) @ w) / variance_along(w, L) for w in W])


def alignment_by_factor(W: Floats, L: Floats) -> Floats:
    """tril(Σ_i 2 w_i w_iᵀ L / (w_iᵀ Sigma w_i)) (audit A17)."""
    return np.tril(sum((2 * np.outer(w, w) @ L / variance_along(w, L) for w in W), np.zeros_like(L)))


def _pairs(W: Floats) -> Iterator[tuple[int, int, Floats]]:
    """i, j and w_i - w_j of each pair i < j."""
    for i, j in combinations(range(len(W)), 2):
        yield i, j, W[i] - W[j]


def pairwise_alignment(W: Floats, L: Floats) -> float:
    """Σ_{i<j} ln((w_i - w_j)ᵀ Sigma (w_i - w_j)), the multi-class form of Eq. 4 (extension E4, audit A17)."""
    return sum(log(variance_along(d, L)) for _, _, d in _pairs(W))


def pairwise_by_weights(W: Floats, L: Floats) -> Floats:
    """Each pair adds 2 Sigma d / (dᵀ Sigma d), d = w_i - w_j, to row i and takes it from row j (extension E4)."""
    g = np.zeros_like(W)
    for i, j, d in _pairs(W):
        pull = 2 * (covariance(L) @ d) / variance_along(d, L)
        g[i] += pull
        g[j] -= pull
    return g


def pairwise_by_factor(W: Floats, L: Floats) -> Floats:
    """tril(Σ_{i<j} 2 d dᵀ L / (dᵀ Sigma d)), d = w_i - w_j (extension E4)."""
    return np.tril(sum((2 * np.outer(d, d) @ L / variance_along(d, L) for _, _, d in _pairs(W)), np.zeros_like(L)))


def max_entropy_slopes(L: Floats) -> tuple[float, Floats]:
    """Eq. 2 and its gradient by L."""
    return max_entropy(L), max_entropy_by_factor(L)


def alignment_slopes(W: Floats, L: Floats) -> tuple[float, Floats, Floats]:
    """Eq. 4 and its gradients by W and L."""
    return weight_covariance_alignment(W, L), alignment_by_weights(W, L), alignment_by_factor(W, L)


def pairwise_slopes(W: Floats, L: Floats) -> tuple[float, Floats, Floats]:
    """The pairwise form of Eq. 4 and its gradients by W and L."""
    return pairwise_alignment(W, L), pairwise_by_weights(W, L), pairwise_by_factor(W, L)


def unit_norm(W: Floats) -> Floats:
    """w_i = w'_i / ‖w'_i‖ (A2SNN Sec. 3.2, audit A19)."""
    return np.array([w / sqrt(float(w @ w)) for w in W])


def common_variance(S: Floats) -> float:
    """1ᵀS1/C: the variance of the logits' common mode, which moves no prediction (audit A4, A17)."""
    return float(S.sum()) / len(S)


def difference_variance(S: Floats) -> float:
    """tr(P S P)/(C - 1), P = I - 11ᵀ/C: the logits' variance per direction that does move predictions (audit A4)."""
    C = len(S)
    P = np.eye(C) - np.ones((C, C)) / C
    return float(np.trace(P @ S @ P)) / (C - 1)
