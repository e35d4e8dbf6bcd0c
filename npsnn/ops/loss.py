"""Losses of logits, batch last: a value for each example and its cotangents.

mean: (classes, N). var: (classes, N) for independent logits, (classes, classes, N) for their covariance, None for
deterministic logits. labels: (N,) integers in [0, classes). With k the label, d_i = mean_k - mean_i,
S_i = Var(Y_k - Y_i) and u_i = d_i / √S_i, so that P(Y_k > Y_i) = Φ(u_i) (audit N18, N19).
"""

from math import log, pi, sqrt

from npsnn.backend import Array, namespace, special

Loss = tuple[Array, Array, Array | None]


def one_hot(mean: Array, labels: Array) -> Array:
    """(classes, N) of the dtype of `mean`."""
    xp = namespace(mean, labels)
    return (xp.arange(len(mean))[:, None] == labels).astype(mean.dtype)


def squared_error(mean: Array, labels: Array) -> tuple[Array, Array]:
    """Mean squared error against one-hot targets, Σ_i (y_i - mean_i)² / classes, and its cotangent."""
    error = mean - one_hot(mean, labels)
    return (error * error).sum(axis=0) / len(mean), 2 / len(mean) * error


def cross_entropy(mean: Array, labels: Array) -> tuple[Array, Array]:
    """-ln softmax(mean)_k and its cotangent softmax(mean) - e_k."""
    hot = one_hot(mean, labels)
    shifted = mean - mean.max(axis=0)
    e = namespace(mean).exp(shifted)
    total = e.sum(axis=0)
    # p_k - 1 would round to 0 for a sure prediction and hide it from an attack: sum the others instead.
    others = e / total * (1 - hot)
    return namespace(mean).log(total) - (shifted * hot).sum(axis=0), others - hot * others.sum(axis=0)


def margins(mean: Array, var: Array, labels: Array) -> tuple[Array, Array, Array]:
    """d_i, S_i and the mask of i ≠ k, each (classes, N); entries at k are 0 (d) and meaningless (S)."""
    xp = namespace(mean, var)
    hot = one_hot(mean, labels)
    d = (mean * hot).sum(axis=0) - mean
    if var.ndim == mean.ndim:
        return d, var + (var * hot).sum(axis=0), hot == 0
    diagonal = var[xp.arange(len(mean)), xp.arange(len(mean))]
    with_k = var[:, labels, xp.arange(len(labels))]
    return d, diagonal + (diagonal * hot).sum(axis=0) - 2 * with_k, hot == 0


def margins_backward(dd: Array, ds: Array, var: Array, labels: Array) -> tuple[Array, Array]:
    """Cotangents of mean and var from those of d and S, which must be 0 at i = k."""
    xp = namespace(dd, ds)
    hot = one_hot(dd, labels)
    dmean = hot * dd.sum(axis=0) - dd
    ddiagonal = ds + hot * ds.sum(axis=0)
    if var.ndim == dd.ndim:
        return dmean, ddiagonal
    dvar = xp.zeros(var.shape, var.dtype)
    dvar[xp.arange(len(dd)), xp.arange(len(dd))] = ddiagonal
    dvar[:, labels, xp.arange(len(labels))] -= 2 * ds
    return dmean, dvar


def win_probability(mean: Array, var: Array | None, labels: Array) -> Loss:
    """Mean over i ≠ k of P(Y_k > Y_i) = Φ(u_i), and its cotangents; without variance it is 1, ½ or 0 and flat.

    ∂P/∂d = φ(u)/√S, ∂P/∂S = -u φ(u)/(2S).
    Source: noise paper Sec. 2.2-2.3 as derived: signs audit N20, exponent and constants N24, joint covariance N21.
    """
    xp = namespace(mean)
    if var is None:
        d, _, other = margins(mean, mean, labels)
        return (other * (xp.sign(d) + 1)).sum(axis=0) / (2 * (len(mean) - 1)), mean * 0, None
    d, s, other = margins(mean, var, labels)
    uncertain = other & (s > 0)
    s = xp.where(uncertain, s, 1)
    root = xp.sqrt(s)
    u = d / root
    p = xp.where(uncertain, special(u).ndtr(u), (xp.sign(d) + 1) / 2) * other
    density = xp.exp(-u * u / 2) * uncertain / ((len(mean) - 1) * sqrt(2 * pi))
    dmean, dvar = margins_backward(density / root, -u * density / (2 * s), var, labels)
    return p.sum(axis=0) / (len(mean) - 1), dmean, dvar


def log_win_probability(mean: Array, var: Array, labels: Array) -> Loss:
    """Σ over i ≠ k of ln P(Y_k > Y_i) = ln Φ(u_i), and its cotangents.

    d ln Φ(u)/du = √(2/π) / erfcx(-u/√2), which neither overflows nor cancels. A pair without variance counts as
    decided and has no gradient: 0 for a win, ln ½ for a tie, and the logarithm's -inf for a loss.
    Source: extension E3.
    """
    xp = namespace(mean, var)
    d, s, other = margins(mean, var, labels)
    uncertain = other & (s > 0)
    s = xp.where(uncertain, s, 1)
    root = xp.sqrt(s)
    u = d / root
    decided = xp.where(d < 0, -xp.inf, xp.where(d > 0, 0, log(0.5)))
    value = xp.where(other, xp.where(uncertain, special(u).log_ndtr(u), decided), 0).sum(axis=0)
    slope = sqrt(2 / pi) / special(u).erfcx(-u / sqrt(2)) * uncertain
    dmean, dvar = margins_backward(slope / root, -u * slope / (2 * s), var, labels)
    return value, dmean, dvar
