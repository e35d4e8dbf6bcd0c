"""A right attack, and one attack for each mistake that check_attack must find."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from npsnn.attacks import Attack, Ball, EoT
from npsnn.attacks.sources import Source
from npsnn.streams import as_stream


@dataclass(frozen=True)
class Right(Attack):
    """One step of FGSM from a random point; it inherits from Attack, but need not."""

    eps: float = 0.1
    source: Source = EoT(2)  # noqa: RUF009

    @property
    def ball(self):
        return Ball("linf", self.eps)

    def __call__(self, target, x, labels, stream):
        stream = as_stream(stream)
        start = self.ball.random(x, stream.at("start"))
        _, gradient = target(start, labels, stream.at("step"))
        return self.ball.project(start + self.eps * np.sign(gradient), x)


@dataclass(frozen=True)
class Foreign:
    """A right attack that inherits nothing."""

    eps: float = 0.1
    ball: ClassVar[Any] = Ball("linf", 0.1)

    def __call__(self, target, x, labels, stream):
        return x if self.eps == 0 else np.clip(x, 0.05, 0.95)


class Changed(Right):
    def __call__(self, target, x, labels, stream):
        return self.of(super().__call__(target, x, labels, stream), x)


class LeavesTheBall(Changed):
    def of(self, found, x):
        return np.clip(found + (found - x), 0, 1)


class LeavesTheBox(Changed):
    def of(self, found, x):
        return (x + self.eps * np.sign(found - x)).astype(x.dtype)


class OtherShape(Changed):
    def of(self, found, x):
        return found[:, :1]


class OtherType(Changed):
    def of(self, found, x):
        return found.astype(np.float64)


class NoArray(Changed):
    def of(self, found, x):
        return list(found)


class Infinite(Changed):
    def of(self, found, x):
        return np.where(found > 0.5, np.asarray(np.nan, x.dtype), found)


class WritesToTheImages(Right):
    def __call__(self, target, x, labels, stream):
        x += 0.05
        return x


class DrawsElsewhere(Changed):
    def of(self, found, x):
        return x + (found - x) * np.float32(np.random.default_rng().random())


class DrawsFromNumPy(Changed):
    def of(self, found, x):
        np.random.random()
        return found


class DrawsOnNetworks(Right):
    def __call__(self, target, x, labels, stream):
        found = super().__call__(target, x, labels, stream)
        return x + (found - x) * np.float32(np.random.default_rng().random()) if hasattr(target, "target") else found


class DrawsForTheBatch(Right):
    def __call__(self, target, x, labels, stream):
        rng = as_stream(stream).generator()
        return self.ball.project(x + self.eps * rng.uniform(-1, 1, x.shape).astype(x.dtype), x)


class MixesImages(Changed):
    def of(self, found, x):
        return np.clip(x + (found - x) * (found - x).mean(), 0, 1)


class CountsTooLittle(Right):
    def passes(self, target):
        return 1


class CountsInParts(Right):
    def passes(self, target):
        return 3.5


class SaysForwardOnly(Right):
    forward_only: ClassVar[bool] = True


class ManyLooks(Right):
    forward_only: ClassVar[bool] = True

    def __call__(self, target, x, labels, stream):
        for i in range(9):
            target.value(x, labels, as_stream(stream).at(i))
        return x


class DividesByTheGradient(Right):
    def __call__(self, target, x, labels, stream):
        _, gradient = target(x, labels, as_stream(stream).at("step"))
        return (x + self.eps * gradient / np.abs(gradient)).astype(x.dtype).clip(0, 1)


class MovesAtRadiusZero(Right):
    def __call__(self, target, x, labels, stream):
        return np.where(x > 0.5, x - np.asarray(0.05, x.dtype), x)

    @property
    def ball(self):
        return Ball("linf", 0.1)


class KeepsOnItself(Right):
    def __call__(self, target, x, labels, stream):
        object.__setattr__(self, "seen", len(x))
        return super().__call__(target, x, labels, stream)


class Wordless(Right):
    label: ClassVar[Any] = None


class Talks(Right):
    says: ClassVar[Any] = {"mood": "good"}


class FailsOnNetworks(Right):
    def __call__(self, target, x, labels, stream):
        if hasattr(target, "target"):
            raise ValueError("not this one")
        return super().__call__(target, x, labels, stream)


@dataclass(frozen=True)
class NoBall:
    eps: float = 0.1


@dataclass
class Unfrozen:
    eps: float = 0.1
    ball: ClassVar[Any] = Ball("linf", 0.1)

    def __call__(self, target, x, labels, stream):
        return x
