"""Sparse-RS: a set of pixels of the brightest and darkest colours, of which a few are exchanged at a time."""

from dataclasses import dataclass

from npsnn.attacks.balls import Limit, check_pixels
from npsnn.attacks.base import Attack, Offer, attack
from npsnn.attacks.proposals import Search, State, cost, stage
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types

STAGES = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The proposals, of a budget of 10,000, after which fewer pixels are exchanged."""
DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""What the share of the pixels that are exchanged is divided by, stage by stage."""


@attack("sparse-rs")
@dataclass(frozen=True)
class SparseRS(Attack):
    """Sparse-RS: random sets of pixels in the corners of the colour cube, a few exchanged at a time.

    pixels: number of pixels that may change.
    queries: number of points that the network is asked about, for each image.
    share: part of the pixels that the first proposals exchange, alpha.
    rescale: whether the schedule, by which fewer are exchanged, is stretched from 10,000 queries to `queries`.
    source: where its losses come from.
    Source: Croce, Andriushchenko, Singh, Flammarion and Hein 2022, untargeted in L0, whose alpha is 0.3. Pixels and
    colours are each image's own.
    """

    pixels: int = 1
    queries: int = 5000
    share: float = 0.3
    rescale: bool = True
    source: Source = DRAWN

    ascends = Ascends("margin", closed_form="least-win-probability")
    forward_only = True
    on_device = True
    offer = Offer(
        "Sparse-RS: few pixels by random search, by forward passes alone.",
        adaptive="Sparse-RS on the closed form.",
        strengths="pixels",
    )

    def __post_init__(self) -> None:
        for name in ("pixels", "queries"):
            check_count(name, getattr(self, name))
        check_types(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be > 0 and at most 1, got {self.share}")

    @property
    def ball(self) -> Limit:
        """The number of pixels that may change."""
        return Limit("l0", self.pixels)

    def fits(self, shape: tuple[int, ...], classes: int) -> None:
        """Raise ValueError for more pixels than an image has."""
        check_pixels(self.pixels, shape)

    def passes(self, target: Queried) -> int:
        """Forward passes for one image at most."""
        return cost(target, self.queries)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape.

        Raises ValueError for more pixels than an image has.
        """
        x, labels, stream = given(target, x, labels, stream)
        channels, height, width = x.shape[1:]
        check_pixels(self.pixels, x.shape[1:])
        proposals = Pixels(self.pixels, self.queries, self.share, self.rescale, channels, height * width)
        return Search(proposals, target, x, labels, stream).run(self.queries)


@dataclass(frozen=True)
class Pixels:
    """Sets of pixels. A state is the images and all places (N, H W) in an order: those that have changed come first.

    count: how many have changed.
    places: how many there are.
    """

    count: int
    queries: int
    share: float
    rescale: bool
    channels: int
    places: int

    @property
    def numbers(self) -> int:
        return (2 + self.channels) * max(int(self.share * self.count), 1)

    def exchanged(self, proposed: int) -> int:
        """How many pixels a proposal exchanges."""
        divisor = DIVISORS[stage(proposed, self.queries, self.rescale, STAGES)]
        return max(int(self.share / divisor * self.count), 1)

    def fixed(self, x: Array) -> State:
        """The clean images."""
        return (x,)

    def first(self, fixed: State, stream: Stream) -> State:
        """A random set of pixels, of random colours."""
        (x,) = fixed
        xp = namespace(x)
        order = stream.at("places").uniform(xp.empty((self.places, len(x)), xp.float64)).argsort(axis=0).T
        colours = stream.at("colours").uniform(xp.empty((self.channels, self.count, len(x)), xp.float64))
        return self._painted(x, order[:, : self.count], colours), order

    def next(self, proposed: int, fixed: State, state: State, numbers: Array) -> State:
        """Each image with a few of its pixels given back and as many others taken."""
        (clean,), (x, order), few = fixed, state, self.exchanged(proposed)
        others = min(few, self.places - self.count)
        order = self._drawn(order, 0, self.count, numbers[:few])
        order = self._drawn(order, self.count, self.places, numbers[few : few + others])
        back, taken = order[:, :few].copy(), order[:, self.count : self.count + others].copy()
        order[:, :others], order[:, self.count : self.count + others] = taken, back[:, :others]
        x = x.copy()
        every = self._pixels(x, back)
        x[every] = clean[every]
        # where no others are left, a pixel that is given back is taken again
        colours = numbers[2 * few : (2 + self.channels) * few].reshape(self.channels, few, -1)
        return self._painted(x, order[:, :few], colours), order

    def _drawn(self, order: Array, start: int, end: int, numbers: Array) -> Array:
        """The order with random places of a part of it at the front of the part: (N, H W)."""
        order, images = order.copy(), namespace(order).arange(len(order))
        for at, number in enumerate(numbers, start):
            other = at + (number * (end - at)).astype(int)
            order[images, at], order[images, other] = order[images, other], order[images, at]
        return order

    def _pixels(self, x: Array, places: Array) -> tuple[Array, ...]:
        """The index of some pixels of each image in all channels, (N, C, pixels)."""
        at, width = namespace(x).arange, x.shape[3]
        places = places[:, None]
        return at(len(x))[:, None, None], at(self.channels)[:, None], places // width, places % width

    def _painted(self, x: Array, places: Array, numbers: Array) -> Array:
        """The images with some pixels black or white in each channel; numbers: (C, pixels, N)."""
        xp, x = namespace(x), x.copy()
        x[self._pixels(x, places)] = xp.moveaxis(numbers < 0.5, -1, 0)
        return x
