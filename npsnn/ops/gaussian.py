"""What max(X, 0) and max(X1, X2) do to Gaussians: the rules by which ReLU and max-pooling carry a mean and a variance.

Everything is elementwise over arrays of one shape and one dtype, float32 or float64; variances are >= 0 and may be
broadcast views. Means are in the activation's unit, variances in its square. A cotangent that is None is zero. No
argument is written to, except `out` of the two backward functions of a maximum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from npsnn.backend import Array, fused, namespace
from npsnn.ops.tail import tail

Saved: TypeAlias = Any
Rectified: TypeAlias = tuple[Array, Array, Saved]
Cotangents: TypeAlias = tuple[Array, Array]
Out: TypeAlias = tuple[Array, Array, Array, Array]


def rectified_moments(mean: Array, var: Array) -> Rectified:
    """Mean and variance of max(X, 0) for X ~ N(mean, var), and their four partial derivatives.

    With t = mean/s, s = sqrt(var), tau = |t| and g, q, r of `tail`: m = max(mean, 0) + s g and
    v = var (1[mean > 0] (1 - 2q) + r), which is E1's two-branch form in one (no term is negative, nothing cancels).
    partials = (dm/dmean, dm/dvar, dv/dmean, dv/dvar) = (Phi(t), phi/(2s), 2 m Phi(-t), Phi(t) - (m/s) phi).
    The relative error for |t| <= 37 and t up to 1e6 is below 1e-11 in float64; for |t| <= 12 it is below 1e-4 in
    float32.

    mean: (...).
    var: (...), >= 0; var == 0 gives (max(mean, 0), 0) and (1[mean > 0], 0, 0, 1[mean > 0]).
    Source: extension E1; replaces noise paper Eq. 6 (audit N14) and the truncated law of Eq. 4 (N5).
    """
    m, v, *partials = _rectified(mean, var)
    return m, v, tuple(partials)


@fused
def _rectified(mean: Array, var: Array) -> tuple[Array, ...]:
    """m, v and the four partial derivatives."""
    s, tau, phi, q, g, r = tail(mean, var)
    on = (mean > 0).astype(mean.dtype)
    inner = 1.0 - 2.0 * q
    upper = inner * on
    m = s * g
    m += mean * on
    v = r + upper
    v *= var
    dv_dmean = inner - upper
    dv_dmean += q
    dv_dmean *= m
    dv_dmean *= 2.0
    dm_dvar = phi / s
    dm_dvar *= 0.5
    upper += q
    tau *= on
    tau += g
    tau *= phi
    return m, v, upper, dm_dvar, dv_dmean, upper - tau


def rectified_moments_backward(dm: Array, dv: Array, partials: Saved) -> Cotangents:
    """Cotangents of mean and var: dm dm/dmean + dv dv/dmean and dm dm/dvar + dv dv/dvar; None where both are None.

    dm, dv: cotangents of the result, (...) or None.
    partials: the last result of `rectified_moments`.
    Source: extension E1; the variance channel of the backward pass is audit N26.
    """
    return (None, None) if dm is None and dv is None else _rectified_backward(dm, dv, *partials)


@fused
def _rectified_backward(dm: Array, dv: Array, *partials: Array) -> Cotangents:
    return _weighted(dm, partials[0], dv, partials[2]), _weighted(dm, partials[1], dv, partials[3])


def _weighted(dm: Array, a: Array, dv: Array, b: Array) -> Array:
    """dm a + dv b, where one of the cotangents may be None."""
    if dm is None:
        return dv * b
    return dm * a if dv is None else dm * a + dv * b


def rectified_laplace(mean: Array, var: Array) -> Rectified:
    """The noise paper's own rule for max(X, 0): the mean is rectified, the variance is kept or dropped whole.

    m = max(mean, 0), v = var 1[mean >= -3 sqrt(var)], the boundary included.

    mean: (...).
    var: (...), >= 0.
    Source: noise paper Eq. 6; audit N13, N14 ("close to zero" is read as 0, sigma as the unit's own sqrt(var)).
    """
    m, v, *masks = _rectified_or_kept(mean, var)
    return m, v, tuple(masks)


@fused
def _rectified_or_kept(mean: Array, var: Array) -> tuple[Array, ...]:
    """m, v and the masks of the two."""
    xp = namespace(mean, var)
    kept = mean >= -3.0 * xp.sqrt(var)
    return xp.maximum(mean, 0), var * kept, mean > 0, kept


def rectified_linear(mean: Array, var: Array) -> Rectified:
    """max(X, 0) linearised at the mean: m = max(mean, 0), v = var 1[mean > 0].

    mean: (...).
    var: (...), or None, which stays None: the rule is then ReLU itself.
    Source: not in the papers; the first-order rule, to compare with.
    """
    m, on, *v = _rectified_where_positive(mean, var)
    return m, v[0] if v else None, (on, on)


@fused
def _rectified_where_positive(mean: Array, var: Array) -> tuple[Array, ...]:
    """m, its mask and, where there is a variance, v."""
    on = mean > 0
    m = namespace(mean).maximum(mean, 0)
    return (m, on) if var is None else (m, on, var * on)


def rectified_mask_backward(dm: Array, dv: Array, masks: Saved) -> Cotangents:
    """Cotangents under the two rules that only mask: dm 1[mean > 0] and dv 1[variance kept]; None stays None.

    The masks count as constants, and the derivative at mean = 0 is 0, not 1.

    dm, dv: cotangents of the result, (...) or None.
    masks: the last result of the rule.
    Source: noise paper Sec. 2.3 (audit N28).
    """
    on, kept = masks
    if dm is None or dv is None:
        return None if dm is None else dm * on, None if dv is None else dv * kept
    return _masked(dm, dv, on, kept)


@fused
def masked(d: Array, on: Array) -> Array:
    """d where the mask is on, 0 elsewhere."""
    return d * on


@fused
def _masked(dm: Array, dv: Array, on: Array, kept: Array) -> Cotangents:
    return dm * on, dv * kept


def maximum_clark(m1: Array, v1: Array, m2: Array, v2: Array) -> Rectified:
    """Mean and variance of max(X1, X2) for independent X1 ~ N(m1, v1), X2 ~ N(m2, v2), and their partial derivatives.

    With theta^2 = v1 + v2, a = (m1 - m2)/theta, tau = |a|, q, g, r of `tail` and w the variance of the one with the
    larger mean, m = max(m1, m2) + theta g and v = w (1 - 2q) + theta^2 r. Both are exact: Clark's form is shifted by
    the larger mean, so that nothing cancels and v >= 0. partials = (P1, P2, kappa/2, D, c) with kappa = phi/theta,
    P1 = Phi(a), P2 = Phi(-a), D = +-2 (kappa w - (1 - q) theta g), + where m1 >= m2, c = kappa (tau w/theta + theta g):
    dm/dm_i = P_i, dm/dv_i = kappa/2, dv/dm1 = D, dv/dm2 = -D, dv/dv_i = P_i - c.
    theta = 0 is the plain maximum in values and derivatives, ties to the first.

    m1, m2: (...).
    v1, v2: (...), >= 0.
    Source: extension E2 with c = 0; replaces the noise paper's "maximum of the mean" (audit N17).
    """
    m, v, *partials = _clark(m1, v1, m2, v2)
    return m, v, tuple(partials)


@fused
def _clark(m1: Array, v1: Array, m2: Array, v2: Array) -> tuple[Array, ...]:
    """m, v and the partial derivatives."""
    spread = v1 + v2
    s, tau, phi, q, g, r = tail(m1 - m2, spread)
    first = (m1 >= m2).astype(spread.dtype)
    other = 1.0 - first
    won = v1 * first + v2 * other
    inner = 1.0 - 2.0 * q
    lift = s * g
    v = spread * r + won * inner
    p1 = inner * first + q
    p2 = inner * other + q
    kappa = phi / s
    skew = won * kappa - (1.0 - q) * lift
    skew *= 2.0 * (first - other)
    common = won / s
    common *= tau
    common += lift
    common *= kappa
    kappa *= 0.5
    return namespace(m1, m2).maximum(m1, m2) + lift, v, p1, p2, kappa, skew, common


def maximum_clark_backward(dm: Array, dv: Array, partials: Saved, out: Out) -> None:
    """Write dm dm/dx + dv dv/dx for x = m1, v1, m2, v2 into out; nothing else is written.

    dm, dv: cotangents of the result, (...) or None.
    partials: the last result of `maximum_clark`.
    out: (dm1, dv1, dm2, dv2), each (...), of any strides, none overlapping another or an argument; dv1 and dv2 are both
        None where no cotangent of the variances is wanted.
    Source: extension E2.
    """
    _put_clark(dm, dv, *partials, *out)


@fused
def _put_clark(dm: Array, dv: Array, *rest: Array) -> None:
    p1, p2, half_kappa, skew, common, dm1, dv1, dm2, dv2 = rest
    _put_product(dm1, dm, p1)
    _put_product(dm2, dm, p2)
    if dv is not None:
        shift = dv * skew
        dm1 += shift
        dm2 -= shift
    if dv1 is None:
        return
    _put_product(dv1, dv, p1)
    _put_product(dv2, dv, p2)
    for shared in (None if dm is None else dm * half_kappa, None if dv is None else dv * -common):
        if shared is not None:
            dv1 += shared
            dv2 += shared


def _put_product(out: Array, d: Array, factor: Array) -> None:
    """out = d factor."""
    if d is None:
        out[...] = 0
    else:
        namespace(d, out).multiply(d, factor, out=out)


def maximum_winner(m1: Array, v1: Array, m2: Array, v2: Array) -> Rectified:
    """The larger mean, with the variance that belongs to it; ties go to the first.

    m = max(m1, m2), v = v1 where m1 >= m2, else v2.

    m1, m2: (...).
    v1, v2: (...), or both None, and then v is None.
    Source: noise paper Sec. 2.1, "maximum of the mean value"; audit N17 (the paper states neither variance nor ties).
    """
    m, first, *v = _winner(m1, v1, m2, v2)
    return m, v[0] if v else None, first


@fused
def _winner(m1: Array, v1: Array, m2: Array, v2: Array) -> tuple[Array, ...]:
    """m, whether the first one won and, where there are variances, v."""
    first = m1 >= m2
    m = namespace(m1, m2).maximum(m1, m2)
    if v1 is None:
        return m, first
    v = v1 * first
    v += v2 * ~first
    return m, first, v


def maximum_winner_backward(dm: Array, dv: Array, first: Saved, out: Out) -> None:
    """Write both cotangents to the winner's side of out and 0 to the loser's.

    dm, dv: cotangents of the result, (...) or None.
    first: the last result of `maximum_winner`.
    out: as in `maximum_clark_backward`.
    Source: noise paper Sec. 2.3 (audit N28).
    """
    _put_winner(dm, dv, first, *out)


@fused
def _put_winner(dm: Array, dv: Array, first: Array, dm1: Array, dv1: Array, dm2: Array, dv2: Array) -> None:
    for d, d1, d2 in ((dm, dm1, dm2), (dv, dv1, dv2)):
        if d1 is None:
            continue
        _put_product(d1, d, first)
        if d is None:
            d2[...] = 0
        else:
            # exactly d or 0, and faster than a second product with a mask
            namespace(d, d2).subtract(d, d1, out=d2)


@dataclass(frozen=True)
class Rule:
    """How variance passes a rectifier and a pairwise maximum; a backward takes what its forward returned last.

    name: as users type it.
    rectify: (mean, var) -> (m, v, saved).
    rectify_backward: (dm, dv, saved) -> (dmean, dvar).
    maximum: (m1, v1, m2, v2) -> (m, v, saved).
    maximum_backward: (dm, dv, saved, out) writes out = (dm1, dv1, dm2, dv2).
    mean_uses_var: whether the outgoing mean depends on the incoming variance, and so dv on dm.
    """

    name: str
    rectify: Callable[[Array, Array], Rectified]
    rectify_backward: Callable[[Array, Array, Saved], Cotangents]
    maximum: Callable[[Array, Array, Array, Array], Rectified]
    maximum_backward: Callable[[Array, Array, Saved, Out], None]
    mean_uses_var: bool = False


_WINNER = (maximum_winner, maximum_winner_backward)

LAPLACE = Rule("laplace", rectified_laplace, rectified_mask_backward, *_WINNER)
EXACT = Rule(
    "exact", rectified_moments, rectified_moments_backward, maximum_clark, maximum_clark_backward, mean_uses_var=True
)
LINEAR = Rule("linear", rectified_linear, rectified_mask_backward, *_WINNER)
RULES = {rule.name: rule for rule in (LAPLACE, EXACT, LINEAR)}

DETERMINISTIC = Rule("deterministic", rectified_linear, rectified_mask_backward, *_WINNER)
"""ReLU and maximum of activations without variance: every var and dv is None."""
