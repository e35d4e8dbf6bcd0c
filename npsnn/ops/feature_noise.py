"""Gaussian noise z = L eps on a vector of features, and the rewards for its size and its direction: A2SNN Sec. 3.

L: (D, D) lower triangular, Sigma = L Lᵀ the covariance. w: (C, D) weights of the last layer, one row a class.
Cotangents of L are those of its lower triangle, with zeros above.
"""

from itertools import combinations
from math import e, log, pi

from npsnn.backend import Array, namespace


def add_noise(f: Array, L: Array, eps: Array) -> Array:
    """f + L eps: (D, N), (D, D), standard normal (D, N) -> (D, N). Source: A2SNN Sec. 3.3 (audit A3, A20)."""
    return f + L @ eps


def add_noise_backward(dz: Array, L: Array, eps: Array) -> Array:
    """Cotangent of L from that of the noisy features: tril(Σ_n dz_n eps_nᵀ), reparameterised (audit A20)."""
    return namespace(dz, L, eps).tril(dz @ eps.T)


def max_entropy(L: Array) -> tuple[Array, Array]:
    """½ ln det(2πe L Lᵀ) = D/2 ln(2πe) + Σ_i ln|L_ii|, and its cotangent diag(1/L_ii).

    Source: A2SNN Eq. 2 (audit A5): the sum of logarithms, for a determinant of many dimensions leaves float32's range.
    """
    xp = namespace(L)
    diagonal = xp.diagonal(L)
    return len(L) / 2 * log(2 * pi * e) + xp.log(xp.abs(diagonal)).sum(), xp.diag(1 / diagonal)


def alignment(w: Array, L: Array) -> tuple[Array, Array, Array]:
    """Σ_i ln q_i, q_i = w_iᵀ Sigma w_i, and its cotangents of w and L: 2 Sigma w_i / q_i, tril(Σ_i 2 w_i w_iᵀ L / q_i).

    Source: A2SNN Eq. 4 (audit A17: noise that shifts all logits alike raises it, see `pairwise_alignment`).
    """
    xp = namespace(w, L)
    m = w @ L
    q = (m * m).sum(axis=1)
    scaled = m / q[:, None]
    return xp.log(q).sum(), 2 * (scaled @ L.T), xp.tril(2 * (w.T @ scaled))


def pairwise_alignment(w: Array, L: Array) -> tuple[Array, Array, Array]:
    """Σ_{i<j} ln((w_i - w_j)ᵀ Sigma (w_i - w_j)), and its cotangents of w and L.

    Source: extension E4; the form of A2SNN's Eq. 4 that predictions depend on (audit A17).
    """
    xp = namespace(w, L)
    first, second = zip(*combinations(range(len(w)), 2), strict=True)
    unit = xp.eye(len(w), dtype=w.dtype)
    pairs = unit[list(first)] - unit[list(second)]
    value, dd, dL = alignment(pairs @ w, L)
    return value, pairs.T @ dd, dL


def log_entropy(L: Array) -> tuple[Array, Array]:
    """ln H of the entropy H that `max_entropy` gives, and its cotangent diag(1/L_ii) / H.

    Raises ValueError for H <= 0, where it does not exist; neither a floor nor |H| would be the authors' function.
    Source: A2SNN's authors' code in place of Eq. 2 (audit B2).
    """
    entropy, slope = max_entropy(L)
    if not entropy > 0:
        raise ValueError(
            f"the entropy of the noise must be > 0 for the logarithm of it (audit B2), got {float(entropy):.4g}: "
            "take more features, more noise, another seed or Eq. 2 itself"
        )
    return namespace(L).log(entropy), slope / entropy


def log_trace(w: Array, L: Array) -> tuple[Array, Array, Array]:
    """ln q, q = tr(w Sigma wᵀ) = Σ_i w_iᵀ Sigma w_i, and its cotangents of w and L: 2 w Sigma / q, tril(2 wᵀ w L) / q.

    Source: A2SNN's authors' code in place of Eq. 4 (audit B1).
    """
    m = w @ L
    q = (m * m).sum()
    return namespace(w, L).log(q), 2 * (m @ L.T) / q, namespace(w, L).tril(2 * (w.T @ m)) / q
