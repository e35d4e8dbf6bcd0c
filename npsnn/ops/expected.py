"""Losses over the noise of the logits, by points and no draw; arguments as in `npsnn.ops.loss`."""

from math import log

from npsnn.backend import Array, namespace
from npsnn.ops.loss import one_hot
from npsnn.ops.root import square_root
from npsnn.ops.sure import FAINT, of_sure_points
from npsnn.products import matmul


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
    h = mean.T[..., None] + _spread(mean, covariance, points)  # (N, classes, P)
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
    if mean.dtype.itemsize > 4:
        others, curvature = of_sure_points(shifted, total, hot.T, others, curvature)
    return value, others - hot * others.sum(axis=0), curvature.transpose(1, 2, 0) / 2


def expected_probability(mean: Array, var: Array, labels: Array, points: Array) -> tuple[Array, Array, Array]:
    """-ln E[softmax(h)_k] for h ~ N(mean, var), over h = mean + var^½ x for each row x of `points`.

    With p = softmax(h), the cotangents are E[p_k (p - e_k)] / E p_k and -½ E[∇²p_k] / E p_k, where
    ∇²p_k = p_k ((e_k - p)(e_k - p)ᵀ - diag(p) + p pᵀ). The cotangent of the variance is the integral's own (Price's
    theorem). It differs from the one of the sum over the points by as much as the sum from the integral.

    mean: (classes, N).
    var: (classes, N) for independent logits, or their covariance (classes, classes, N).
    labels: (N,).
    points: (P, classes), standard normal quantiles of an even sequence.
    Source: Jensen's bound on it is `expected_cross_entropy` (extension E3).
    """
    xp, hot = namespace(mean, var), one_hot(mean, labels).T[..., None]
    h = mean.T[..., None] + _spread(mean, var, points)  # (N, classes, P)
    log_p = h - h.max(axis=1, keepdims=True)
    log_p = log_p - xp.log(xp.exp(log_p).sum(axis=1, keepdims=True))
    p = xp.exp(log_p)
    own = (log_p * hot).sum(axis=1, keepdims=True)
    largest = own.max(axis=2, keepdims=True)
    parts = xp.exp(own - largest)
    total = parts.sum(axis=2, keepdims=True)
    value = _surprise(
        (p * (1 - hot)).sum(axis=(1, 2)) / len(points), (largest + xp.log(total))[:, 0, 0] - log(len(points))
    )
    # p_k p_i / Σ p_k at each point, i ≠ k: all cotangents are sums of these times numbers of the order of 1
    rivals = xp.where(hot > 0, -xp.inf, log_p + own - largest - xp.log(total))
    if mean.dtype.itemsize > 4:
        rivals = rivals + xp.maximum(-FAINT - rivals.max(axis=(1, 2), keepdims=True), 0)
    raised = xp.exp(rivals)
    others = raised.sum(axis=2).T
    dmean = others - hot[..., 0].T * others.sum(axis=0)
    return value, dmean, _by_variance(raised, p, hot, var.ndim > mean.ndim)


def _spread(mean: Array, var: Array, points: Array) -> Array:
    """var^½ x of each example and point: (N, classes, P)."""
    if var.ndim == mean.ndim:
        return namespace(var).sqrt(var).T[..., None] * points.T
    # one root will do for a covariance that all examples share
    shared = var[..., :1] if var.strides[-1] == 0 else var
    return matmul(square_root(shared.transpose(2, 0, 1)), points.T)


def _surprise(others: Array, log_own: Array) -> Array:
    """-ln of a probability, from its logarithm, or from that of not being so, where that says more."""
    xp = namespace(others)
    return xp.where(others < 0.5, -xp.log1p(-xp.minimum(others, 0.5)), -log_own)


def _by_variance(raised: Array, p: Array, hot: Array, joint: bool) -> Array:
    """The cotangent of the covariance, (classes, classes, N), or of the variances, its diagonal.

    Beside the diagonal it is -Σ t_i p_j for i, j ≠ k, and -½ Σ t_i (2 p_k - 1) for i and k, t = p_k p_i / Σ p_k. Its
    rows add up to 0, and so the diagonal comes from the rest.
    raised: t; p: probabilities, both (N, classes, P); hot: (N, classes, 1).
    """
    xp = namespace(raised)
    own = (p * hot).sum(axis=1, keepdims=True)
    label = -0.5 * (raised * (2 * own - 1)).sum(axis=2)  # of i and k, 0 for k itself
    between = -matmul(raised, (p * (1 - hot)).transpose(0, 2, 1))
    between = between + label[..., None] * hot.transpose(0, 2, 1) + label[:, None] * hot
    beside = 1 - xp.eye(len(p[0]), dtype=p.dtype)
    rows = (between * beside).sum(axis=2)
    if not joint:
        return -rows.T
    return (between * beside - rows[..., None] * (1 - beside)).transpose(1, 2, 0)
