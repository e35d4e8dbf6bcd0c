"""The Square attack: random squares of a perturbation, kept where the network's margin falls, without a gradient."""

from dataclasses import dataclass
from functools import cache
from math import prod, sqrt

import numpy as np

from npsnn.attacks.balls import NORMS, each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.proposals import Search, State, cost, stage
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, constant, namespace
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_choice, check_count, check_types

TILES = 5
"""Tiles along each side of the first perturbation in L2."""


@attack("square")
@dataclass(frozen=True)
class Square(InBall):
    """Square: random squares of ±eps, each kept where it raises the loss.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    queries: number of points that the network is asked about, for each image.
    share: part of an image that the first squares cover, p.
    rescale: whether the schedule, by which the squares become smaller, is stretched from 10,000 queries to `queries`.
    source: where its losses come from.
    Source: Andriushchenko, Croce, Flammarion and Hein 2020, Algorithms 1 to 3, whose p is 0.8 in AutoAttack. Places and
    signs are each image's own. A square that would change nothing has the opposite signs.
    """

    queries: int = 5000
    share: float = 0.8
    rescale: bool = True
    source: Source = DRAWN

    ascends = Ascends("margin", closed_form="least-win-probability")
    forward_only = True
    on_device = True
    offer = Offer(
        "Square: random squares of the largest change, by forward passes alone.",
        adaptive="Square on the closed form.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("norm", self.norm, NORMS)
        check_count("queries", self.queries)
        check_types(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be > 0 and at most 1, got {self.share}")

    def passes(self, target: Queried) -> int:
        """Forward passes for one image at most."""
        return cost(target, self.queries)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        kinds: dict[str, type[Squares] | type[Bumps]] = {"linf": Squares, "l2": Bumps}
        proposals = kinds[self.norm](self.eps, self.queries, self.share, self.rescale, *x.shape[1:])
        return Search(proposals, target, x, labels, stream).run(self.queries)


@dataclass(frozen=True)
class _Sides:
    """How large squares are, and where they are put."""

    eps: float
    queries: int
    share: float
    rescale: bool
    channels: int
    height: int
    width: int

    def side(self, proposed: int) -> float:
        """√(p H W), which a square of the share p has as a side."""
        share = self.share / 2 ** stage(proposed, self.queries, self.rescale)
        return sqrt(share * self.height * self.width)

    def corners(self, numbers: Array, side: int) -> tuple[Array, Array]:
        """The first row and the first column of each square, (N,): every place in the image is as likely.

        numbers: uniform on [0, 1), (2, N).
        """
        rows, columns = numbers[0] * (self.height - side + 1), numbers[1] * (self.width - side + 1)
        return rows.astype(int), columns.astype(int)


class Squares(_Sides):
    """Squares of the perturbation -eps or eps, a sign for each channel."""

    @property
    def numbers(self) -> int:
        return 2 + self.channels

    def fixed(self, x: Array) -> State:
        """The clean images, and the least and the largest that they may become."""
        xp = namespace(x)
        eps = xp.asarray(self.eps, x.dtype)
        return x, xp.clip(x - eps, 0, 1), xp.clip(x + eps, 0, 1)

    def first(self, fixed: State, stream: Stream) -> State:
        """Vertical stripes: a sign for each channel and column."""
        x, low, high = fixed
        xp = namespace(x)
        signs = stream.uniform(xp.empty((self.channels, self.width, len(x)), xp.float64)) < 0.5
        return (xp.where(xp.moveaxis(signs, -1, 0)[:, :, None], high, low),)

    def next(self, proposed: int, fixed: State, state: State, numbers: Array) -> State:
        """Each image with one more square."""
        (x,), (_, low, high) = state, fixed
        xp, side = namespace(x), min(max(round(self.side(proposed)), 1), self.height, self.width)
        places = [
            (at >= first[:, None]) & (at < first[:, None] + side)
            for at, first in zip(map(xp.arange, x.shape[2:]), self.corners(numbers[:2], side), strict=True)
        ]
        square = (places[0][:, :, None] & places[1][:, None])[:, None]
        up = (numbers[2:].T < 0.5)[:, :, None, None]
        moved = xp.where(square, xp.where(up, high, low), x)
        idle = each((moved == x).all(axis=(1, 2, 3)))
        if xp is np and not idle.any():
            return (moved,)
        return (xp.where(square & idle, xp.where(up, low, high), moved),)


class Bumps(_Sides):
    """Bumps that take the norm of two squares, of which the other is set to 0."""

    @property
    def numbers(self) -> int:
        return 5 + self.channels

    def fixed(self, x: Array) -> State:
        """The clean images."""
        return (x,)

    def first(self, fixed: State, stream: Stream) -> State:
        """A grid of tiles, each with a bump of a sign for each channel."""
        (x,) = fixed
        xp = namespace(x)
        sides = [max(size // TILES, 1) for size in x.shape[2:]]
        counts = [size // side for size, side in zip(x.shape[2:], sides, strict=True)]
        edges = [(size - n * side) // 2 for size, n, side in zip(x.shape[2:], counts, sides, strict=True)]
        numbers = stream.uniform(xp.empty((prod(counts), 1 + self.channels, len(x)), xp.float64))
        bump, delta = constant(bumps(*sides), xp.float64, x), xp.zeros(x.shape, xp.float64)
        for n, (row, column) in enumerate(np.ndindex(*counts)):
            top, left = edges[0] + row * sides[0], edges[1] + column * sides[1]
            shape = self._bump(bump, numbers[n])
            delta[:, :, top : top + sides[0], left : left + sides[1]] = shape
        return (self._scaled(x, delta),)

    def next(self, proposed: int, fixed: State, state: State, numbers: Array) -> State:
        """Each image with one bump more and one square of the perturbation less."""
        (clean,), (x,) = fixed, state
        xp, side = namespace(x), self._odd(proposed)
        delta = x.astype(xp.float64) - clean
        left = xp.maximum(self.eps**2 - _squares(delta).sum(axis=1, keepdims=True), 0) / self.channels
        here, there = (self._window(numbers[i : i + 2], side) for i in (0, 2))
        old = delta[here]
        delta[here] = 0
        taken = _squares(old) + _squares(delta[there])
        delta[there] = 0
        new = self._bump(constant(bumps(side, side), xp.float64, x), numbers[4:]) + _over(old, xp.sqrt(_squares(old)))
        delta[here] = _over(new, xp.sqrt(_squares(new))) * xp.sqrt(left + taken)[:, :, None, None]
        return (self._scaled(clean, delta),)

    def _odd(self, proposed: int) -> int:
        """The side of a square: odd, from 3 on, as far as the image has room."""
        side = max(round(self.side(proposed)), 3)
        side = min(side + 1 - side % 2, self.height, self.width)
        return side - 1 + side % 2

    def _window(self, numbers: Array, side: int) -> tuple[Array, ...]:
        """The index of a square in each image, in each of its channels."""
        at = namespace(numbers).arange
        row, column = self.corners(numbers, side)
        rows, columns = row[:, None] + at(side), column[:, None] + at(side)
        images, channels = at(len(row))[:, None, None, None], at(self.channels)[:, None, None]
        return images, channels, rows[:, None, :, None], columns[:, None, None, :]

    def _bump(self, shapes: Array, numbers: Array) -> Array:
        """One bump for each image, (N, C, a, b).

        numbers: uniform on [0, 1): one for the direction of the bump, and one for the sign in each channel.
        """
        xp = namespace(shapes)
        shape = xp.where(each(numbers[0] < 0.5), shapes[0], shapes[1])
        return xp.where((numbers[1:].T < 0.5)[:, :, None, None], shape, -shape)

    def _scaled(self, x: Array, delta: Array) -> Array:
        """The images at the distance eps in a direction, cut to the box."""
        xp = namespace(x)
        size = xp.sqrt(_squares(delta).sum(axis=1, keepdims=True))
        return xp.clip(x + (_over(delta, size) * self.eps).astype(x.dtype), 0, 1)


def _squares(delta: Array) -> Array:
    """Σ delta² in each channel: (N, C, ...) -> (N, C)."""
    flat = delta.reshape(*delta.shape[:2], prod(delta.shape[2:]))
    return (flat * flat).sum(axis=2)


def _over(delta: Array, size: Array) -> Array:
    """(N, C, H, W) over the (N, C) of their sizes; 0 stays 0."""
    xp = namespace(delta)
    return delta / xp.where(size > 0, size, 1)[:, :, None, None]


@cache
def bumps(height: int, width: int) -> np.ndarray:
    """The bump eta of norm 1 and the one that lies across, (2, height, width), float64.

    Two halves, one above the other, have opposite signs. Each is the sum of nested centred rectangles, of which the
    k-th counts 1/k²: high in the middle. Source: the paper's Eq. 2.
    """

    def nested(rows: int, columns: int) -> np.ndarray:
        delta = np.zeros((rows, columns))
        for k in range(max(rows, columns) // 2 + 1):
            top, left = max(rows // 2 - k, 0), max(columns // 2 - k, 0)
            delta[top : rows // 2 + k + 1, left : columns // 2 + k + 1] += 1 / (k + 1) ** 2
        size = np.sqrt((delta**2).sum())
        return delta / size if size else delta

    def upright(rows: int, columns: int) -> np.ndarray:
        delta = np.concatenate([nested(rows // 2, columns), -nested(rows - rows // 2, columns)])
        return np.asarray(delta / np.sqrt((delta**2).sum()))

    return np.stack([upright(height, width), upright(width, height).T])
