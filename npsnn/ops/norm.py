"""Normalisation of each channel, by the batch's own statistics or by fixed ones, batch last: (H, C, W, N) or (C, N)."""

from collections.abc import Callable
from typing import Any

from npsnn.backend import Array, fused, namespace
from npsnn.ops.channels import channel_dots, channel_sums, per_channel


def batch_norm(
    x: Array, w: Array, b: Array, epsilon: float, count: int, total: Callable[[Array], Array]
) -> tuple[Array, Array, Array, Any]:
    """y = w (x - m)/√(v + epsilon) + b with the mean m and the biased variance v of each channel, over all else.

    Returns y, m, the unbiased variance count v/(count - 1), which running averages keep, and what the backward pass
    needs.

    x: a part of a batch, (H, C, W, N) or (C, N).
    w, b: (C,).
    epsilon: added to the variance.
    count: the numbers that the whole batch has in a channel, > 1.
    total: from sums over this part to the sums over the batch, (C,) -> (C,).
    Source: Ioffe and Szegedy 2015.
    """
    mean = total(channel_sums(x)) / count
    centred = x - per_channel(mean, x)
    squares = total(channel_dots(centred, centred))
    scale = 1 / namespace(x).sqrt(squares / count + epsilon)
    y = _scaled(centred, per_channel(w * scale, x), per_channel(b, x))
    return y, mean, squares / (count - 1), (centred, scale, count)


@fused
def _scaled(x: Array, a: Array, b: Array) -> Array:
    """a x + b."""
    y = x * a
    y += b
    return y


def batch_norm_weight_backward(dy: Array, saved: Any) -> tuple[Array, Array]:
    """Cotangents of w and b from this part of the batch, (C,) each.

    dy: cotangent of the output.
    saved: the last result of `batch_norm`.
    """
    centred, scale, _ = saved
    return channel_dots(dy, centred) * scale, channel_sums(dy)


def batch_norm_backward(dy: Array, w: Array, dw: Array, db: Array, saved: Any) -> Array:
    """Cotangent of x, which moves the statistics too: w s (dy - db/n - s (x - m) dw/n), s = 1/√(v + epsilon).

    n is the number of numbers that the batch has in a channel.

    dy: cotangent of the output.
    w: (C,).
    dw, db: sums over the batch of what `batch_norm_weight_backward` gave, (C,).
    saved: the last result of `batch_norm`.
    """
    centred, scale, count = saved
    share = w * scale / count
    factors = (per_channel(values, dy) for values in (w * scale, share * scale * dw, share * db))
    return _without_statistics(dy, centred, *factors)


@fused
def _without_statistics(dy: Array, centred: Array, a: Array, b: Array, c: Array) -> Array:
    """a dy - b centred - c."""
    dx = dy * a
    dx -= centred * b
    dx -= c
    return dx


def fixed_norm(
    mean: Array, var: Array | None, params: tuple[Array, Array], statistics: tuple[Array, Array], epsilon: float
) -> tuple[Array, Array | None, Any]:
    """The affine map y = a (x - m) + b with constants, a = w/√(v + epsilon): mean' = a (mean - m) + b, var' = a² var.

    It is exact for a Gaussian x. Returns mean', var' and what the backward pass needs.

    mean: (H, C, W, N) or (C, N).
    var: the same shape, or None.
    params: w and b, (C,) each.
    statistics: m and v, (C,) each.
    epsilon: added to v.
    """
    (w, b), (m, v) = params, statistics
    scale = 1 / namespace(mean).sqrt(v + epsilon)
    a = w * scale
    centred = mean - per_channel(m, mean)
    y = _scaled(centred, per_channel(a, mean), per_channel(b, mean))
    return y, None if var is None else var * per_channel(a * a, var), (a, scale, centred, var)


def fixed_norm_backward(dmean: Array, dvar: Array | None, saved: Any) -> tuple[Array, Array | None]:
    """Cotangents of the input's moments, a dmean and a² dvar; None stays None.

    dmean, dvar: cotangents of the output's moments.
    saved: the last result of `fixed_norm`.
    """
    a = saved[0]
    return dmean * per_channel(a, dmean), None if dvar is None else dvar * per_channel(a * a, dvar)


def fixed_norm_weight_backward(dmean: Array, dvar: Array | None, saved: Any) -> tuple[Array, Array]:
    """Cotangents of w and b, (C,) each: dw = Σ (dmean (mean - m) + 2 a dvar var)/√(v + epsilon), db = Σ dmean.

    dmean, dvar, saved: as in `fixed_norm_backward`.
    """
    a, scale, centred, var = saved
    da = channel_dots(dmean, centred)
    if dvar is not None:
        da += 2 * a * channel_dots(dvar, var)
    return da * scale, channel_sums(dmean)
