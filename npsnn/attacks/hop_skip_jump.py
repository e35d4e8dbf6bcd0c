"""HopSkipJump: the nearest misread image, by answers alone."""

from dataclasses import dataclass
from math import ceil, inf, log2, prod, sqrt

import numpy as np

from npsnn.attacks.answers import Answers
from npsnn.attacks.balls import NORMS, Ball, Limit, each
from npsnn.attacks.base import Attack, Offer, attack
from npsnn.attacks.targets import Queried, given
from npsnn.streams import Randomness
from npsnn.validate import check_choice, check_count, check_types

STARTS = 40
"""Random images that are tried as a start."""
BLOCKS = (1, 2, 4, 8)
"""The sides of the blocks of pixels that have one value in these, in turn: a network may call all fine noise alike."""
HALVINGS = 16
FEWEST = 20
"""Queries with which no further step is begun."""


@attack("hop-skip-jump")
@dataclass(frozen=True)
class HopSkipJump(Attack):
    """HopSkipJump: the nearest misread image by answers alone; a random network is asked for votes.

    From a misread point on the boundary the direction away from the label is estimated by the answers at random points
    close by; a step that way, and a search back to the boundary, lead nearer.

    eps: radius in units of the [0, 1] pixel; infinite for the nearest image, however far.
    norm: "linf" or "l2".
    queries: number of answers for each image, each of one draw of the noise.
    votes: number of draws of one vote at most.
    directions: number of random directions of the first step; step t has √t times as many.
    Source: Chen, Jordan and Wainwright 2020, Algorithm 2, whose network has one answer. Departures: a start is a random
    image of coarse blocks in three of four tries. For a random network points are decided by votes; the directions have
    the length of the distance, since closer by the noise moves answers more than the direction does; and the search
    ends where it has a thousandth of the distance. A point within eps is moved outwards to eps where more draws misread
    it there. An image for which no start is found stays as it is.
    """

    eps: float = inf
    norm: str = "l2"
    queries: int = 5000
    votes: int = 40
    directions: int = 100

    forward_only = True
    offer = Offer("HopSkipJump: the nearest image, by answers alone.")

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        for name in ("queries", "votes", "directions"):
            check_count(name, getattr(self, name))
        check_types(self)
        _ = self.ball

    @property
    def ball(self) -> Limit:
        """All images within eps."""
        return Limit(self.norm, self.eps)

    def passes(self, target: Queried) -> int:
        """Forward passes for one image at most."""
        return self.queries

    def __call__(self, target: Queried, x: np.ndarray, labels: np.ndarray, stream: Randomness) -> np.ndarray:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if self.eps == 0 or not len(x):
            return x
        answers = Answers(target, labels, stream, self.queries, self.votes)
        hunt = _Hunt(self, answers, x)
        hunt.start()
        step = 0
        while len(images := hunt.going()):
            hunt.step(images, step := step + 1)
        return hunt.ended()


class _Hunt:
    """Where the search has come to for each image of a batch.

    here: the present point, decided to be misread; the image itself where there is none.
    best, nearest: the nearest point so decided and its distance, infinite where there is none.
    """

    def __init__(self, by: HopSkipJump, answers: Answers, x: np.ndarray) -> None:
        self.by, self.answers, self.x = by, answers, x
        self.here, self.best = x.copy(), x.copy()
        self.nearest = np.full(len(x), inf)
        self.free = Limit(by.norm, inf)
        pixels = prod(x.shape[1:])
        finest = 1e-3 if answers.random else pixels ** (-2.0 if by.norm == "linf" else -1.5)
        self.bisections = max(ceil(log2(1 / finest)), 1)
        # of a random network with a radius, for the choice at the end
        self.kept = min(2 * answers.votes, answers.queries // 4 * 2) if answers.random and by.eps < inf else 0
        answers.queries -= self.kept

    def distance(self, points: np.ndarray, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.free.size(points.astype(np.float64) - self.x[images]))

    def start(self) -> None:
        """A misread point for each image: the image itself, or a random one that a search brings to the boundary."""
        everyone = np.arange(len(self.x))
        already = self.answers.misread(self.x, everyone, "clean")
        self.nearest[already] = 0
        left, found = everyone[~already], list[np.ndarray]()
        for n in range(STARTS):
            if not len(left):
                break
            tried = self._random(left, n)
            misread = self.answers.misread(tried, left, "start", n, "answer")
            self.here[left[misread]] = tried[misread]
            found.append(left[misread])
            left = left[~misread]
        if len(images := np.sort(np.concatenate([everyone[:0], *found]))):
            self._arrive(images, self.here[images], "start")

    def _random(self, images: np.ndarray, n: int) -> np.ndarray:
        """A random image for each, of uniform blocks of pixels."""
        channels, height, width = self.x.shape[1:]
        side = BLOCKS[n % len(BLOCKS)]
        like = np.empty((channels, -(-height // side), -(-width // side), len(images)), self.x.dtype)
        stream = self.answers.stream.at("start", n).chosen(images)
        blocks = stream.uniform(like).repeat(side, axis=1).repeat(side, axis=2)
        return np.ascontiguousarray(np.moveaxis(blocks[:, :height, :width], -1, 0))

    def going(self) -> np.ndarray:
        """The images whose search goes on."""
        sought = np.isfinite(self.nearest) & (self.nearest > 0)
        if not self.answers.random:
            sought &= self.nearest > self.by.eps if self.by.eps < inf else True
        everyone = np.flatnonzero(sought)
        return everyone[self.answers.left(everyone) >= FEWEST]

    def step(self, images: np.ndarray, step: int) -> None:
        """One step of each of these images along its estimate of the direction."""
        here, distance = self.here[images], self.distance(self.here[images], images)
        way = self._way(here, images, step)
        length, open_ = distance / sqrt(step), np.arange(len(images))
        moved, arrived = here.copy(), list[np.ndarray]()
        for n in range(HALVINGS):
            if not len(open_):
                break
            there = here[open_] + (each(length[open_]) * way[open_]).astype(self.x.dtype)
            there = there.clip(0, 1)
            misread = self.answers.misread(there, images[open_], "step", step, "halving", n)
            moved[open_[misread]] = there[misread]
            arrived.append(open_[misread])
            open_, length = open_[~misread], length / 2
        if len(some := np.sort(np.concatenate([open_[:0], *arrived]))):
            self._arrive(images[some], moved[some], "step", step)

    def _way(self, here: np.ndarray, images: np.ndarray, step: int) -> np.ndarray:
        """The direction in which an image is misread more, of unit norm: (n, C, H, W), float64."""
        radius = self._radius(here, images, step)
        counts = np.minimum(int(self.by.directions * sqrt(step)), self.answers.left(images) // 2)
        sums, weighted, votes = np.zeros(here.shape), np.zeros(here.shape), np.zeros(len(images))
        for n in range(counts.max()):
            some = np.flatnonzero(counts > n)
            u = self._direction(images[some], "step", step, "direction", n)
            there = (here[some] + each(radius[some]) * u).clip(0, 1).astype(self.x.dtype)
            u = (there.astype(np.float64) - here[some]) / each(radius[some])
            share = self.answers.share(there, images[some], 1, "step", step, "answer", n)
            sign = np.where(share > 0.5, 1.0, -1.0)
            sums[some] += u
            weighted[some] += each(sign) * u
            votes[some] += sign
        mean = votes / counts
        alike = np.abs(mean) == 1
        way = np.where(each(alike), weighted, weighted - each(mean) * sums)
        if self.by.norm == "linf":
            return np.asarray(np.sign(way))
        size = np.sqrt((way * way).sum(axis=(1, 2, 3)))
        return np.asarray(way / each(np.where(size > 0, size, 1)))

    def _radius(self, here: np.ndarray, images: np.ndarray, step: int) -> np.ndarray:
        """How far off the directions ask, (n,)."""
        if self.answers.random:
            delta = here.astype(np.float64) - self.x[images]
            return np.asarray(np.sqrt((delta * delta).sum(axis=(1, 2, 3))))
        return np.full(len(images), 0.1) if step == 1 else self.distance(here, images) / prod(here.shape[1:])

    def _direction(self, images: np.ndarray, *path: str | int) -> np.ndarray:
        """A random direction for each image, of length 1 in L2; each pixel uniform for Linf, normal for L2."""
        stream = self.answers.stream.at(*path).chosen(images)
        like = np.empty((*self.x.shape[1:], len(images)))
        drawn = 2 * stream.uniform(like) - 1 if self.by.norm == "linf" else stream.normal(like)
        u = np.ascontiguousarray(np.moveaxis(drawn, -1, 0))
        return np.asarray(u / each(np.sqrt((u * u).sum(axis=(1, 2, 3)))))

    def _arrive(self, images: np.ndarray, far: np.ndarray, *path: str | int) -> None:
        """Go from misread points towards the images as far as the boundary, and stay there."""
        x, high, low = self.x[images], np.ones(len(images)), np.zeros(len(images))
        distance = self.distance(far, images)
        for n in range(self.bisections):
            middle = (low + high) / 2
            misread = self.answers.misread(self._between(x, far, middle, distance), images, *path, "bisection", n)
            high, low = np.where(misread, middle, high), np.where(misread, low, middle)
        there = np.where(each(high == 1), far, self._between(x, far, high, distance))
        self.here[images] = there
        distance = self.distance(there, images)
        nearer = distance < self.nearest[images]
        self.best[images[nearer]], self.nearest[images[nearer]] = there[nearer], distance[nearer]

    def _between(self, x: np.ndarray, far: np.ndarray, part: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Points at a part of the distance: on the line, or in Linf the nearest of a smaller ball."""
        delta = far.astype(np.float64) - x
        if self.by.norm == "linf":
            most = each(part * distance)
            return np.asarray((x + delta.clip(-most, most)).astype(x.dtype).clip(0, 1))
        return np.asarray((x + each(part) * delta).astype(x.dtype).clip(0, 1))

    def ended(self) -> np.ndarray:
        """The nearest points; with a radius those of the ball, moved outwards where more draws misread them there."""
        if self.by.eps == inf:
            return self.best
        everyone = np.arange(len(self.x))
        nearest = np.where(np.isfinite(self.nearest), self.nearest, 0)
        part = self.by.eps / np.where(nearest > 0, nearest, inf)
        inside = np.where(each(part < 1), self._between(self.x, self.best, np.minimum(part, 1), nearest), self.best)
        if not self.kept:
            return self._held(inside)
        self.answers.queries += self.kept
        outwards = self.x + (each(np.minimum(part, 1e6)) * (self.best.astype(np.float64) - self.x))
        outwards = self._held(outwards.clip(0, 1).astype(self.x.dtype))
        some = everyone[(part > 1) & np.isfinite(part)]
        if len(some):
            shares = [self.answers.share(p[some], some, self.kept // 2, "end") for p in (inside, outwards)]
            inside[some] = np.where(each(shares[1] > shares[0]), outwards[some], inside[some])
        return self._held(inside)

    def _held(self, points: np.ndarray) -> np.ndarray:
        """The points, in the ball also where rounding has led outside."""
        ball = Ball(self.by.norm, self.by.eps)
        inside = ball.size(points.astype(np.float64) - self.x) <= ball.eps
        return np.where(each(inside), points, ball.project(points, self.x))
