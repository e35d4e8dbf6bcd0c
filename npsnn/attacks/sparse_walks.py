"""APGD's walks in L1: steps in few entries, whose number follows the best point, and radii that shrink to eps.

Source: Croce and Hein 2021 (arXiv 2103.01208), Sec. 3 and Algorithm 2, with the authors' code where the paper has no
number.
"""

from dataclasses import replace
from math import inf, prod

import numpy as np

from npsnn.attacks import l1
from npsnn.attacks.balls import Ball, each
from npsnn.attacks.targets import Queried
from npsnn.attacks.walks import Walk
from npsnn.backend import Array, namespace
from npsnn.streams import Stream

RADII = ((3, 0.3), (2, 0.3), (1, 0.4))
"""The radii in units of eps, with the part of the steps that each of them has."""
FIRST = 0.2
"""The part of the entries that the first steps move."""
FEWER = 1.5
"""How many times fewer entries than the best point's a step moves, and by how much steps become shorter."""
SHORTEST = 10
"""The shortest step is the radius over this."""
SPARSER = 0.95
"""Where the best point has less than this part of the entries that it had, the steps begin anew."""


def by_sparse_steps(
    ball: Ball, steps: int, target: Queried, x: Array, labels: Array, stream: Stream
) -> tuple[Array, Array]:
    """The best point of one start within eps, and its loss, which is infinite for one that is misread for certain."""
    start = replace(ball, eps=RADII[0][0] * ball.eps).random(x, stream.at("start"))
    taken = 0.0
    for stage, (times, part) in enumerate(RADII):
        wide, first = replace(ball, eps=times * ball.eps), round(taken * steps)
        taken += part
        own, count = stream.at("radius", stage), round(taken * steps) - first
        start, loss = _stage(stage, wide, count, max(steps // 25, 1), target, x, labels, own, wide.project(start, x))
    return start, loss


def _stage(
    stage: int,
    ball: Ball,
    steps: int,
    every: int,
    target: Queried,
    x: Array,
    labels: Array,
    stream: Stream,
    start: Array,
) -> tuple[Array, Array]:
    """The walk within one radius.

    stage: the number of the radius. With the last a misread image is done. After the first the walk goes on, and its
        first steps move as many entries as after a checkpoint.
    every: number of steps from one checkpoint to the next.
    """
    xp, entries, last = namespace(x), prod(x.shape[1:]), stage == len(RADII) - 1
    drop = last and target.certain and xp is np
    walk = Walk.at(start, ball.eps, target, x, labels, stream, ends=last)
    moving, before = xp.full(len(x), FIRST * entries), xp.full(len(x), float(entries))
    if stage:
        before = _changed(walk)
        moving = before / FEWER
    best, score = start.copy(), xp.full(len(x), -inf)
    for step in range(1, steps + 1):
        if drop and (walk.best_loss == inf).any():
            walk.keep_in(best, score)
            left = walk.best_loss < inf
            walk, moving, before = walk.part(left), moving[left], before[left]
            if not len(walk.x):
                return best, score
        direction = l1.along(walk.gradient, xp.maximum(moving.astype(int), 1))
        walk.here = ball.project(walk.here + each(walk.length) * direction, walk.x)
        walk.look(target, stream if len(walk.x) == len(x) else stream.chosen(walk.columns), step, ends=last)
        if step % every == 0:
            changed = _changed(walk)
            anew = changed < SPARSER * before
            shorter = xp.maximum(walk.length / FEWER, ball.eps / SHORTEST)
            walk.length = xp.where(anew, ball.eps, shorter).astype(x.dtype)
            walk.go_back(anew)
            moving, before = changed / FEWER, changed
    if not drop:
        return walk.best, walk.best_loss
    walk.keep_in(best, score)
    return best, score


def _changed(walk: Walk) -> Array:
    """How many entries of each image the best point has changed."""
    return (walk.best != walk.x).reshape(len(walk.x), -1).sum(axis=1).astype(float)
