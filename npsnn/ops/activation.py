"""PReLU, x where x > 0 and a x elsewhere with a slope a for each channel, and what it does to Gaussians.

Everything follows from the rectifier of a `Rule`: PReLU(X) = a X + (1 - a) max(X, 0). Arrays are (H, C, W, N) or
(C, N), slopes (C,). A cotangent of a variance that is None is zero.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from npsnn.backend import Array, fused, namespace, on_gpu
from npsnn.ops.channels import channel_dots, per_channel, summed
from npsnn.ops.gaussian import Rule


def prelu(mean: Array, var: Array | None, slope: Array, rule: Rule) -> tuple[Array, Array | None, Any]:
    """Moments of PReLU(X) from the moments m, v of max(X, 0), and what the backward pass needs.

    mean' = a mean + (1 - a) m, var' = a² var + (1 - a)² v + 2a (1 - a) c var with c var = Cov(X, max(X, 0)).
    Under the exact rule c = P(X > 0) = Phi(mean/√var) (Stein's lemma), and both moments are exact; nothing cancels for
    a in [0, 1]. The rules `rectified_laplace` and `rectified_linear` keep a unit's variance or drop it. Under them c is
    1 where the variance is kept and 0 where it is dropped: the slope is 1 in the first case and a in the second, so
    that var' is var or a² var.

    mean: (H, C, W, N) or (C, N).
    var: the same shape, >= 0; None stays None in the result.
    slope: a of each channel, (C,).
    rule: of the rectifier.
    Source: extension E1 for m, v and c; not in the papers.
    """
    a = per_channel(slope, mean)
    if not on_gpu(mean):
        return _forward(mean, var, a, rule)
    y, *out = _kernels(rule)[0](mean, var, a)
    return y, out[0] if out else None, (mean, var, rule)


def _forward(mean: Array, var: Array | None, a: Array, rule: Rule) -> tuple[Array, Array | None, Any]:
    m, v, saved = rule.rectify(mean, var)
    below = mean - m  # -E[max(-X, 0)], exactly min(x, 0) without variance
    y = a * below
    y += m
    if var is None:
        return y, None, (below, saved, None)
    kept, b = _kept(saved, rule) * var, 1 - a
    out = (a * a) * var + b * b * v + 2 * a * b * kept
    return y, out, (below, saved, (mean, var, v, kept))


@cache
def _kernels(rule: Rule) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Both directions on a GPU, whose backward pass computes again from the input what a CPU saves."""

    @fused
    def prelu_forward(mean: Array, var: Array, a: Array) -> tuple[Array, ...]:
        y, out, _ = _forward(mean, var, a, rule)
        return (y,) if out is None else (y, out)

    @fused
    def prelu_backward(dmean: Array, dvar: Array, mean: Array, var: Array, a: Array) -> tuple[Array, ...]:
        dm, dv = _backward(dmean, dvar, a, _forward(mean, var, a, rule)[2], rule)
        return (dm,) if dv is None else (dm, dv)

    return prelu_forward, prelu_backward


def _kept(saved: Any, rule: Rule) -> Array:
    """c of `prelu`: Phi(t), the exact rule's dm/dmean, or the mask of the variances that are kept."""
    return saved[0] if rule.mean_uses_var else saved[1]


def prelu_backward(
    dmean: Array, dvar: Array | None, slope: Array, saved: Any, rule: Rule
) -> tuple[Array, Array | None]:
    """Cotangents of mean and var, from those of the output.

    They are the rectifier's cotangents for (1 - a) dmean and (1 - a)² dvar, plus a dmean and (a² + 2a (1 - a) c) dvar.
    Under the exact rule 2a (1 - a) dvar is added as well, times var dc/dmean = 2 var p and var dc/dvar = -mean p with
    p = phi(t)/(2 √var).
    Without variance the slope at mean = 0 is a.

    dmean, dvar: of the output's shape; a None dvar is zero.
    slope, rule: as in `prelu`.
    saved: the last result of `prelu`.
    """
    a = per_channel(slope, dmean)
    if not on_gpu(dmean):
        return _backward(dmean, dvar, a, saved, rule)
    dm, *dv = _kernels(rule)[1](dmean, dvar, *saved[:2], a)
    return dm, dv[0] if dv else None


def _backward(dmean: Array, dvar: Array | None, a: Array, saved: Any, rule: Rule) -> tuple[Array, Array | None]:
    _, rectified, moments = saved
    b = 1 - a
    dm, dv = rule.rectify_backward(b * dmean, None if dvar is None else b * b * dvar, rectified)
    dm += a * dmean
    if dvar is None:
        return dm, dv
    mean, var, _, _ = moments
    dv += a * (a + 2 * b * _kept(rectified, rule)) * dvar
    if rule.mean_uses_var:
        moved = 2 * a * b * rectified[1] * dvar
        dm += 2 * var * moved
        dv -= mean * moved
    return dm, dv


def prelu_slope_backward(dmean: Array, dvar: Array | None, slope: Array, saved: Any) -> Array:
    """Cotangent of the slopes, (C,): Σ dmean (mean - m) + 2 dvar (a var - (1 - a) v + (1 - 2a) var c).

    dmean, dvar, slope, saved: as in `prelu_backward`.
    """
    a = per_channel(slope, dmean)
    if on_gpu(dmean):
        mean, var, rule = saved
        return summed(lambda axes: _slope_sums(axes, rule), dmean, dvar, mean, var, a)
    da = channel_dots(dmean, saved[0])
    if dvar is not None:
        da += 2 * channel_dots(dvar, _by_slope(saved, a))
    return da


def _by_slope(saved: Any, a: Array) -> Array:
    """Half of what the variance grows by with the slope."""
    _, var, v, kept = saved[2]
    return a * var - (1 - a) * v + (1 - 2 * a) * kept


@cache
def _slope_sums(axes: Any, rule: Rule) -> Callable[..., Array]:
    @fused
    def prelu_slope_backward(dmean: Array, dvar: Array, mean: Array, var: Array, a: Array) -> Array:
        _, _, saved = _forward(mean, var, a, rule)
        each = dmean * saved[0]
        if dvar is not None:
            each += 2 * (dvar * _by_slope(saved, a))
        return namespace(each).sum(each, axis=axes)

    return prelu_slope_backward
