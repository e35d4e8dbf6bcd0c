"""Pooling over k by k windows, batch last; rows and columns left over at the edge are dropped.

Windows do not overlap, but in `overlapping_max_pool`.
"""

from collections.abc import Callable
from functools import cache
from math import isqrt
from typing import Any

from npsnn.backend import Array, fused, namespace, on_gpu, settled
from npsnn.ops.conv import pad_image
from npsnn.ops.gaussian import Rule

Channels = tuple[Array, Array | None]


def max_pool(mean: Array, var: Array | None, k: int, rule: Rule) -> tuple[Array, Array | None, Any]:
    """Moments of the largest of each window, (H // k, C, W // k, N), and what the backward pass needs.

    Pairwise maxima are taken under `rule`, first over rows, then over columns: a 2 by 2 window is a balanced tree of
    three pairs. Under a rule that picks a winner, a tie goes to the smallest column and then to the smallest row.

    mean: (H, C, W, N).
    var: the same shape, or None.
    k: side of a window, in pixels.
    rule: of the maximum of two.
    Source: noise paper Sec. 2.1 (audit N17) for the winner's mean; extension E2 for the exact rule.
    """
    shape, constant = mean.shape, None
    h, w = shape[0] // k * k, shape[2] // k * k
    if var is not None and not any(var.strides) and not rule.mean_uses_var:
        constant, var = var[:1, :1, :1, :1], None  # whoever wins, brings the same along
    inner = mean[:h, :, :w], None if var is None else var[:h, :, :w]
    (mean, var), saved = (_by_windows if _in_one_kernel(mean, k) else _by_rows)(inner, k, rule)
    if constant is not None:
        var = namespace(mean).broadcast_to(constant, mean.shape)
    return mean, var, (shape, saved, constant is not None)


def max_pool_backward(dmean: Array, dvar: Array | None, saved: Any, k: int, rule: Rule) -> Channels:
    """Cotangents of the input's moments; None is a zero cotangent, as argument and as result.

    A variance that is one number seen everywhere has that number's cotangent: the sum, (1, 1, 1, 1).

    dmean, dvar: cotangents of the output's moments; that of the mean may be `npsnn.backend.Later`.
    saved: the last result of `max_pool`.
    k, rule: as in `max_pool`.
    """
    shape, steps, constant = saved
    if constant and dvar is not None:
        dmean_in, _ = max_pool_backward(dmean, None, saved, k, rule)
        return dmean_in, dvar.sum(keepdims=True)
    h, w = shape[0] // k * k, shape[2] // k * k
    has_var = dvar is not None or rule.mean_uses_var
    whole = (h, w) == (shape[0], shape[2])
    dx: list[Any] = [_unset(dmean, shape, whole) if wanted else None for wanted in (True, has_var)]
    inner = dx[0][:h, :, :w], None if dx[1] is None else dx[1][:h, :, :w]
    put = _put_by_windows if _in_one_kernel(dmean, k) else _put_by_rows
    put((dmean, dvar), steps, inner, k, rule)
    return dx[0], dx[1]


def _unset(like: Array, shape: tuple[int, ...], whole: bool) -> Array:
    """Room for a cotangent, zeros unless the windows are the whole image; on a CPU in the order in memory of like."""
    xp = namespace(like)
    if on_gpu(like):
        return (xp.empty if whole else xp.zeros)(shape, like.dtype)
    return (xp.empty_like if whole else xp.zeros_like)(like, shape=shape)


def _by_rows(inner: Channels, k: int, rule: Rule) -> tuple[Channels, Any]:
    """The largest of each window, of whole rows at a time, which suits a CPU's memory."""
    row, row_steps = _fold([_every(inner, 0, i, k) for i in range(k)], rule)
    best, column_steps = _fold([_every(row, 2, j, k) for j in range(k)], rule)
    return best, (row[0].shape, row_steps, column_steps)


def _put_by_rows(g: Channels, saved: Any, inner: Channels, k: int, rule: Rule) -> None:
    shape, row_steps, column_steps = saved
    g = settled(g[0]), g[1]
    xp = namespace(g[0])
    row = tuple(None if d is None else xp.empty_like(g[0], shape=shape) for d in inner)

    def new(like: Array) -> Array:
        return xp.empty(like.shape, like.dtype)

    _unfold(g, column_steps, [_every(row, 2, j, k) for j in range(k)], rule, new)
    _unfold(row, row_steps, [_every(inner, 0, i, k) for i in range(k)], rule, new)


LARGEST_WINDOW, LARGEST_SUM = 3, 6
"""The largest windows whose pixels are few enough to be arguments of one kernel."""


def _in_one_kernel(x: Array, k: int) -> bool:
    return 1 < k <= LARGEST_WINDOW and on_gpu(x)


def _by_windows(inner: Channels, k: int, rule: Rule) -> tuple[Channels, Any]:
    """The largest of each window in one kernel of a GPU."""
    pixels = _pixels(inner, k)
    mean, *found = _kernels(k, rule)[0](*pixels)
    var = None if inner[1] is None else found.pop(0)
    return (mean, var), (pixels if rule.mean_uses_var else found)


def _put_by_windows(g: Channels, saved: Any, inner: Channels, k: int, rule: Rule) -> None:
    _kernels(k, rule)[1](*g, *saved, *_pixels(inner, k))


def _pixels(channels: Channels, k: int) -> list[Array]:
    """The means of the k^2 pixels of all windows, column by column, and then their variances."""
    found = [_every(_every(channels, 2, j, k), 0, i, k) for j in range(k) for i in range(k)]
    return [mean for mean, _ in found] + [var for _, var in found]


@cache
def _kernels(k: int, rule: Rule) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Both directions for whole windows, with pixels as `_pixels` has them.

    What the exact rule saves of a window is more than its pixels: the backward pass computes it again from the pixels.
    Of the others it takes who won each comparison.
    """

    def tree(pixels: Any) -> tuple[Channels, list[Any]]:
        """The largest, and what its comparisons saved: of each column, and then among the columns."""
        parts = list(zip(pixels[: k * k], pixels[k * k :], strict=True))
        columns = [_fold(parts[j * k : (j + 1) * k], rule) for j in range(k)]
        best, across = _fold([column for column, _ in columns], rule)
        return best, [step for _, steps in columns for step in steps] + across

    @fused
    def max_pool_windows(*pixels: Array) -> tuple[Array, ...]:
        (mean, var), steps = tree(pixels)
        found = (mean,) if var is None else (mean, var)
        return found if rule.mean_uses_var else (*found, *steps)

    @fused
    def max_pool_windows_backward(dmean: Array, dvar: Array, *rest: Array) -> None:
        saved, outs = rest[: -2 * k * k], rest[-2 * k * k :]
        steps = tree(saved)[1] if rule.mean_uses_var else list(saved)
        parts = list(zip(outs[: k * k], outs[k * k :], strict=True))
        columns = [tuple(None if d is None else d.copy() for d in parts[j * k]) for j in range(k)]
        _unfold((dmean, dvar), steps[k * (k - 1) :], columns, rule, lambda like: like.copy())
        for j, column in enumerate(columns):
            own = slice(j * (k - 1), (j + 1) * (k - 1))
            _unfold(column, steps[own], parts[j * k : (j + 1) * k], rule, lambda like: like.copy())

    return max_pool_windows, max_pool_windows_backward


def _every(channels: Any, axis: int, start: int, k: int) -> Channels:
    where = (slice(None),) * axis + (slice(start, None, k),)
    mean, var = channels
    return mean[where], None if var is None else var[where]


def _fold(parts: list[Channels], rule: Rule) -> tuple[Channels, list[Any]]:
    best, steps = parts[0], []
    for part in parts[1:]:
        mean, var, saved = rule.maximum(best[0], best[1], part[0], part[1])
        best = (mean, var)
        steps.append(saved)
    return best, steps


def _unfold(g: Any, steps: list[Any], outs: Any, rule: Rule, new: Callable[[Array], Array]) -> None:
    """Write what `_fold` takes back from g to outs; `new` makes an array like another, of any content."""
    if not steps:
        for out, d in zip(outs[0], g, strict=True):
            if out is not None:
                out[...] = 0 if d is None else d
    for j in range(len(steps), 0, -1):
        first = outs[0] if j == 1 else tuple(None if o is None else new(o) for o in outs[0])
        rule.maximum_backward(g[0], g[1], steps[j - 1], (first[0], first[1], outs[j][0], outs[j][1]))
        g = first


NEVER = 40
"""At so many standard deviations below all others a pixel wins with the probability 0 of every precision."""


def overlapping_max_pool(
    mean: Array, var: Array | None, k: int, stride: int, padding: int, rule: Rule
) -> tuple[Array, Array | None, Any]:
    """Moments of the largest of each window, (OH, C, OW, N), OH = (H + 2 padding - k) // stride + 1, as `max_pool`.

    The windows are laid side by side and pooled as windows that do not overlap. What is padded is so far below every
    pixel that it never wins. Pixels count as independent, also those that two windows share.

    mean: (H, C, W, N).
    var: the same shape, or None.
    k: side of a window, in pixels.
    stride: pixels from one window to the next.
    padding: pixels around the image, at most k // 2.
    rule: of the maximum of two.
    Source: He et al. 2016, Table 1; the order and the ties are those of `max_pool`.
    """
    xp, (h, c, w, n) = namespace(mean), mean.shape
    constant = var is not None and not any(var.strides) and not rule.mean_uses_var
    lowest = mean.min()
    lowest = lowest - xp.abs(lowest) - 1 - (0 if var is None else NEVER * xp.sqrt(2 * var.max()))
    side = _apart(_filled(mean, padding, lowest), k, stride)
    if var is not None:
        own = var[:1, :1, :1, :1]
        var = xp.broadcast_to(own, side.shape) if constant else _apart(pad_image(var, padding), k, stride)
    m, v, saved = max_pool(side, var, k, rule)
    return m, v, ((h + 2 * padding, c, w + 2 * padding, n), saved)


def overlapping_max_pool_backward(
    dmean: Array, dvar: Array | None, saved: Any, k: int, stride: int, padding: int, rule: Rule
) -> Channels:
    """Cotangents of the input's moments, as of `max_pool_backward`; a pixel of two windows has the sum of both.

    dmean, dvar: cotangents of the output's moments.
    saved: the last result of `overlapping_max_pool`.
    k, stride, padding, rule: as in `overlapping_max_pool`.
    """
    shape, inner = saved
    found = [
        d if d is None or d.size == 1 else _together(d, shape, k, stride)
        for d in max_pool_backward(dmean, dvar, inner, k, rule)
    ]
    h, w = shape[0] - padding, shape[2] - padding
    dx, dv = (d if d is None or d.size == 1 else d[padding:h, :, padding:w] for d in found)
    return dx, dv


def _filled(x: Array, padding: int, value: Array) -> Array:
    """The image with the value around it."""
    if not padding:
        return x
    h, _, w, _ = x.shape
    padded = pad_image(x, padding)
    for edge in (slice(padding), slice(h + padding, None)):
        padded[edge] = value
    for edge in (slice(padding), slice(w + padding, None)):
        padded[:, :, edge] = value
    return padded


def _apart(x: Array, k: int, stride: int) -> Array:
    """The windows side by side: (H, C, W, N) -> (OH k, C, OW k, N)."""
    xp, (h, c, w, n) = namespace(x), x.shape
    oh, ow = (h - k) // stride + 1, (w - k) // stride + 1
    tall = xp.empty((oh * k, c, w, n), x.dtype)
    for i in range(k):
        tall[i::k] = x[_each(i, oh, stride)]
    side = xp.empty((oh * k, c, ow * k, n), x.dtype)
    for j in range(k):
        side[:, :, j::k] = tall[:, :, _each(j, ow, stride)]
    return side


def _together(d: Array, shape: tuple[int, ...], k: int, stride: int) -> Array:
    """The adjoint of `_apart`: the sum over the windows that hold a pixel."""
    xp, (h, c, w, n) = namespace(d), shape
    oh, ow = (h - k) // stride + 1, (w - k) // stride + 1
    tall, dx = xp.zeros((oh * k, c, w, n), d.dtype), xp.zeros(shape, d.dtype)
    for j in range(k):
        tall[:, :, _each(j, ow, stride)] += d[:, :, j::k]
    for i in range(k):
        dx[_each(i, oh, stride)] += tall[i::k]
    return dx


def _each(first: int, count: int, stride: int) -> slice:
    """So many places, `stride` apart."""
    return slice(first, first + stride * (count - 1) + 1, stride)


def sum_pool(x: Array, k: int) -> Array:
    """Sums over the windows: (H, C, W, N) -> (H // k, C, W // k, N).

    k: side of a window, in pixels.
    """
    h, w = x.shape[0] // k * k, x.shape[2] // k * k
    x = x[:h, :, :w]
    if on_gpu(x) and k <= LARGEST_SUM:
        return _sum(*_pixels((x, None), k)[: k * k])
    row = sum(x[i::k] for i in range(k))
    return sum(row[:, :, j::k] for j in range(k))


@fused
def _sum(*pixels: Array) -> Array:
    k = isqrt(len(pixels))
    return sum(sum(pixels[j * k : (j + 1) * k]) for j in range(k))


def sum_pool_backward(dy: Array, k: int, shape: tuple[int, ...]) -> Array:
    """Cotangent of the input, of the shape `shape`: every pixel of a window gets the cotangent of its window.

    dy: cotangent of the sums.
    k: side of a window, in pixels.
    shape: (H, C, W, N).
    """
    (h, c, w, n), xp = dy.shape, namespace(dy)
    whole = (h * k, w * k) == (shape[0], shape[2])
    dx = (xp.empty if whole else xp.zeros)(shape, dy.dtype)
    dx[: h * k, :, : w * k].reshape(h, k, c, w, k, n)[...] = dy[:, None, :, :, None]
    return dx
