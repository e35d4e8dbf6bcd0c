"""The channels of images (H, C, W, N) and vectors (C, N): a number for each channel, and sums over everything else."""

from collections.abc import Callable
from functools import cache
from typing import Any

from npsnn.backend import Array, fused, namespace, on_gpu

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


def channel_squares(x: Array, m: Array) -> Array:
    """Σ (x - m)² within each channel; arguments as of `channel_dots`."""
    if on_gpu(x):
        return summed(_squares, x, m)
    x = centred(x, m)
    return channel_dots(x, x)


def summed(over: Callable[[Any], Callable[..., Array]], x: Array, *others: Array) -> Array:
    """Sums for each channel on a GPU, (C,).

    over: from the axes that are summed over to the function of x and the others that sums.
    x: of full shape.
    """
    if x.ndim == 2:
        return over(1)(x, *others)
    if x.size <= FEW * x.shape[1]:
        return over((0, 2, 3))(x, *others)
    return over((2, 3))(x, *others).sum(axis=0)


def _sums(axes: Any) -> Callable[..., Array]:
    return lambda x: x.sum(axis=axes)


@cache
def _dots(axes: Any) -> Callable[..., Array]:
    @fused
    def dots(x: Array, y: Array, m: Array) -> Array:
        return namespace(x, y).sum(x * centred(y, m), axis=axes)

    return dots


@cache
def _squares(axes: Any) -> Callable[..., Array]:
    @fused
    def squares(x: Array, m: Array) -> Array:
        apart = centred(x, m)
        return namespace(x).sum(apart * apart, axis=axes)

    return squares
