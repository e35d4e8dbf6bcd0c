"""FAB: steps to the nearest point of the border between two classes, which is linearised at each step."""

from dataclasses import dataclass, fields
from math import inf

import numpy as np

from npsnn.attacks.aims import likeliest, number
from npsnn.attacks.balls import Ball, each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.hyperplanes import onto_plane
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types

LARGEST_PART = 0.1
"""The most that a step has of the step from the clean image: alpha_max."""
OVERSHOOT = 1.05
BACK = 0.9
"""How much of the way from the clean image is left after a step back: beta."""
LEAST = 1e-8
"""Steps that are shorter count as this long where they are compared."""


@attack("fab-t")
@dataclass(frozen=True)
class FAB(InBall):
    """FAB-T: the nearest image beyond the border to each of the likeliest classes, by steps to the linearised border.

    f(v) = z_t - z_y is linearised at the present point. With d and d_0 the shortest steps within the box from x_k and
    from the clean image x to the plane f = 0, x_{k+1} = (1 - a)(x_k + 1.05 d) + a (x + 1.05 d_0), with
    a = min(|d| / (|d| + |d_0|), 0.1). From a misread point the next step starts at x + 0.9 (x_k - x).

    Where a look is certain (a network without noise, or a known draw) an image is done once it is misread within eps.
    Of an image that is misread farther away alone, the point at eps on the way there is tried as well. An image that is
    not misread comes back as it was. On a network that keeps its noise the border is where the mean leads by `kappa`:
    every image is walked to the end for every class, and the candidates are the points at eps on the way to the
    nearest point beyond the border, or to the last point where there is none. Each image keeps the candidate of the
    highest loss on draws that chose none, or the clean image if its loss is higher.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of gradient steps for each class.
    targets: number of classes to aim at, at most: the likeliest of the clean image other than the label.
    kappa: the lead of the class at the border, >= 0, in logits, or on the closed form in standard deviations of the
        noise, where a share Φ(-kappa) of the draws has the label ahead of the class.
    source: where its gradients come from. Its objective decides between candidates alone.
    Source: Croce and Hein 2020b (arXiv 1907.02044), Algorithm 1, targeted as in 2020a (arXiv 2003.01690); without its
    search on the last segment, which the point at eps replaces. The plane after a misread point is the one at this
    point, so that a step takes one pass, forward and backward. kappa and the candidates are npsnn's own.
    """

    steps: int = 100
    targets: int = 9
    kappa: float = 0.0
    source: Source = DRAWN

    ascends = Ascends("true-class-probability", closed_form="least-win-probability")
    on_device = True
    offer = Offer(
        "FAB-T: steps to the border of each of the --targets likeliest classes.",
        adaptive="FAB-T on the closed form.",
        options={"steps": "fab_steps", "kappa": "fab_kappa"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "targets"):
            check_count(name, getattr(self, name))
        check_types(self)
        if not 0 <= self.kappa < inf:
            raise ValueError(f"kappa must be >= 0 and finite, got {self.kappa!r}")

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image, at most; of fewer classes than targets they are fewer."""
        return (self.targets * (self.steps + 2) + 2) * target.passes

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x) or not self.eps:
            return x
        xp, clean, fresh = namespace(x), target.answers(x, stream.at("clean")), stream.at("choice")
        aims = likeliest(clean, labels, self.targets)
        if target.certain:
            return self._until_misread(target, x, aims, clean.argmax(axis=0) != labels, stream)
        best, score = x, number(target.value(x, labels, fresh))
        for aim, aimed in enumerate(aims):
            found, _ = self._walk(target, x, aimed, stream.at("aim", aim))
            loss = number(target.value(found, labels, fresh))
            best, score = xp.where(each(loss > score), found, best), xp.maximum(loss, score)
        return best

    def _until_misread(self, target: Queried, x: Array, aims: list[Array], done: Array, stream: Stream) -> Array:
        """The images, each walked until it is misread, which `done` are already."""
        xp, best = namespace(x), x
        for aim, aimed in enumerate(aims):
            own = stream.at("aim", aim)
            if xp is not np:  # a GPU computes batches of one size
                found, misread = self._walk(target, x, aimed, own)
                best, done = xp.where(each(misread & ~done), found, best), done | misread
                continue
            left = np.flatnonzero(~done)
            if not len(left):
                break
            best = best.copy()
            best[left], done[left] = self._walk(target, x[left], aimed[left], own.chosen(left))
        return best

    def _walk(self, target: Queried, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
        """A point of the ball for each image, and whether it is surely misread; where it surely is not, x itself.

        labels: (N, 2), with the class to raise.
        """
        xp, aimed = namespace(x), target.ascending("targeted-win")
        drop = target.certain and xp is np
        best, hit = x.copy(), xp.zeros(len(x), bool)
        way = Way.begin(x, labels)
        for step in range(self.steps + 1):
            own = stream.chosen(way.columns) if drop else stream
            plane = way.look(self.ball, aimed, own, step, self.kappa)
            inside = way.nearest <= self.ball.eps
            if drop and inside.any():
                best[way.columns[inside]], hit[way.columns[inside]] = way.best[inside], True
                way, plane = way.part(~inside), tuple(values[~inside] for values in plane)
                if not len(way.x):
                    return best, hit
            if step < self.steps:
                way.move(self.ball, *plane)
        found = way.at_the_radius(self.ball)
        if not target.certain:
            return found, hit
        own = stream.chosen(way.columns) if drop else stream
        misread = aimed.looked(found, way.labels, own.at("end"))[1] > 0
        if not drop:
            found = xp.where(each(inside), way.best, found)
            return xp.where(each(inside | misread), found, x), inside | misread
        best[way.columns[misread]], hit[way.columns[misread]] = found[misread], True
        return best, hit


@dataclass
class Way:
    """Where some images have come to on their way to a border; every field has an entry for each image.

    columns: which images of the batch they are.
    x, labels: of the images; the labels with the class to raise.
    point: where they are.
    best, nearest: the nearest point beyond the border, and its distance; x itself and infinite where there is none.
    outward: the steepest direction at x.
    """

    columns: Array
    x: Array
    labels: Array
    point: Array
    best: Array
    nearest: Array
    outward: Array

    @staticmethod
    def begin(x: Array, labels: Array) -> "Way":
        """At the images themselves."""
        xp = namespace(x)
        return Way(xp.arange(len(x)), x, labels, x, x, xp.full(len(x), inf), xp.zeros_like(x))

    def part(self, left: Array) -> "Way":
        """The way of some of the images.

        left: which, (N,) of bools.
        """
        return Way(*(getattr(self, f.name)[left] for f in fields(self)))

    def look(self, ball: Ball, target: Queried, stream: Stream, step: int, kappa: float) -> tuple[Array, Array, Array]:
        """How far each point is beyond the border, whether it is, and the gradient.

        Points that are nearer than others are kept.
        """
        xp = namespace(self.x)
        f, misread, w = target.looked(self.point, self.labels, stream.at("step", step))
        if step == 0:
            self.outward = ball.steepest(w)
        beyond = f - kappa > 0
        if kappa == 0:  # whatever the class
            beyond = beyond | (misread > 0.5)
        distance = ball.size(self.point.astype(xp.float64) - self.x)
        nearer = beyond & (distance < self.nearest)
        if target.certain:  # an image that is misread within eps is done, also where it stays in the batch
            nearer = nearer & (self.nearest > ball.eps)
        self.best = xp.where(each(nearer), self.point, self.best)
        self.nearest = xp.where(nearer, distance, self.nearest)
        return f - kappa, beyond, w

    def move(self, ball: Ball, f: Array, beyond: Array, w: Array) -> None:
        """To the next point; the arguments are what a look returned."""
        xp = namespace(self.x)
        point, x, w = (values.astype(xp.float64) for values in (self.point, self.x, w))
        base = xp.where(each(beyond), x + BACK * (point - x), point)
        heights = [f + (w * (v - point)).reshape(len(x), -1).sum(axis=1) for v in (base, x)]
        near, far = (onto_plane(ball.norm, v, w, height) for v, height in zip((base, x), heights, strict=True))
        lengths = [xp.maximum(ball.size(d), LEAST) for d in (near, far)]
        part = each(xp.minimum(lengths[0] / (lengths[0] + lengths[1]), LARGEST_PART))
        onward = (1 - part) * (base + OVERSHOOT * near) + part * (x + OVERSHOOT * far)
        self.point = xp.clip(onward, 0, 1).astype(self.x.dtype)

    def at_the_radius(self, ball: Ball) -> Array:
        """The points of the ball on the way to the best points, or to the present ones where there is none.

        From an image that is beyond the border itself, the way is steepest.
        """
        xp = namespace(self.x)
        there = xp.where(each(self.nearest < inf), self.best, self.point).astype(xp.float64) - self.x
        size = ball.size(there)
        stretched = there * each(xp.maximum(ball.eps / xp.where(size > 0, size, 1), 1))
        delta = xp.where(each(size > 0), stretched, ball.eps * self.outward)
        return ball.project((self.x + delta).astype(self.x.dtype), self.x)
