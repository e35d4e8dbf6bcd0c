"""Gradients of losses where the answer is sure: too small for their dtype, but for what is done here.

Arguments are as in `npsnn.ops.loss`.
"""

from math import exp, pi, sqrt

from npsnn.backend import Array, fused, namespace
from npsnn.products import matmul

FAINT = 640.0
"""exp(-FAINT), 1e-278, is the least that the gradient of a sure answer is in double precision.

The true one may be exp(-10000), which no number holds, yet it has a direction. Such a gradient is raised to exp(-FAINT)
as a whole: beside any other it is still nothing, and an attack that takes its sign goes where it points.
"""

FAINT_SINGLE = 60.0
"""The same in single precision, for a cotangent that goes through a network in units of the largest of another."""

SURE = 20.0
"""A lead from which ln(1 + exp(-lead)) has lost half of its digits."""


def of_sure_answers(mean: Array, hot: Array, own: Array, value: Array, others: Array) -> tuple[Array, Array]:
    """The cross-entropy and the other classes' probabilities, kept from 0 where the label leads by far.

    With lead the label's distance from the best other logit, the value is log1p(Σ exp(mean_i - mean_k)), and beyond
    FAINT exp(-FAINT) FAINT/lead, which keeps the order.
    """
    rivals = _rivals(mean, hot)
    rival = rivals.max(axis=0)
    apart, faint = _apart(rivals, rival)
    value, lead = _sure_surprise(own, rival, apart.sum(axis=0), value)
    return value, _where_sure(lead, faint, others)


@fused
def _rivals(mean: Array, hot: Array) -> Array:
    xp = namespace(mean)
    return xp.where(hot > 0, -xp.inf, mean)


@fused
def _apart(rivals: Array, rival: Array) -> tuple[Array, Array]:
    xp = namespace(rivals)
    return xp.exp(rivals - rival), xp.exp(rivals - rival - FAINT)


@fused
def _sure_surprise(own: Array, rival: Array, apart: Array, value: Array) -> tuple[Array, Array]:
    xp = namespace(own)
    lead = own - rival
    near = xp.log1p(apart * xp.exp(-xp.clip(lead, 0.0, FAINT)))
    return xp.where(lead > SURE, near * FAINT / xp.maximum(lead, FAINT), value), lead


@fused
def _where_sure(lead: Array, faint: Array, others: Array) -> Array:
    return namespace(lead).where(lead > FAINT, faint, others)


def of_sure_wins(u: Array, uncertain: Array, root: Array, slope: Array) -> Array:
    """The slopes φ(u)/√S, raised together to exp(-FAINT) where the least u has a density below that."""
    least = _uncertain(u, uncertain).min(axis=0)
    return _raised(u, uncertain, root, slope, least)


@fused
def _uncertain(u: Array, uncertain: Array) -> Array:
    xp = namespace(u)
    return xp.where(uncertain, u, xp.inf)


@fused
def _raised(u: Array, uncertain: Array, root: Array, slope: Array, least: Array) -> Array:
    xp = namespace(u)
    sure = (least > sqrt(2 * FAINT)) & (least < xp.inf)
    base = xp.where(sure, least, 0)
    apart = xp.where(uncertain & sure, u, base) - base
    raised = xp.exp(-0.5 * apart * (apart + 2 * base) - FAINT) / (root * sqrt(2 * pi))
    return xp.where(sure, raised * uncertain, slope)


def of_sure_points(shifted: Array, total: Array, hot: Array, others: Array, curvature: Array) -> tuple[Array, Array]:
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


def of_sure_draws(parts: Array, g: Array, log_p: Array, mean: Array, double: bool) -> Array:
    """The cotangents p_kc (g_c/(K p̄_c) - Σ_j g_kj) of the logits of draws, kept from 0 where all draws are sure.

    They are those of classes that a draw is not sure of: sure draws of different classes have no p_kc that a number
    holds. Cotangents below exp(-FAINT) times the largest g are raised to it together. A class that no draw has is left
    out then.

    parts: g_kc = g_c p_kc / (K p̄_c), (K, classes, N); g: cotangent of ln p̄, (classes, N).
    log_p: ln p_k; mean: ln p̄.
    double: whether g had, and the cotangents will have, double precision.
    """
    xp, faint, rounding = namespace(parts), *((FAINT, 1e-12) if double else (FAINT_SINGLE, 1e-6))
    whole, known = parts.sum(axis=1, keepdims=True), mean > -faint
    direct = xp.where(known, g * xp.exp(xp.minimum(-mean, faint)) / len(log_p), 0)
    slope = direct - whole
    # the difference of two that are alike is rounding: the factors of others may be larger by as much as one likes
    clear = (xp.abs(slope) > rounding * (xp.abs(direct) + xp.abs(whole))) & known
    found = xp.where(known, slope * clear * xp.exp(log_p), parts - xp.exp(log_p) * whole)
    beside = log_p < log_p.max(axis=1, keepdims=True)
    size = xp.where(clear & beside, log_p + xp.log(xp.where(clear, xp.abs(slope), 1)), -xp.inf)
    most, unit = size.max(axis=(0, 1)), xp.abs(g).max(axis=0)
    lost = (xp.where(beside, xp.abs(found), 0).max(axis=(0, 1)) < exp(-faint) * unit) & (most > -xp.inf)
    raised = xp.sign(slope) * xp.exp(size - xp.where(lost, most, 0) - faint) * unit
    return xp.where(lost, raised, found)
