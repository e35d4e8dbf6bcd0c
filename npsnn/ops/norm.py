"""Normalisation of each channel, by the batch's own statistics or by fixed ones, batch last: (H, C, W, N) or (C, N)."""

from collections.abc import Callable
from typing import Any

from npsnn.backend import Array, fused, later, namespace, on_gpu
from npsnn.ops.channels import (
    centred,
    channel_dots,
    channel_squares,
    channel_sums,
    channel_sums_and_dots,
    per_channel,
    with_gaps,
)


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
    sums = total(channel_sums(x))
    mean = with_gaps(sums, count) if on_gpu(sums) else sums / count
    x, m = _apart(x, per_channel(mean, x))
    squares = total(channel_squares(x, m))
    scale, a, unbiased = _scales(squares, w, epsilon, count, count - 1)
    y = later(_scaled, x, m, per_channel(a, x), per_channel(b, x))
    return y, mean, unbiased, (x, m, scale, count)


def _apart(x: Array, m: Array) -> tuple[Array, Array | None]:
    """x and m, whose difference is wanted many times: a GPU takes it in each kernel, a CPU once, and m is None then."""
    return (x, m) if on_gpu(x) else (x - m, None)


@fused
def _scales(squares: Array, w: Array, epsilon: float, count: int, one_less: int) -> tuple[Array, Array, Array]:
    """1/√(v + epsilon), its product with w, and the unbiased variance."""
    scale = 1 / namespace(squares).sqrt(squares / count + epsilon)
    return scale, w * scale, squares / one_less


@fused
def _scaled(x: Array, m: Array, a: Array, b: Array) -> Array:
    """a (x - m) + b."""
    y = centred(x, m) * a
    y += b
    return y


@fused
def moved_averages(mean: Array, var: Array, new_mean: Array, new_var: Array, momentum: float) -> tuple[Array, Array]:
    """Averages after one more batch, old + momentum (new - old), of the mean and of the variance.

    mean, var: before, (C,).
    new_mean, new_var: of the batch.
    momentum: weight of the batch, in [0, 1].
    """
    return mean + momentum * (new_mean - mean), var + momentum * (new_var - var)


def batch_norm_weight_backward(dy: Array, saved: Any) -> tuple[Array, Array]:
    """Cotangents of w and b from this part of the batch, (C,) each.

    dy: cotangent of the output.
    saved: the last result of `batch_norm`.
    """
    x, m, scale, _ = saved
    db, dots = channel_sums_and_dots(dy, x, m)
    return dots * scale, db


def batch_norm_backward(dy: Array, w: Array, dw: Array, db: Array, saved: Any) -> Array:
    """Cotangent of x, which moves the statistics too: w s (dy - db/n - s (x - m) dw/n), s = 1/√(v + epsilon).

    n is the number of numbers that the batch has in a channel.

    dy: cotangent of the output.
    w: (C,).
    dw, db: sums over the batch of what `batch_norm_weight_backward` gave, (C,).
    saved: the last result of `batch_norm`.
    """
    x, m, scale, count = saved
    factors = _factors(w, scale, dw, db, count)
    return _without_statistics(dy, x, m, *(per_channel(values, dy) for values in factors))


@fused
def _factors(w: Array, scale: Array, dw: Array, db: Array, count: int) -> tuple[Array, Array, Array]:
    share = w * scale / count
    return w * scale, share * scale * dw, share * db


@fused
def _without_statistics(dy: Array, x: Array, m: Array, a: Array, b: Array, c: Array) -> Array:
    """a dy - b (x - m) - c."""
    dx = dy * a
    dx -= centred(x, m) * b
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
    a, scale = _fixed_scales(w, v, epsilon)
    x, shift = _apart(mean, per_channel(m, mean))
    spread = [per_channel(values, mean) for values in (a, b)]
    saved = a, scale, x, shift, var
    if var is None:
        return later(_scaled, x, shift, *spread), None, saved
    y, v = _scaled_with_variance(x, var, shift, *spread)
    return y, v, saved


@fused
def _fixed_scales(w: Array, v: Array, epsilon: float) -> tuple[Array, Array]:
    scale = 1 / namespace(w, v).sqrt(v + epsilon)
    return w * scale, scale


@fused
def _scaled_with_variance(x: Array, var: Array, m: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return _scaled(x, m, a, b), var * (a * a)


def fixed_norm_backward(dmean: Array, dvar: Array | None, saved: Any) -> tuple[Array, Array | None]:
    """Cotangents of the input's moments, a dmean and a² dvar; None stays None.

    dmean, dvar: cotangents of the output's moments.
    saved: the last result of `fixed_norm`.
    """
    a = per_channel(saved[0], dmean)
    return (later(_times, dmean, a), None) if dvar is None else _both_scaled(dmean, dvar, a)


@fused
def _times(d: Array, a: Array) -> Array:
    return d * a


@fused
def _both_scaled(dmean: Array, dvar: Array, a: Array) -> tuple[Array, Array]:
    return dmean * a, dvar * (a * a)


def fixed_norm_weight_backward(dmean: Array, dvar: Array | None, saved: Any) -> tuple[Array, Array]:
    """Cotangents of w and b, (C,) each: dw = Σ (dmean (mean - m) + 2 a dvar var)/√(v + epsilon), db = Σ dmean.

    dmean, dvar, saved: as in `fixed_norm_backward`.
    """
    a, scale, x, m, var = saved
    db, da = channel_sums_and_dots(dmean, x, m)
    if dvar is not None:
        da += 2 * a * channel_dots(dvar, var)
    return da * scale, db
