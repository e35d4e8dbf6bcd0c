"""The L1 ball cut with the box of pixels: its projection, exact by sorting, its directions and its random points.

Source: Croce and Hein 2021 (arXiv 2103.01208), Sec. 2 and Algorithm 1. Images are (N, C, H, W), flat ones (N, d).
"""

from math import prod

from npsnn.backend import Array, namespace
from npsnn.streams import Stream

SHARE = 0.05
"""The part of the entries that a step of a given length is spread over."""


def onto_ball(delta: Array, x: Array, eps: float) -> Array:
    """The change nearest to delta, in L2, of those within eps in L1 that leave x in the box; float64, like delta.

    With r the room that a change of its sign has, it is d = sign(delta) min(max(|delta| - s, 0), r) with the least
    s >= 0 for which |d|_1 <= eps. The sum is piecewise linear in s and bends at |delta| and at |delta| - r.
    """
    xp = namespace(delta)
    flat, pixels = (xp.ascontiguousarray(a, xp.float64).reshape(len(x), prod(x.shape[1:])) for a in (delta, x))
    size, room = xp.abs(flat), xp.where(flat > 0, 1 - pixels, pixels)
    within = xp.minimum(size, room).sum(axis=1) <= eps
    # from the largest bend down: entries begin to move at |delta| and have no more room at |delta| - r
    bends = xp.concatenate([size, xp.maximum(size - room, 0)], axis=1)
    order = xp.argsort(-bends, axis=1)
    bends = xp.take_along_axis(bends, order, axis=1)
    moving = xp.cumsum(xp.where(order < flat.shape[1], 1, -1), axis=1)
    gained = xp.cumsum(moving[:, :-1] * (bends[:, :-1] - bends[:, 1:]), axis=1)
    at = (gained < eps).sum(axis=1)[:, None]
    at = xp.minimum(at, gained.shape[1] - 1)
    before = xp.where(at > 0, xp.take_along_axis(gained, xp.maximum(at - 1, 0), axis=1), 0)
    slope = xp.maximum(xp.take_along_axis(moving, at, axis=1), 1)
    least = xp.take_along_axis(bends, at, axis=1) - (eps - before) / slope
    least = xp.where(within[:, None], 0, xp.maximum(least, 0))
    moved = xp.sign(flat) * xp.minimum(xp.maximum(size - least, 0), room)
    return moved.reshape(delta.shape)


def along(gradient: Array, count: Array | int) -> Array:
    """The change of L1 norm 1 that goes equally far in each of the `count` entries of the steepest slope; 0 for none.

    gradient: (N, C, H, W). count: at least 1, one number or (N,). Entries without a slope do not move, and entries
    that are as steep as the last of the `count` do.
    """
    xp = namespace(gradient)
    flat = xp.ascontiguousarray(gradient).reshape(len(gradient), prod(gradient.shape[1:]))
    size = xp.abs(flat)
    last = xp.clip(flat.shape[1] - xp.broadcast_to(xp.asarray(count), (len(flat),)), 0, flat.shape[1] - 1)
    least = xp.take_along_axis(xp.sort(size, axis=1), last[:, None], axis=1)
    signs = xp.where(size >= least, xp.sign(flat), 0)
    moving = xp.abs(signs).sum(axis=1)[:, None]
    return (signs / xp.where(moving > 0, moving, 1)).reshape(gradient.shape)


def spread(shape: tuple[int, ...]) -> int:
    """The number of entries that a step of images of that shape, (C, H, W), is spread over."""
    return max(1, round(SHARE * prod(shape)))


def uniform(x: Array, eps: float, stream: Stream) -> Array:
    """Changes that are uniform in the ball by volume, without the box: like x, keyed by sample."""
    xp, entries = namespace(x), prod(x.shape[1:])
    like = xp.moveaxis(x, 0, -1)
    length = -xp.log1p(-xp.moveaxis(stream.at("direction").uniform(like), -1, 0))
    side = xp.where(xp.moveaxis(stream.at("side").uniform(like), -1, 0) < 0.5, -1, 1)
    lengths = xp.ascontiguousarray(length).reshape(len(x), entries)
    radius = eps * stream.at("radius").uniform(x.reshape(len(x), entries)[:, 0]) ** (1 / entries)
    total = lengths.sum(axis=1)
    scale = radius / xp.where(total > 0, total, 1)
    return (lengths * scale[:, None]).reshape(x.shape) * side
