"""Pooling over k by k windows that do not overlap, batch last; rows and columns left over at the edge are dropped."""

from typing import Any

from npsnn.backend import Array, namespace
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
    shape = mean.shape
    h, w = shape[0] // k * k, shape[2] // k * k
    constant = None
    if var is not None and not any(var.strides) and not rule.mean_uses_var:
        constant, var = var[:1, :1, :1, :1], None  # whoever wins, brings the same along
    row: Channels = (mean[:h, :, :w], None if var is None else var[:h, :, :w])
    rows = [_every(row, 0, i, k) for i in range(k)]
    (mean, var), row_steps = _fold(rows, rule)
    row_shape = mean.shape
    columns = [_every((mean, var), 2, j, k) for j in range(k)]
    (mean, var), column_steps = _fold(columns, rule)
    if constant is not None:
        var = namespace(mean).broadcast_to(constant, mean.shape)
    return mean, var, (shape, row_shape, row_steps, column_steps, constant is not None)


def max_pool_backward(dmean: Array, dvar: Array | None, saved: Any, k: int, rule: Rule) -> Channels:
    """Cotangents of the input's moments; None is a zero cotangent, as argument and as result.

    A variance that is one number seen everywhere has that number's cotangent: the sum, (1, 1, 1, 1).

    dmean, dvar: cotangents of the output's moments.
    saved: the last result of `max_pool`.
    k, rule: as in `max_pool`.
    """
    shape, row_shape, row_steps, column_steps, constant = saved
    if constant and dvar is not None:
        dmean_in, _ = max_pool_backward(dmean, None, saved, k, rule)
        return dmean_in, dvar.sum(keepdims=True)
    xp = namespace(dmean)
    h, w = shape[0] // k * k, shape[2] // k * k
    has_var = dvar is not None or rule.mean_uses_var
    # empty_like: in the order in memory that the cotangent has, which the input's is likely to be
    row = [xp.empty_like(dmean, shape=row_shape) if wanted else None for wanted in (True, has_var)]
    _unfold((dmean, dvar), column_steps, [_every(tuple(row), 2, j, k) for j in range(k)], rule)
    whole = (h, w) == (shape[0], shape[2])
    new = xp.empty_like if whole else xp.zeros_like
    dx = [new(dmean, shape=shape) if wanted else None for wanted in (True, has_var)]
    inner = tuple(None if d is None else d[:h, :, :w] for d in dx)
    _unfold((row[0], row[1]), row_steps, [_every(inner, 0, i, k) for i in range(k)], rule)
    return dx[0], dx[1]


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


def _unfold(g: Any, steps: list[Any], outs: list[Channels], rule: Rule) -> None:
    xp = namespace(g[0])
    if not steps:
        for out, d in zip(outs[0], g, strict=True):
            if out is not None:
                out[...] = 0 if d is None else d
    for j in range(len(steps), 0, -1):
        first = outs[0] if j == 1 else tuple(None if o is None else xp.empty(o.shape, o.dtype) for o in outs[0])
        rule.maximum_backward(g[0], g[1], steps[j - 1], (first[0], first[1], outs[j][0], outs[j][1]))
        g = first


def sum_pool(x: Array, k: int) -> Array:
    """Sums over the windows: (H, C, W, N) -> (H // k, C, W // k, N).

    k: side of a window, in pixels.
    """
    h, w = x.shape[0] // k * k, x.shape[2] // k * k
    x = x[:h, :, :w]
    row = sum(x[i::k] for i in range(k))
    return sum(row[:, :, j::k] for j in range(k))


def sum_pool_backward(dy: Array, k: int, shape: tuple[int, ...]) -> Array:
    """Cotangent of the input, of the shape `shape`: every pixel of a window gets the cotangent of its window.

    dy: cotangent of the sums.
    k: side of a window, in pixels.
    shape: (H, C, W, N).
    """
    xp = namespace(dy)
    dx = xp.zeros(shape, dy.dtype)
    h, w = shape[0] // k * k, shape[2] // k * k
    inner = dx[:h, :, :w]
    for i in range(k):
        for j in range(k):
            inner[i::k, :, j::k] = dy
    return dx
