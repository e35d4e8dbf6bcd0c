"""The channels of images (H, C, W, N) and vectors (C, N): a number for each channel, and sums over everything else."""

from collections.abc import Callable
from functools import cache
from typing import Any

from npsnn.backend import Array, Later, fused, namespace, on_gpu

FEW = 4096
"""So many numbers of a channel a GPU sums up in one kernel; more keep it busy in two kernels only (estimated)."""


def per_channel(values: Array, like: Array) -> Array:
    """A view of one number a channel that spreads over `like`: (C,) -> (C, 1, 1), or (C, 1) for vectors."""
    return values.reshape(-1, *(1,) * (2 if like.ndim == 4 else 1))


def centred(x: Array, m: Array) -> Array:
    """x - m, or x where m is None.

    A CPU subtracts once and keeps the array. In a fused function a subtraction is nothing, and an array is memory.
    """
    return x if m is None else x - m


def channel_sums(x: Array) -> Array:
    """The sum of each channel, whatever the order in memory: (H, C, W, N) or (C, N) -> (C,)."""
    if on_gpu(x):
        return summed(_sums, x)
    return x.sum(axis=1) if x.ndim == 2 else namespace(x).einsum("hcwn->hc", x).sum(axis=0)


def channel_dots(x: Array, y: Array, m: Array = None) -> Array:
    """Σ x∘(y - m) within each channel: (H, C, W, N) or (C, N), twice -> (C,).

    No array of the products is made. CuPy's einsum would make products of vectors, which take longer than an array.

    m: numbers of the shape that `per_channel` gives; None for 0.
    """
    if on_gpu(x, y):
        return summed(_dots, x, y, m)
    xp, y = namespace(x, y), centred(y, m)
    return xp.einsum("hcwn,hcwn->hc", x, y).sum(axis=0) if x.ndim == 4 else xp.einsum("cn,cn->c", x, y)


def channel_sums_and_dots(x: Array, y: Array, m: Array = None) -> tuple[Array, Array]:
    """`channel_sums` of x and `channel_dots`, for which a GPU reads x once: they are the parts of one complex sum.

    x, y, m: as in `channel_dots`.
    """
    if on_gpu(x, y):
        both = summed(_sums_and_dots, x, y, m)
        return both.real, both.imag
    return channel_sums(x), channel_dots(x, y, m)


def channel_squares(x: Array, m: Array) -> Array:
    """Σ (x - m)² within each channel; arguments as of `channel_dots`."""
    if on_gpu(x):
        return summed(_squares, x, m)
    x = centred(x, m)
    return channel_dots(x, x)


def summed(over: Callable[[Any], Callable[..., Array]], x: Array, *others: Array) -> Array:
    """Sums for each channel on a GPU, (C,).

    A large image takes two kernels: the sums of each channel and row, a block of threads for each, and the sums of the
    rows' sums. CuPy (14.2) reads with a stride where the numbers of an argument lie in the order of the results, as the
    numbers of channels do: neighbouring threads compute neighbouring results then. So rows are the results' last axis
    where there are numbers of channels, and channels have gaps where there are no rows.

    over: from the axes that are summed over to the function of x and the others that sums.
    x: of full shape.
    others: of full shape, of the shape that `per_channel` gives, or None.
    """
    rows = x.ndim == 4 and x.shape[0] > 1 and x.size > FEW * x.shape[1]
    if not rows:
        return over(1 if x.ndim == 2 else (0, 2, 3))(*(_apart(a, x.shape) for a in (x, *others)))
    if not others and not isinstance(x, Later):
        return over((2, 3))(x).sum(axis=0)
    return over((2, 3))(*map(_rows_last, (x, *others))).sum(axis=1)


def _apart(a: Array | None, shape: tuple[int, ...]) -> Array | None:
    """The argument, with gaps where it has one number for each channel."""
    if isinstance(a, Later):
        return a.mapped(lambda own: _apart(own, shape))
    return a if a is None or a.shape == shape else with_gaps(a)


def _rows_last(a: Array | None) -> Array | None:
    """(H, C, W, N) -> (C, H, W, N), and (C, 1, 1) -> (C, 1, 1, 1)."""
    if a is None:
        return None
    if isinstance(a, Later):
        return a.mapped(_rows_last)
    return a.swapaxes(0, 1) if a.ndim == 4 else a[:, None]


def with_gaps(values: Array, count: int | None = None) -> Array:
    """The numbers, divided by count, with room for another one after each: (C, ...) -> (C, ...).

    count: None divides by nothing, and gives the argument itself where it has gaps.
    """
    if count is None and values.strides[0] != values.itemsize:
        return values
    xp = namespace(values)
    gaps = xp.empty((len(values), 2), values.dtype)[:, 0].reshape(values.shape)
    if count is None:
        gaps[...] = values
    else:
        xp.divide(values, count, out=gaps)
    return gaps


def _sums(axes: Any) -> Callable[..., Array]:
    return lambda x: _sum_of_later(axes)(x) if isinstance(x, Later) else x.sum(axis=axes)


@cache
def _sum_of_later(axes: Any) -> Callable[..., Array]:
    @fused
    def sums(x: Array) -> Array:
        return namespace(x).sum(x, axis=axes)

    return sums


@cache
def _dots(axes: Any) -> Callable[..., Array]:
    @fused
    def dots(x: Array, y: Array, m: Array) -> Array:
        return namespace(x, y).sum(x * centred(y, m), axis=axes)

    return dots


@cache
def _sums_and_dots(axes: Any) -> Callable[..., Array]:
    @fused
    def sums_and_dots(x: Array, y: Array, m: Array) -> Array:
        # CuPy fuses one sum, of one array
        return namespace(x, y).sum(x + x * centred(y, m) * 1j, axis=axes)

    return sums_and_dots


@cache
def _squares(axes: Any) -> Callable[..., Array]:
    @fused
    def squares(x: Array, m: Array) -> Array:
        apart = centred(x, m)
        return namespace(x).sum(apart * apart, axis=axes)

    return squares
