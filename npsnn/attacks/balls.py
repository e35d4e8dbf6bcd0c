"""The sets an adversary may move in: a limit on the distance from each image, and the box of pixels [0, 1].

Images are (N, C, H, W); every distance is one image's.
"""

from dataclasses import dataclass
from math import inf, prod
from numbers import Real
from typing import ClassVar, TypeAlias

import numpy as np

from npsnn.attacks import l1
from npsnn.backend import Array, namespace
from npsnn.streams import Stream
from npsnn.tables import Table
from npsnn.validate import check_choice

Images: TypeAlias = Array
"""NumPy's or a GPU's: answers are where the images are."""

NORMS = ("linf", "l2")

BALLS: Table[type["Limit"]] = Table("ball", "from npsnn.attacks.balls import ball")
"""The sets that a file may name: an attack can have one as a field."""
ball = BALLS.enter


LEVELS = 255
"""The steps from black to white of an 8-bit image."""
NEAR = 2.0**-24
"""Half of what single precision can tell of a pixel: so close to a level is a pixel that was rounded from it."""


def check_grid(x: Images) -> None:
    """Raise ValueError unless every pixel is a multiple of 1/255, but for rounding."""
    off = np.abs(LEVELS * x.astype(np.float64) - np.rint(LEVELS * x.astype(np.float64)))
    if off.size and off.max() > 4 * LEVELS * NEAR:
        got = float(x.ravel()[off.argmax()])
        raise ValueError(f"on_grid is for images of 8 bits, whose pixels are multiples of 1/255, got one of {got:.9g}")


def check_linf(eps: float) -> None:
    """Raise ValueError where a Linf radius is beyond the box of pixels: nobody means it who counts from 0 to 1."""
    if 1 < eps < inf:
        raise ValueError(f"eps must be at most 1 in linf, for pixels in [0, 1], got {eps:g}: is it {eps:g}/255?")


def check_pixels(pixels: int, shape: tuple[int, ...]) -> None:
    """Raise ValueError where an image has fewer pixels than may change; shape: of the image, (C, H, W)."""
    if pixels > (most := shape[1] * shape[2]):
        raise ValueError(f"pixels must be at most {most}, as an image has no more, got {pixels}")


@ball
@dataclass(frozen=True)
class Limit:
    """All images within `eps` of the original; an infinite eps leaves the box alone.

    norm: "linf", "l2" or "l1", in units of the [0, 1] pixel; "l0" counts the pixels that differ in any channel.
    eps: radius, >= 0.
    Source: noise paper Eq. 9, whose "delta < eps" is read as a norm (audit N32).
    """

    norm: str
    eps: float

    norms: ClassVar[tuple[str, ...]] = (*NORMS, "l1", "l0")
    largest: ClassVar[float] = inf

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.norms)
        if isinstance(self.eps, bool) or not isinstance(self.eps, Real) or not 0 <= float(self.eps) <= self.largest:
            finite = "" if self.largest == inf else " and finite"
            raise ValueError(f"eps must be >= 0{finite}, got {self.eps!r}")

    def size(self, delta: Images) -> Images:
        """The norm of each perturbation: (N, C, H, W) -> (N,)."""
        if self.norm == "l0":
            return (delta != 0).any(axis=1).sum(axis=(1, 2))
        xp = namespace(delta)
        flat = xp.abs(_flat(delta))
        if self.norm == "l1":
            return flat.sum(axis=1)
        return flat.max(axis=1) if self.norm == "linf" else xp.sqrt((flat * flat).sum(axis=1))

    def on_grid(self, x_adv: Images, x: Images) -> Images:
        """The images of 8 bits near x_adv, whose pixels are multiples of 1/255, and which stay in the set round x.

        In Linf a pixel goes to the nearest level that is within eps of its own, in L0 and without a limit to the
        nearest. In L2 and L1 a pixel goes to the next level towards its own, so that no distance becomes longer.

        x_adv: images of the set.
        x: the originals, whose pixels are multiples of 1/255 (`check_grid`); pixels that do not move stay as they are.
        Returns images with the dtype of x.
        """
        xp = namespace(x)
        own = xp.rint(LEVELS * x.astype(xp.float64))
        steps = LEVELS * x_adv.astype(xp.float64) - own
        if self.norm == "linf":
            most = xp.floor(LEVELS * self.eps * (1 + 1e-12))  # 8/255 is eight steps
            steps = xp.clip(xp.rint(steps), -most, most)
        elif self.norm == "l0" or self.eps == inf:
            steps = xp.rint(steps)
        else:
            # a pixel that was rounded from a level is on it, unless that would lead outside
            rounded = _towards_0(steps, LEVELS * NEAR * xp.maximum(x_adv, x))
            far = self.size(rounded) > LEVELS * self.eps * (1 + 1e-12)
            steps = xp.where(each(far), _towards_0(steps, 0), rounded)
        moved = (own + steps).astype(x.dtype) / LEVELS
        return xp.where(steps == 0, x, moved)

    def check(self, x_adv: Images, x: Images) -> None:
        """Raise ValueError unless every image is finite, in the box, and within eps but for rounding.

        Rounding may move a pixel by one unit in its last place, and no farther than eps; at eps 0 by nothing. Both are
        NumPy's.
        """
        if x_adv.shape != x.shape:
            raise ValueError(f"adversarial images must be of the shape {x.shape}, got {x_adv.shape}")
        if x_adv.dtype.kind not in "fiu":
            raise ValueError(f"adversarial images must be numbers, got {x_adv.dtype}")
        if not np.isfinite(x_adv).all():
            got = "a NaN" if np.isnan(x_adv).any() else "an infinity"
            raise ValueError(f"adversarial images must be finite, got {got}")
        mend = ": return ball.project(x_adv, x), the nearest that are" if isinstance(self, Ball) else ""
        if x_adv.size and (x_adv.min() < 0 or x_adv.max() > 1):
            raise ValueError(f"adversarial images must be in [0, 1], got {x_adv.min()!s} to {x_adv.max()!s}{mend}")
        delta = x_adv.astype(np.float64) - x
        dtype = np.float64 if x.dtype == x_adv.dtype == np.float64 else np.float32
        if self.norm != "l0":
            ulp = np.spacing(np.maximum(x, x_adv).astype(dtype)).astype(np.float64)
            delta = np.maximum(np.abs(delta) - np.minimum(ulp, self.eps), 0)
        size = self.size(delta)
        if size.size and size.max() > self.eps * (1 + 8 * float(np.finfo(dtype).eps)):
            far = self.size(x_adv.astype(np.float64) - x).max()
            raise ValueError(f"adversarial images must be within {self.norm} {self.eps:.9g}, got {far:.9g}{mend}")


@ball
@dataclass(frozen=True)
class Ball(Limit):
    """A ball of finite radius to walk in: its steepest direction, projections and random points; linf, l2 or l1."""

    norms: ClassVar[tuple[str, ...]] = (*NORMS, "l1")
    largest: ClassVar[float] = float(np.finfo(np.float64).max)

    def steepest(self, gradient: Images) -> Images:
        """The direction of unit norm that raises the loss most: the sign, or the gradient over its length.

        In L1 one entry is the steepest. A step would soon have no room there, so the direction goes equally far in a
        twentieth of the entries, those of the steepest slopes.
        """
        xp = namespace(gradient)
        if self.norm == "linf":
            return xp.sign(gradient)
        if self.norm == "l1":
            return l1.along(gradient, l1.spread(gradient.shape[1:]))
        # scaled first: the squares of a gradient of 1e-30 would all be 0
        largest = xp.abs(_flat(gradient)).max(axis=1)
        scaled = gradient / each(xp.where(largest > 0, largest, 1))
        size = self.size(scaled)
        return scaled / each(xp.where(size > 0, size, 1))

    def project(self, x_adv: Images, x: Images) -> Images:
        """The nearest point of the ball round x, then of the box; x is in the box, so both hold in the end.

        In Linf and L1 it is the nearest point of both.
        """
        xp, delta = namespace(x), x_adv - x
        if self.norm == "l1":
            return xp.clip(x + l1.onto_ball(delta, x, self.eps).astype(x.dtype), 0, 1)
        if self.norm == "linf":
            delta = xp.clip(delta, -self.eps, self.eps)
        else:
            size = self.size(delta).astype(xp.float64)
            delta = delta * each(self.eps / xp.maximum(size, self.eps) if self.eps else 0 * size)
        return xp.clip(x + delta.astype(x.dtype), 0, 1)

    def random(self, x: Images, stream: Stream) -> Images:
        """A point of the ball for each image, uniform by volume, clipped to the box; keyed by sample."""
        xp = namespace(x)
        like = xp.moveaxis(x, 0, -1)
        if self.norm == "l1":
            delta = l1.uniform(x, self.eps, stream)
        elif self.norm == "linf":
            delta = self.eps * (2 * xp.moveaxis(stream.uniform(like), -1, 0) - 1)
        else:
            direction = xp.moveaxis(stream.at("direction").normal(like), -1, 0)
            radius = stream.at("radius").uniform(_flat(x)[:, 0])
            delta = self.steepest(direction) * each(self.eps * radius ** (1 / prod(x.shape[1:])))
        return self.project(x + delta.astype(x.dtype), x)


def _flat(x: Images) -> Images:
    """(N, ...) -> (N, -1), for N = 0 as well."""
    return x.reshape(len(x), prod(x.shape[1:]))


def _towards_0(steps: Images, slack: Images | float) -> Images:
    """Whole steps, none longer than before by more than `slack`."""
    xp = namespace(steps)
    return xp.sign(steps) * xp.floor(xp.abs(steps) + slack)


def each(values: Images) -> Images:
    """(N,) -> (N, 1, 1, 1)."""
    return values.reshape(-1, 1, 1, 1)
