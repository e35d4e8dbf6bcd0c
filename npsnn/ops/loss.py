"""Losses of logits, batch last: a value for each example and its cotangents.

mean: (classes, N). var: (classes, N) for independent logits, (classes, classes, N) for their covariance, None for
deterministic logits. labels: (N,) integers in [0, classes). With k the label, d_i = mean_k - mean_i,
S_i = Var(Y_k - Y_i) and u_i = d_i / √S_i, so that P(Y_k > Y_i) = Φ(u_i) (audit N18, N19).
"""

from collections.abc import Callable
from math import pi, sqrt

from npsnn.backend import Array, constant, fused, namespace, on_gpu, special
from npsnn.ops.sure import of_sure_answers, of_sure_wins

FAR = 40.0
"""exp(-FAR² / 2) is 0 in every dtype: what is farther may be taken for it, before its square overflows."""

Loss = tuple[Array, Array, Array | None]


def _double(mean: Array) -> bool:
    """Whether it is worth it: single precision, in which networks train, has no exp(-FAINT) either."""
    return bool(mean.dtype.itemsize > 4)


def one_hot(mean: Array, labels: Array) -> Array:
    """The labels as columns of 0 and 1, (classes, N), in the dtype of `mean`."""
    return _hot(constant(range(len(mean)), "int64", mean)[:, None], labels, mean)


@fused
def _hot(classes: Array, labels: Array, like: Array) -> Array:
    return (classes == labels).astype(like.dtype)


@fused
def _picked(x: Array, hot: Array) -> Array:
    """The label's entry of each column: (classes, N) -> (N,)."""
    return namespace(x, hot).sum(x * hot, axis=0)


def squared_error(mean: Array, labels: Array) -> tuple[Array, Array]:
    """Mean squared error against one-hot targets, Σ_i (y_i - mean_i)² / classes, and its cotangent.

    mean: (classes, N).
    labels: (N,).
    Source: noise paper Sec. 2.2 (audit N18).
    """
    hot = one_hot(mean, labels)
    return _squared_distance(mean, hot) / len(mean), _distance(mean, hot, 2 / len(mean))


@fused
def _squared_distance(mean: Array, hot: Array) -> Array:
    error = mean - hot
    return namespace(mean).sum(error * error, axis=0)


@fused
def _distance(mean: Array, hot: Array, factor: float) -> Array:
    return factor * (mean - hot)


def cross_entropy(mean: Array, labels: Array) -> tuple[Array, Array]:
    """-ln softmax(mean)_k and its cotangent softmax(mean) - e_k.

    mean: (classes, N).
    labels: (N,).
    """
    hot = one_hot(mean, labels)
    shifted, e = _exponentials(mean, mean.max(axis=0))
    total = e.sum(axis=0)
    others = _others(e, total, hot)
    value = _surprise(total, _picked(shifted, hot))
    if _double(mean):
        value, others = of_sure_answers(mean, hot, _picked(mean, hot), value, others)
    return value, _and_minus_their_sum(others, others.sum(axis=0), hot)


@fused
def _exponentials(mean: Array, largest: Array) -> tuple[Array, Array]:
    shifted = mean - largest
    return shifted, namespace(mean).exp(shifted)


@fused
def _others(e: Array, total: Array, hot: Array) -> Array:
    # p_k - 1 would round to 0 for a sure prediction and hide it from an attack: sum the others instead.
    return e / total * (1 - hot)


@fused
def _surprise(total: Array, shifted: Array) -> Array:
    return namespace(total).log(total) - shifted


@fused
def _and_minus_their_sum(others: Array, total: Array, hot: Array) -> Array:
    return others - hot * total


def float32_cross_entropy(mean: Array, labels: Array) -> tuple[Array, Array]:
    """-ln softmax(mean)_k and exp(ln softmax(mean)) - e_k in single precision, with all the digits that it loses.

    The entry of a sure label is 1 - 1 = 0 where the others together are below 2⁻²⁴, from a margin of 17 on for one
    rival. Every entry is 0 where exp(-margin) is below half of the least float32, from a margin of 104 on.

    mean: (classes, N).
    labels: (N,).
    Source: PyTorch's log_softmax and nll_loss, forward and backward (audit B11).
    """
    xp, single = namespace(mean), mean.astype("float32")
    shifted = single - single.max(axis=0)
    log_p = shifted - _in_single(xp.log, _in_single(xp.exp, shifted).sum(axis=0))
    hot = one_hot(shifted, labels)
    return -_picked(log_p, hot), _in_single(xp.exp, log_p) - hot


def _in_single(f: Callable[[Array], Array], z: Array) -> Array:
    """f(z) rounded to single precision: a processor's own f of single precision may be off by the last digit."""
    return f(z.astype("float64")).astype("float32")


def soft_cross_entropy(mean: Array, t: Array) -> tuple[Array, Array]:
    """-Σ_i t_i ln softmax(mean)_i and its cotangent softmax(mean) Σ_i t_i - t, for soft labels t.

    mean: (classes, N).
    t: weights of the classes, (classes, N), as probabilities.
    """
    log_p, p = log_softmax(mean)
    return -_picked(t, log_p), summing_to_0(p * t.sum(axis=0) - t, t)


def divergence(mean: Array, other: Array) -> tuple[Array, Array, Array]:
    """KL(p || q) of p = softmax(mean) and q = softmax(other), and its cotangents p∘(ln p - ln q - KL) and q - p.

    mean: (classes, N).
    other: (classes, N).
    """
    (log_p, p), (log_q, q) = log_softmax(mean), log_softmax(other)
    value = (p * (log_p - log_q)).sum(axis=0)
    return value, summing_to_0(p * (log_p - log_q - value), mean), summing_to_0(q - p, mean)


def log_softmax(mean: Array) -> tuple[Array, Array]:
    """The logarithms of the probabilities, (classes, N), and the probabilities."""
    shifted, e = _exponentials(mean, mean.max(axis=0))
    total = e.sum(axis=0)
    return shifted - namespace(mean).log(total), e / total


def summing_to_0(cotangent: Array, likely: Array) -> Array:
    """The cotangent of logits whose entry at the likeliest class is minus the sum of the others.

    The cotangent of a function of probabilities sums to 0 over the classes. The entry at a sure class would round to 0
    and hide the direction of all from an attack, as in `cross_entropy`.

    cotangent: (classes, N).
    likely: numbers whose largest is that of the likeliest class, (classes, N).
    """
    hot = one_hot(likely, likely.argmax(axis=0))
    others = cotangent * (1 - hot)
    return _and_minus_their_sum(others, others.sum(axis=0), hot)


def squared_distance(mean: Array, other: Array) -> tuple[Array, Array, Array]:
    """Σ_i (mean_i - other_i)² and its cotangents 2 (mean - other) and -2 (mean - other).

    mean: (classes, N).
    other: (classes, N).
    """
    return _squared_distance(mean, other), _distance(mean, other, 2), _distance(mean, other, -2)


def margins(mean: Array, var: Array, hot: Array) -> tuple[Array, Array]:
    """d_i and S_i, each (classes, N); d_k = 0, and S_k has no meaning.

    mean: (classes, N).
    var: (classes, N), or the covariance (classes, classes, N).
    hot: the one-hot labels, (classes, N).
    """
    label = _picked(mean, hot)
    if var.ndim == mean.ndim:
        return _margins(mean, label, var, _picked(var, hot), None)
    diagonal = namespace(var).diagonal(var).T
    return _margins(mean, label, diagonal, _picked(diagonal, hot), _covariances(var, hot))


@fused
def _covariances(var: Array, hot: Array) -> Array:
    """The covariances with the label, (classes, N)."""
    return namespace(var, hot).sum(var * hot, axis=1)


@fused
def _margins(mean: Array, label: Array, own: Array, others: Array, covariance: Array) -> tuple[Array, Array]:
    s = own + others
    return label - mean, s if covariance is None else s - 2 * covariance


@fused
def spread(s: Array, hot: Array) -> tuple[Array, Array]:
    """Which pairs i ≠ k have a variance, and √S_i; a pair without has a root so small that Φ decides it.

    s: S_i, (classes, N).
    hot: the one-hot labels, (classes, N).
    """
    xp = namespace(s, hot)
    tiny = float(xp.finfo(s.dtype).tiny)
    return s * (1 - hot) > tiny, xp.sqrt(xp.maximum(s, tiny))


def margins_backward(dd: Array, ds: Array, hot: Array, joint: bool) -> tuple[Array, Array]:
    """Cotangents of mean and var, from those of d and S.

    dd, ds: (classes, N), which must be 0 at i = k.
    hot: the one-hot labels, (classes, N).
    joint: whether var is a covariance (classes, classes, N).
    """
    dmean, ddiagonal = _margins_backward(dd, dd.sum(axis=0), ds, ds.sum(axis=0), hot)
    if not joint:
        return dmean, ddiagonal
    if on_gpu(ds):
        order = constant(range(len(ds)), "int64", ds)[:, None]
        return dmean, _of_covariance(ds[:, None], ddiagonal[:, None], hot, order[:, None], order)
    dvar = -2 * ds[:, None] * hot  # in place from here on: NumPy's where takes longer than all the rest
    order = namespace(ds).arange(len(ds))
    dvar[order, order] += ddiagonal
    return dmean, dvar


@fused
def _margins_backward(dd: Array, dd_sum: Array, ds: Array, ds_sum: Array, hot: Array) -> tuple[Array, Array]:
    return hot * dd_sum - dd, ds + hot * ds_sum


@fused
def _of_covariance(ds: Array, ddiagonal: Array, hot: Array, row: Array, column: Array) -> Array:
    dvar = -2 * ds * hot
    return namespace(ds).where(row == column, dvar + ddiagonal, dvar)


def win_probability(mean: Array, var: Array | None, labels: Array) -> Loss:
    """Mean over i ≠ k of P(Y_k > Y_i) = Φ(u_i), and its cotangents; without variance it is 1, ½ or 0 and flat.

    ∂P/∂d = φ(u)/√S, ∂P/∂S = -u φ(u)/(2S).

    mean: (classes, N).
    var: (classes, N), (classes, classes, N) or None.
    labels: (N,).
    Source: noise paper Sec. 2.2-2.3 as derived: signs audit N20, exponent and constants N24, joint covariance N21.
    """
    hot, pairs = one_hot(mean, labels), len(mean) - 1
    d, s = margins(mean, mean * 0 if var is None else var, hot)
    if var is None:
        return _won(d, s, hot).sum(axis=0) / pairs, mean * 0, None
    won, slope, ds = _won_with_slopes(d, s, hot, pairs * sqrt(2 * pi))
    return won.sum(axis=0) / pairs, *margins_backward(slope, ds, hot, var.ndim > mean.ndim)


@fused
def _won(d: Array, s: Array, hot: Array) -> Array:
    """Φ(u_i), 0 at i = k."""
    u = d / spread(s, hot)[1]
    return special(u).ndtr(u) * (1 - hot)


@fused
def _won_with_slopes(d: Array, s: Array, hot: Array, scale: float) -> tuple[Array, Array, Array]:
    """Φ(u_i), 0 at i = k, and the cotangents of d and S."""
    xp = namespace(d, s, hot)
    uncertain, root = spread(s, hot)
    u = d / root
    near = xp.clip(u, -FAR, FAR)
    slope = xp.exp(near * near * -0.5) / scale * uncertain / root
    return special(u).ndtr(u) * (1 - hot), slope, u * slope / root * -0.5


def log_win_probability(mean: Array, var: Array, labels: Array) -> Loss:
    """Σ over i ≠ k of ln P(Y_k > Y_i) = ln Φ(u_i), and its cotangents.

    d ln Φ(u)/du = √(2/π) / erfcx(-u/√2), which neither overflows nor cancels. A pair without variance counts as decided
    and has no gradient. Its logarithm is 0 for a win, ln ½ for a tie and -inf for a loss.

    mean: (classes, N).
    var: (classes, N) or (classes, classes, N).
    labels: (N,).
    Source: extension E3.
    """
    hot = one_hot(mean, labels)
    value, slope, u, uncertain, root = _log_won(*margins(mean, var, hot), hot)
    if _double(mean):
        slope = of_sure_wins(u, uncertain, root, slope)
    return value.sum(axis=0), *margins_backward(slope, _by_spread(u, slope, root), hot, var.ndim > mean.ndim)


@fused
def _log_won(d: Array, s: Array, hot: Array) -> tuple[Array, ...]:
    """ln Φ(u_i), 0 at i = k, its derivative by d, u_i, which pairs have a variance, and √S_i."""
    xp = namespace(d, s, hot)
    uncertain, root = spread(s, hot)
    u = d / root
    value = xp.where(uncertain | (d >= 0), special(u).log_ndtr(u), -xp.inf)
    slope = sqrt(2 / pi) / special(u).erfcx(u * -sqrt(0.5)) * uncertain / root
    return xp.where(hot > 0, 0, value), slope, u, uncertain, root


@fused
def _by_spread(u: Array, slope: Array, root: Array) -> Array:
    return u * slope / root * -0.5
