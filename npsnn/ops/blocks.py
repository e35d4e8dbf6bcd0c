"""Images cut into blocks and put together in another order: a random permutation of pixels."""

from npsnn.backend import Array, constant, namespace


def offsets(uniform: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """By how much each axis is turned that is cut in two parts, which change places or stay.

    uniform: numbers on [0, 1), (2 axes, 1): for each axis its cut, and whether the parts change places (below 1/2).
    sizes: of the axes.
    Returns whole numbers in the place of the axes' numbers, each (1,), in the memory of `uniform`.
    """
    xp = namespace(uniform)
    cuts = [xp.floor(uniform[2 * i] * size) for i, size in enumerate(sizes)]
    return tuple((cut * (uniform[2 * i + 1] < 0.5)).astype(xp.int64) for i, cut in enumerate(cuts))


def turned(x: Array, by: tuple[Array, ...]) -> Array:
    """The images whose pixel (h, w) is the pixel ((h + by_0) mod H, (w + by_1) mod W) of x.

    Two parts of an axis of n that are cut at c and change places are this with by = c. `turned(x, -by)` is the inverse,
    and the adjoint.

    x: (..., H, W).
    by: for each of the two axes, whole numbers (1,).
    """
    xp = namespace(x)
    for axis, offset in zip((-2, -1), by, strict=True):
        size = x.shape[axis]
        x = xp.take(x, (constant(range(size), "int64", x) + offset) % size, axis=axis)
    return x
