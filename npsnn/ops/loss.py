"""Losses of logits, batch last: a value for each example and its cotangents.

mean: (classes, N). var: (classes, N) for independent logits, (classes, classes, N) for their covariance, None for
deterministic logits. labels: (N,) integers in [0, classes). With k the label, d_i = mean_k - mean_i,
S_i = Var(Y_k - Y_i) and u_i = d_i / √S_i, so that P(Y_k > Y_i) = Φ(u_i) (audit N18, N19).
"""

from math import exp, pi, sqrt

from npsnn.backend import Array, namespace, special
from npsnn.products import matmul

FAR = 40.0
"""exp(-FAR² / 2) is 0 in every dtype: what is farther may be taken for it, before its square overflows."""

FAINT = 640.0
"""exp(-FAINT), 1e-278, is the least that the gradient of a sure answer is in double precision.

The true one may be exp(-10000), which no number holds, yet it has a direction. Such a gradient is raised to exp(-FAINT)
as a whole: beside any other it is still nothing, and an attack that takes its sign goes where it points.
"""

SURE = 20.0
"""A lead from which ln(1 + exp(-lead)) has lost half of its digits."""

Loss = tuple[Array, Array, Array | None]


def _double(mean: Array) -> bool:
    """Whether it is worth it: single precision, in which networks train, has no exp(-FAINT) either."""
    return bool(mean.dtype.itemsize > 4)


def one_hot(mean: Array, labels: Array) -> Array:
    """The labels as columns of 0 and 1, (classes, N), in the dtype of `mean`."""
    xp = namespace(mean, labels)
    return (xp.arange(len(mean))[:, None] == labels).astype(mean.dtype)


def squared_error(mean: Array, labels: Array) -> tuple[Array, Array]:
    """Mean squared error against one-hot targets, Σ_i (y_i - mean_i)² / classes, and its cotangent.

    mean: (classes, N).
    labels: (N,).
    Source: noise paper Sec. 2.2 (audit N18).
    """
    error = mean - one_hot(mean, labels)
    return (error * error).sum(axis=0) / len(mean), 2 / len(mean) * error


def cross_entropy(mean: Array, labels: Array) -> tuple[Array, Array]:
    """-ln softmax(mean)_k and its cotangent softmax(mean) - e_k.

    mean: (classes, N).
    labels: (N,).
    """
    hot = one_hot(mean, labels)
    shifted = mean - mean.max(axis=0)
    e = namespace(mean).exp(shifted)
    total = e.sum(axis=0)
    # p_k - 1 would round to 0 for a sure prediction and hide it from an attack: sum the others instead.
    others = e / total * (1 - hot)
    value = namespace(mean).log(total) - (shifted * hot).sum(axis=0)
    if _double(mean):
        value, others = _of_sure_answers(mean, hot, value, others)
    return value, others - hot * others.sum(axis=0)


def _of_sure_answers(mean: Array, hot: Array, value: Array, others: Array) -> tuple[Array, Array]:
    """The cross-entropy and the other classes' probabilities, kept from 0 where the label leads by far.

    With lead the label's distance from the best other logit, the value is log1p(Σ exp(mean_i - mean_k)), and beyond
    FAINT exp(-FAINT) FAINT/lead, which keeps the order.
    """
    xp = namespace(mean)
    rivals = xp.where(hot > 0, -xp.inf, mean)
    rival = rivals.max(axis=0)
    lead = (mean * hot).sum(axis=0) - rival
    faint = xp.exp(rivals - rival - FAINT)
    near = xp.log1p(xp.exp(rivals - rival).sum(axis=0) * xp.exp(-xp.clip(lead, 0, FAINT)))
    value = xp.where(lead > SURE, near * FAINT / xp.maximum(lead, FAINT), value)
    return value, xp.where(lead > FAINT, faint, others)


def margins(mean: Array, var: Array, hot: Array) -> tuple[Array, Array]:
    """d_i and S_i, each (classes, N); d_k = 0, and S_k has no meaning.

    mean: (classes, N).
    var: (classes, N), or the covariance (classes, classes, N).
    hot: the one-hot labels, (classes, N).
    """
    d = (mean * hot).sum(axis=0) - mean
    if var.ndim == mean.ndim:
        return d, var + (var * hot).sum(axis=0)
    diagonal = namespace(var).diagonal(var).T
    return d, diagonal + (diagonal * hot).sum(axis=0) - 2 * (var * hot).sum(axis=1)


def spread(s: Array, hot: Array) -> tuple[Array, Array]:
    """Which pairs i ≠ k have a variance, and √S_i; a pair without has a root so small that Φ decides it.

    s: S_i, (classes, N).
    hot: the one-hot labels, (classes, N).
    """
    xp = namespace(s, hot)
    tiny = float(xp.finfo(s.dtype).tiny)
    return s * (1 - hot) > tiny, xp.sqrt(xp.clip(s, tiny, None))


def margins_backward(dd: Array, ds: Array, hot: Array, joint: bool) -> tuple[Array, Array]:
    """Cotangents of mean and var, from those of d and S.

    dd, ds: (classes, N), which must be 0 at i = k.
    hot: the one-hot labels, (classes, N).
    joint: whether var is a covariance (classes, classes, N).
    """
    xp = namespace(dd, ds, hot)
    dmean = hot * dd.sum(axis=0) - dd
    ddiagonal = ds + hot * ds.sum(axis=0)
    if not joint:
        return dmean, ddiagonal
    dvar = -2 * ds[:, None] * hot
    i = xp.arange(len(ds))
    dvar[i, i] += ddiagonal
    return dmean, dvar


def win_probability(mean: Array, var: Array | None, labels: Array) -> Loss:
    """Mean over i ≠ k of P(Y_k > Y_i) = Φ(u_i), and its cotangents; without variance it is 1, ½ or 0 and flat.

    ∂P/∂d = φ(u)/√S, ∂P/∂S = -u φ(u)/(2S).

    mean: (classes, N).
    var: (classes, N), (classes, classes, N) or None.
    labels: (N,).
    Source: noise paper Sec. 2.2-2.3 as derived: signs audit N20, exponent and constants N24, joint covariance N21.
    """
    xp = namespace(mean)
    hot = one_hot(mean, labels)
    pairs = len(mean) - 1
    d, s = margins(mean, mean * 0 if var is None else var, hot)
    uncertain, root = spread(s, hot)
    u = d / root
    won = (special(u).ndtr(u) * (1 - hot)).sum(axis=0) / pairs
    if var is None:
        return won, mean * 0, None
    density = xp.exp(xp.clip(u, -FAR, FAR) ** 2 * -0.5) / (pairs * sqrt(2 * pi))
    slope = density * uncertain / root
    dmean, dvar = margins_backward(slope, u * slope / root * -0.5, hot, var.ndim > mean.ndim)
    return won, dmean, dvar


def log_win_probability(mean: Array, var: Array, labels: Array) -> Loss:
    """Σ over i ≠ k of ln P(Y_k > Y_i) = ln Φ(u_i), and its cotangents.

    d ln Φ(u)/du = √(2/π) / erfcx(-u/√2), which neither overflows nor cancels. A pair without variance counts as decided
    and has no gradient. Its logarithm is 0 for a win, ln ½ for a tie and -inf for a loss.

    mean: (classes, N).
    var: (classes, N) or (classes, classes, N).
    labels: (N,).
    Source: extension E3.
    """
    xp = namespace(mean, var)
    hot = one_hot(mean, labels)
    d, s = margins(mean, var, hot)
    uncertain, root = spread(s, hot)
    u = d / root
    value = xp.where(uncertain | (d >= 0), special(u).log_ndtr(u), -xp.inf)
    value = xp.where(hot > 0, 0, value).sum(axis=0)
    slope = sqrt(2 / pi) / special(u).erfcx(u * -sqrt(0.5)) * uncertain / root
    if _double(mean):
        slope = _of_sure_wins(u, uncertain, root, slope)
    dmean, dvar = margins_backward(slope, u * slope / root * -0.5, hot, var.ndim > mean.ndim)
    return value, dmean, dvar


def _of_sure_wins(u: Array, uncertain: Array, root: Array, slope: Array) -> Array:
    """The slopes φ(u)/√S, raised together to exp(-FAINT) where the least u has a density below that."""
    xp = namespace(u, slope)
    least = xp.where(uncertain, u, xp.inf).min(axis=0)
    sure = (least > sqrt(2 * FAINT)) & (least < xp.inf)
    base = xp.where(sure, least, 0)
    apart = xp.where(uncertain & sure, u, base) - base
    raised = xp.exp(-0.5 * apart * (apart + 2 * base) - FAINT) / (root * sqrt(2 * pi))
    return xp.where(sure, raised * uncertain, slope)


def expected_cross_entropy(mean: Array, covariance: Array, labels: Array, points: Array) -> tuple[Array, Array, Array]:
    """E[-ln softmax(h)_k] for h ~ N(mean, covariance), over h = mean + covariance^½ x for each row x of `points`.

    The cotangents are E[p] - e_k and ½ E[diag(p) - p pᵀ] with p = softmax(h). The cotangent of the covariance is the
    integral's own (Price's theorem). It differs from the one of the sum over the points by as much as the sum from the
    integral.

    mean: (classes, N).
    covariance: (classes, classes, N).
    labels: (N,).
    points: (P, classes), standard normal quantiles of an even sequence.
    Source: extension E3, in place of an average over draws (audit A25).
    """
    xp = namespace(mean, covariance)
    # one root will do for a covariance that all examples share
    shared = covariance[..., :1] if covariance.strides[-1] == 0 else covariance
    size, axes = xp.linalg.eigh(shared.transpose(2, 0, 1))
    root = matmul(axes * xp.sqrt(xp.maximum(size, 0))[:, None], axes.transpose(0, 2, 1))
    h = mean.T[..., None] + matmul(root, points.T)  # (N, classes, P)
    shifted = h - h.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    p = p / total
    hot = one_hot(mean, labels)
    value = (xp.log(total[:, 0]) - (shifted * hot.T[..., None]).sum(axis=1)).mean(axis=1)
    expected = p.mean(axis=2)
    curvature = xp.eye(len(mean), dtype=mean.dtype) * expected[:, None] - matmul(p, p.transpose(0, 2, 1)) / len(points)
    # as in `cross_entropy`: the label's own entry is minus the others', lest it be lost where the answer is sure
    others = expected.T * (1 - hot)
    if _double(mean):
        others, curvature = _of_sure_points(shifted, total, hot.T, others, curvature)
    return value, others - hot * others.sum(axis=0), curvature.transpose(1, 2, 0) / 2


def _of_sure_points(shifted: Array, total: Array, hot: Array, others: Array, curvature: Array) -> tuple[Array, Array]:
    """The others' expected probabilities and the curvature where the answer is sure at every point.

    Both are raised to exp(-FAINT) where they are below it, by one factor for all points. The curvature's rows sum to 0,
    and so its diagonal comes from the rest: p_k(1 - p_k) would round to 0.
    shifted: (N, classes, P) logits below the largest; total: (N, 1, P); hot: (N, classes); others: (classes, N).
    """
    xp = namespace(shifted)
    log_p = shifted - xp.log(total)
    rivals = xp.where(hot[..., None] > 0, -xp.inf, log_p)
    raised = xp.exp(rivals + xp.maximum(-FAINT - rivals.max(axis=(1, 2), keepdims=True), 0))
    products = matmul(raised, xp.exp(log_p).transpose(0, 2, 1)) / shifted.shape[2]
    between = products + hot[..., None] * products.transpose(0, 2, 1)
    between *= 1 - xp.eye(hot.shape[1], dtype=shifted.dtype)
    rows = between.sum(axis=2)[..., None] * xp.eye(hot.shape[1], dtype=shifted.dtype) - between
    sure = others.sum(axis=0) < exp(-SURE)
    return xp.where(sure, raised.mean(axis=2).T, others), xp.where(sure[:, None, None], rows, curvature)
