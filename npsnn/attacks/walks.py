"""The walks of APGD: steps whose length is halved where they lead to little, on a loss that is sure and on draws."""

from dataclasses import dataclass, fields
from math import inf

import numpy as np

from npsnn.attacks.aims import number
from npsnn.attacks.balls import Ball, each
from npsnn.attacks.targets import Queried
from npsnn.backend import Array, namespace
from npsnn.streams import Stream

ONWARD = 0.75
"""The part of a step that the gradient decides; the rest repeats the last step."""
RISING = 0.75
"""The part of the steps since a checkpoint that must raise the loss, or the steps are halved."""
COMPARED = 3
"""The points that are compared at a checkpoint on draws of the noise."""


def checkpoints(steps: int) -> list[int]:
    """The numbers of steps after which the length of a step is judged: ⌈p_j steps⌉, in order and each once.

    p_1 = 0.22, and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), with p_0 = 0. Source: Croce and Hein 2020a, Sec. 3.
    """
    found, part, more = [], 22, 22
    while part <= 100:
        found.append(-(-part * steps // 100))
        more = max(more - 3, 6)
        part += more
    return list(dict.fromkeys(found))


def by_loss(ball: Ball, steps: int, target: Queried, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
    """The best point of one start, and its loss, which is infinite for a point that is misread for certain."""
    xp, ends = namespace(x), checkpoints(steps)
    drop = target.certain and xp is np
    start = started(ball, x, stream.at("start"))
    walk = Walk.at(start, 2 * ball.eps, target, x, labels, stream)
    best, score, last = x.copy(), xp.full(len(x), -inf), 0
    for step in range(1, steps + 1):
        if drop and (walk.best_loss == inf).any():
            walk.keep_in(best, score)
            walk = walk.part(walk.best_loss < inf)
            if not len(walk.x):
                return best, score
        walk.move(ball, first=step == 1)
        walk.look(target, stream if len(walk.x) == len(x) else stream.chosen(walk.columns), step)
        if step in ends:
            walk.check(step - last)
            last = step
    if not drop:
        return walk.best, walk.best_loss
    walk.keep_in(best, score)
    return best, score


@dataclass
class Walk:
    """Where one start of some images has come to; every field has an entry for each image.

    columns: which images of the batch they are.
    x, labels: of the images.
    here, before: the present point and the one before.
    gradient, loss: at the present point.
    length: of a step.
    best, best_loss, best_gradient: the best point so far, with its loss and its gradient.
    then: what the best loss was at the last checkpoint.
    risen: how many steps since then raised the loss.
    halved: whether the steps were halved then.
    """

    columns: Array
    x: Array
    labels: Array
    here: Array
    before: Array
    gradient: Array
    loss: Array
    length: Array
    best: Array
    best_loss: Array
    best_gradient: Array
    then: Array
    risen: Array
    halved: Array

    @staticmethod
    def at(
        start: Array, length: float, target: Queried, x: Array, labels: Array, stream: Stream, ends: bool = True
    ) -> "Walk":
        """At the points `start`, with steps of one length; ends: as of `look`."""
        xp = namespace(x)
        loss, gradient = _seen(target, start, labels, stream.at("step", 0), ends)
        lengths = xp.full(len(x), length, x.dtype)
        risen, halved = xp.zeros(len(x), int), xp.zeros(len(x), bool)
        best = (start, loss, gradient)
        return Walk(xp.arange(len(x)), x, labels, start, start, gradient, loss, lengths, *best, loss, risen, halved)

    def part(self, left: Array) -> "Walk":
        """The walks of some of the images.

        left: which, (N,) of bools.
        """
        return Walk(*(getattr(self, f.name)[left] for f in fields(self)))

    def keep_in(self, best: Array, score: Array) -> None:
        """Write the best points and their losses to where the whole batch's are."""
        best[self.columns], score[self.columns] = self.best, self.best_loss

    def move(self, ball: Ball, first: bool) -> None:
        """To the next point."""
        onward = _moved(ball, self.x, self.here, self.before, self.gradient, self.length, first)
        self.here, self.before = onward, self.here

    def look(self, target: Queried, stream: Stream, step: int, ends: bool = True) -> None:
        """Take the loss and the gradient of the present point.

        ends: whether a point that is misread for certain is the best there is.
        """
        xp, last = namespace(self.x), self.loss
        self.loss, self.gradient = _seen(target, self.here, self.labels, stream.at("step", step), ends)
        self.risen = self.risen + (self.loss > last)
        better = self.loss > self.best_loss
        self.best = xp.where(each(better), self.here, self.best)
        self.best_gradient = xp.where(each(better), self.gradient, self.best_gradient)
        self.best_loss = xp.maximum(self.loss, self.best_loss)

    def check(self, steps: int) -> None:
        """Halve the steps, and go back to the best point, where the last `steps` steps have led to little."""
        xp = namespace(self.x)
        stuck = ~self.halved & (self.best_loss == self.then)
        self.halved = (self.risen < RISING * steps) | stuck
        self.length = xp.where(self.halved, self.length / 2, self.length)
        self.go_back(self.halved)
        self.then, self.risen = self.best_loss, xp.zeros_like(self.risen)

    def go_back(self, where: Array) -> None:
        """To the best points of some of the images.

        where: which, (N,) of bools.
        """
        xp = namespace(self.x)
        self.here = xp.where(each(where), self.best, self.here)
        self.gradient = xp.where(each(where), self.best_gradient, self.gradient)
        self.loss = xp.where(where, self.best_loss, self.loss)


def by_draws(ball: Ball, steps: int, target: Queried, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
    """The best point of one start where the loss is that of draws of the noise, and its loss on the last of them."""
    xp, ends = namespace(x), checkpoints(steps)
    ends[-1] = steps
    best, here = x, started(ball, x, stream.at("start"))
    before, length = here, xp.full(len(x), 2 * ball.eps, x.dtype)
    points: list[Array] = []
    for step in range(1, steps + 1):
        _, gradient = target(here, labels, stream.at("step", step))
        here, before = _moved(ball, x, here, before, gradient, length, first=step == 1), here
        points.append(here)
        if step in ends:
            mean = ball.project(sum(points[1:], points[0]) / len(points), x)
            candidates, points, fresh = (here, best, mean), [], stream.at("checkpoint", step)
            losses = xp.stack([number(target.value(point, labels, fresh)) for point in candidates])
            # of equals the best so far is kept
            other = xp.where(each(losses[2] > losses[1]), mean, best)
            best = xp.where(each(losses[0] > losses[1:].max(axis=0)), here, other)
            here, length = best, length / 2
    return best, losses.max(axis=0)


def started(ball: Ball, x: Array, stream: Stream) -> Array:
    """A random point for each image, the one that it has in a batch of its own; on a GPU but for rounding."""
    if ball.norm != "l2" or namespace(x) is not np:
        return ball.random(x, stream)
    return np.concatenate([ball.random(x[n : n + 1], stream.further(n)) for n in range(len(x))])


def _moved(ball: Ball, x: Array, here: Array, before: Array, gradient: Array, length: Array, first: bool) -> Array:
    """The next point of a walk."""
    # sums over pixels are added in an order that the layout decides, and a batch's is not that of one image
    gradient = namespace(x).ascontiguousarray(gradient)
    onward = ball.project(here + each(length) * ball.steepest(gradient), x)
    if first:
        return onward
    return ball.project(here + ONWARD * (onward - here) + (1 - ONWARD) * (here - before), x)


def _seen(target: Queried, x: Array, labels: Array, stream: Stream, ends: bool) -> tuple[Array, Array]:
    """The loss, infinite where the image is misread for certain and that `ends` the walk, and the gradient."""
    if not target.certain:
        loss, gradient = target(x, labels, stream)
        return number(loss), gradient
    loss, misread, gradient = target.looked(x, labels, stream)
    return namespace(loss).where((misread > 0) & ends, inf, number(loss)), gradient
