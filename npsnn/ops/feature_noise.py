"""Gaussian noise z = L eps on a vector of features, and the rewards for its size and its direction: A2SNN Sec. 3.

L: (D, D) lower triangular, Sigma = L Lᵀ the covariance. w: (C, D) weights of the last layer, one row a class.
Cotangents of L are those of its lower triangle, with zeros above.
"""

from itertools import combinations
from math import e, log, pi

from npsnn.backend import Array, constant, namespace
from npsnn.products import matmul


def add_noise(f: Array, L: Array, eps: Array) -> Array:
    """f + L eps, (D, N).

    f: features, (D, N).
    L: (D, D).
    eps: standard normal, (D, N).
    Source: A2SNN Sec. 3.3 (audit A3, A20).
    """
    return f + matmul(L, eps)


def add_noise_backward(dz: Array, L: Array, eps: Array) -> Array:
    """Cotangent of L, tril(Σ_n dz_n eps_nᵀ): the draw is a constant.

    dz: cotangent of the noisy features, (D, N).
    L: (D, D).
    eps: as in `add_noise`.
    Source: audit A20.
    """
    return namespace(dz, L, eps).tril(matmul(dz, eps.T))


def with_variances(cov: Array, var: Array) -> Array:
    """diag(var) + cov for each example: (D, D), (D, N) -> (D, D, N): the covariance of features that had a variance."""
    xp = namespace(cov, var)
    return cov[..., None] + xp.eye(len(cov), dtype=cov.dtype)[..., None] * var


def with_variances_backward(dcov: Array) -> Array:
    """Cotangent of the variances: the diagonal, (D, D, N) -> (D, N)."""
    xp = namespace(dcov)
    return xp.ascontiguousarray(xp.diagonal(dcov).T)


def marginal(var: Array, mean: Array) -> Array:
    """The variances of the units, of the shape of the mean.

    var: these variances, or a covariance of features, (D, D, N), or (D, D, 1) for all examples.
    mean: means of the units, (D, N) where var is a covariance.
    """
    return var if var.ndim == mean.ndim else with_variances_backward(var)


def marginal_backward(dv: Array, var: Array) -> Array:
    """Cotangent of `var` from that of its `marginal`, dv: a diagonal, summed over examples that share a covariance."""
    if var.ndim == dv.ndim:
        return dv
    dv = dv.sum(axis=1, keepdims=True) if var.shape[2] == 1 else dv
    return namespace(dv).eye(len(dv), dtype=dv.dtype)[..., None] * dv


def max_entropy(L: Array) -> tuple[Array, Array]:
    """½ ln det(2πe L Lᵀ) = D/2 ln(2πe) + Σ_i ln|L_ii|, and its cotangent diag(1/L_ii).

    The sum of logarithms is taken, because a determinant of many dimensions leaves float32's range.
    L: (D, D).
    Source: A2SNN Eq. 2 (audit A5).
    """
    xp = namespace(L)
    diagonal = xp.diagonal(L)
    return len(L) / 2 * log(2 * pi * e) + xp.log(xp.abs(diagonal)).sum(), xp.diag(1 / diagonal)


def alignment(w: Array, L: Array) -> tuple[Array, Array, Array]:
    """Σ_i ln q_i with q_i = w_iᵀ Sigma w_i, and its cotangents of w and L.

    The cotangents are 2 Sigma w_i / q_i and tril(Σ_i 2 w_i w_iᵀ L / q_i). Noise that shifts all logits alike raises the
    value (audit A17); `pairwise_alignment` is the form without it.

    w: (C, D).
    L: (D, D).
    Source: A2SNN Eq. 4 (audit A17).
    """
    xp = namespace(w, L)
    m = matmul(w, L)
    q = (m * m).sum(axis=1)
    scaled = m / q[:, None]
    return xp.log(q).sum(), 2 * matmul(scaled, L.T), xp.tril(2 * matmul(w.T, scaled))


def pairwise_alignment(w: Array, L: Array) -> tuple[Array, Array, Array]:
    """Σ_{i<j} ln((w_i - w_j)ᵀ Sigma (w_i - w_j)), and its cotangents of w and L.

    It is the form of A2SNN's Eq. 4 that predictions depend on (audit A17).

    w: (C, D).
    L: (D, D).
    Source: extension E4.
    """
    each = range(len(w))
    pairs = constant([[(k == i) - (k == j) for k in each] for i, j in combinations(each, 2)], w.dtype, w)
    value, dd, dL = alignment(matmul(pairs, w), L)
    return value, matmul(pairs.T, dd), dL


def log_entropy(L: Array) -> tuple[Array, Array]:
    """ln H of the entropy H that `max_entropy` gives, and its cotangent diag(1/L_ii) / H.

    Neither a floor nor |H| would be the authors' function.
    L: (D, D).
    Raises ValueError for H <= 0, where the logarithm does not exist.
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
    """ln q with q = tr(w Sigma wᵀ) = Σ_i w_iᵀ Sigma w_i, and its cotangents of w and L.

    The cotangents are 2 w Sigma / q and tril(2 wᵀ w L) / q.

    w: (C, D).
    L: (D, D).
    Source: A2SNN's authors' code in place of Eq. 4 (audit B1).
    """
    m = matmul(w, L)
    q = (m * m).sum()
    return namespace(w, L).log(q), 2 * matmul(m, L.T) / q, namespace(w, L).tril(2 * matmul(w.T, m)) / q
