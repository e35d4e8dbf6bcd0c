"""APGD on one image by loops, in the paper's notation: the plain version of `npsnn.attacks.apgd`.

Images are flat, (d,). Source: Croce and Hein 2020 (arXiv 2003.01690), Algorithm 1.
"""

from collections.abc import Callable
from math import ceil, sqrt
from typing import TypeAlias

import numpy as np

from .plain import Floats

Look: TypeAlias = Callable[[Floats], tuple[float, Floats, bool]]
"""The loss of an image, its gradient, and whether the image is misread."""


def checkpoints(steps: int) -> list[int]:
    """w_j = ⌈p_j steps⌉, with p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    p = [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    # a hundredth may have come out too large by rounding
    return sorted({ceil(round(part * steps, 9)) for part in p[1:-1]})


def project(z: Floats, x: Floats, eps: float, norm: str) -> Floats:
    """The point of the ball round x that is nearest to z, and then of the box."""
    delta = z - x
    if norm == "linf":
        delta = np.array([min(max(d, -eps), eps) for d in delta])
    else:
        size = sqrt(np.sum(delta * delta))
        delta = delta * (eps / max(size, eps)) if eps else 0 * delta
    return np.array([min(max(p, 0.0), 1.0) for p in x + delta])


def steepest(g: Floats, norm: str) -> Floats:
    """The direction of unit norm in which a function of gradient g rises most; 0 where g is 0."""
    if norm == "linf":
        return np.sign(g)
    if not g.any():
        return g
    # the squares of small numbers would be 0
    scaled = g / max(abs(one) for one in g)
    size = sqrt(np.sum(scaled * scaled))
    return np.array([one / size for one in scaled])


def apgd(f: Look, x: Floats, start: Floats, eps: float, norm: str, steps: int, stop: bool = True) -> Floats:
    """The first point that is misread, where `stop` says that such a point is what is looked for; or else the best."""
    s, a, rho = 2 * eps, 0.75, 0.75
    points = [start]
    loss, g, misread = f(start)
    if misread and stop:
        return start
    best, f_best, g_best, f_then = start, loss, g, loss
    halved, rises, last = False, 0, 0
    for k in range(steps):
        u = project(points[k] + s * steepest(g, norm), x, eps, norm)
        z = (
            u
            if k == 0
            else project(points[k] + a * (u - points[k]) + (1 - a) * (points[k] - points[k - 1]), x, eps, norm)
        )
        points.append(z)
        before = loss
        loss, g, misread = f(z)
        if misread and stop:
            return z
        rises += loss > before
        if loss > f_best:
            best, f_best, g_best = z, loss, g
        if k + 1 in checkpoints(steps):
            few = rises < rho * (k + 1 - last)
            stuck = not halved and f_best == f_then
            halved = few or stuck
            if halved:
                s, points[k + 1], loss, g = s / 2, best, f_best, g_best
            f_then, rises, last = f_best, 0, k + 1
    return best


def apgd_on_draws(
    gradient: Callable[[Floats, int], Floats],
    value: Callable[[Floats, int], float],
    x: Floats,
    start: Floats,
    eps: float,
    norm: str,
    steps: int,
) -> Floats:
    """The same walk where gradient and value are of draws of the noise: npsnn's own rule, not the paper's.

    gradient: of an image on the draws of a step. value: the loss of an image on the draws of a checkpoint.
    """
    s, best, here, before = 2 * eps, x, start, start
    since: list[Floats] = []
    ends = [*checkpoints(steps)[:-1], steps]
    for k in range(1, steps + 1):
        u = project(here + s * steepest(gradient(here, k), norm), x, eps, norm)
        z = u if k == 1 else project(here + 0.75 * (u - here) + 0.25 * (here - before), x, eps, norm)
        before, here = here, z
        since.append(z)
        if k in ends:
            mean = project(np.sum(since, axis=0) / len(since), x, eps, norm)
            since = []
            of_best, of_mean, of_here = value(best, k), value(mean, k), value(here, k)
            s = s / 2
            if of_here > max(of_best, of_mean):
                best = here
            elif of_mean > of_best:
                best = mean
            here = best
    return best
