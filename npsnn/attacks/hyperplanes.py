"""The nearest point of a hyperplane within the box of pixels, exactly, in Linf, L2 and L1.

Source: Croce and Hein 2020 (arXiv 1907.02044), Sec. 3.1, whose projections find the same points by sorting.
"""

from collections.abc import Callable

import numpy as np

from npsnn.attacks.balls import _flat
from npsnn.backend import Array, namespace
from npsnn.validate import check_choice

LEAST = 1e-100
"""A weight below this part of the largest counts as 0: what it could move is far below rounding."""
FOREVER = 1e200
"""Time enough for every coordinate to arrive, and finite when a weight multiplies it."""


def onto_plane(norm: str, x: Array, w: Array, above: Array) -> Array:
    """The shortest step of each image to its hyperplane {v: w·v = b} that stays in the box [0, 1]; float64, like x.

    norm: "linf", "l2" or "l1", in which the step is shortest.
    x: (N, C, H, W) in [0, 1].
    w: normal of each hyperplane, of the shape of x and of any scale.
    above: w·x - b, (N,).
    Where the box does not reach the plane, the step is to the corner nearest to it. Where w is 0 there is no plane, and
    where w or `above` is not finite none is known: the step is 0.
    """
    check_choice("norm", norm, tuple(_STEPS))
    xp = namespace(x)
    w, above = _flat(w).astype(xp.float64), above.astype(xp.float64)
    largest = xp.abs(w).max(axis=1)
    known = (largest > 0) & xp.isfinite(largest) & xp.isfinite(above)
    scale = xp.where(known, largest, 1)
    w, above = xp.where(known[:, None], w, 0) / scale[:, None], xp.where(known, above, 0) / scale
    w = xp.where(xp.abs(w) < LEAST, 0, w) * xp.sign(above)[:, None]
    pixels = _flat(x).astype(xp.float64)
    room = xp.where(w > 0, pixels, xp.where(w < 0, 1 - pixels, 0))
    step = _STEPS[norm](xp.abs(w), room, xp.abs(above))
    return (-xp.sign(w) * step).reshape(x.shape)


def _capped(a: Array, room: Array, speed: Array, height: Array) -> Array:
    """min(t speed, room), with the t at which Σ a min(t speed, room) = height; the whole room where there is none.

    The sum is concave in t and linear between the times at which a coordinate arrives at its edge.
    """
    xp = namespace(a)
    speed = xp.where(a > 0, speed, 1)
    time = (_by_steps if xp is np else _by_sorting)(a, room, speed, height)
    return xp.minimum(time[:, None] * speed, room)


def _by_steps(a: Array, room: Array, speed: Array, height: Array) -> Array:
    """The time, by Newton's method from 0 on, which finds the piece of a concave function without overshooting.

    A few passes suffice where sorting takes the time of thirty. An image that is done stays as it is, so that no image
    depends on how long others take.
    """
    full, slope, time = a * room, a * speed, np.zeros(len(a))
    while True:
        moving = time[:, None] * speed < room
        rate = (slope * moving).sum(axis=1)
        left = height - (full * ~moving).sum(axis=1)
        later = np.where(rate > 0, left / np.where(rate > 0, rate, 1), FOREVER)
        if (later <= time).all():
            return time
        time = np.maximum(time, later)


def _by_sorting(a: Array, room: Array, speed: Array, height: Array) -> Array:
    """The time, by the order in which coordinates arrive; a GPU waits for nobody here."""
    xp = namespace(a)
    arrival = room / speed
    order = xp.argsort(arrival, axis=1)
    arrival, full, slope = (xp.take_along_axis(v, order, axis=1) for v in (arrival, a * room, a * speed))
    arrived = xp.cumsum(full, axis=1) - full
    moving = xp.cumsum(slope[:, ::-1], axis=1)[:, ::-1]
    # the first coordinate at whose arrival the sum is `height` or more arrives last of those that matter
    before = (arrived + arrival * moving < height[:, None]).sum(axis=1)
    last = xp.minimum(before, a.shape[1] - 1)[:, None]
    start, rate = (xp.take_along_axis(v, last, axis=1)[:, 0] for v in (arrived, moving))
    beyond = (before == a.shape[1]) | (rate <= 0)
    return xp.where(beyond, FOREVER, (height - start) / xp.where(beyond, 1, rate))


def _linf(a: Array, room: Array, height: Array) -> Array:
    return _capped(a, room, namespace(a).ones(a.shape), height)


def _l2(a: Array, room: Array, height: Array) -> Array:
    return _capped(a, room, a, height)


def _l1(a: Array, room: Array, height: Array) -> Array:
    """The coordinates of the largest weights move first, each its whole room, the last one a part."""
    xp = namespace(a)
    order = xp.argsort(-a, axis=1)
    weight, most = (xp.take_along_axis(values, order, axis=1) for values in (a, room))
    left = height[:, None] - (xp.cumsum(weight * most, axis=1) - weight * most)
    step = xp.clip(left / xp.where(weight > 0, weight, 1), 0, most)
    return xp.take_along_axis(step, xp.argsort(order, axis=1), axis=1)


_STEPS: dict[str, Callable[[Array, Array, Array], Array]] = {"linf": _linf, "l2": _l2, "l1": _l1}
