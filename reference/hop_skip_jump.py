"""HopSkipJump on one image of a network with one answer, as its paper has it: slow, plain.

`misread(point)` is the answer, and `drawn(purpose, shape)` gives random numbers from outside: uniform on [0, 1) for a
start, and for directions of Linf, else normal. Chen, Jordan and Wainwright 2020, Algorithms 1 and 2.
"""

from collections.abc import Callable
from math import ceil, log2, sqrt
from typing import Any

import numpy as np

Draw = Callable[[tuple[str | int, ...], tuple[int, ...]], Any]
Answer = Callable[[Any], bool]


def length(delta: Any, norm: str) -> float:
    """The distance of a perturbation."""
    flat = np.abs(delta.astype(np.float64)).ravel()
    return float(flat.max()) if norm == "linf" else sqrt(float((flat * flat).sum()))


def towards(x: Any, far: Any, part: float, norm: str) -> Any:
    """A point at a part of the distance from x to another."""
    delta = far - x
    if norm == "linf":
        most = part * length(delta, norm)
        return np.clip(x + np.clip(delta, -most, most), 0, 1)
    return np.clip(x + part * delta, 0, 1)


def to_boundary(x: Any, far: Any, misread: Answer, norm: str) -> Any:
    """The misread point nearest to x on the way to a misread one, by bisection as fine as the paper's θ."""
    low, high = 0.0, 1.0
    for _ in range(ceil(log2(x.size ** (2.0 if norm == "linf" else 1.5)))):
        middle = (low + high) / 2
        if misread(towards(x, far, middle, norm)):
            high = middle
        else:
            low = middle
    return towards(x, far, high, norm) if high < 1 else far


def direction(here: Any, misread: Answer, draws: list[Any], radius: float, norm: str) -> Any:
    """The estimate of the gradient's direction by answers at points close by, of which their mean is taken away."""
    steps, answers = [], []
    for u in draws:
        u = u / np.sqrt((u * u).sum())
        there = np.clip(here + radius * u, 0, 1)
        steps.append((there - here) / radius)
        answers.append(1.0 if misread(there) else -1.0)
    mean = sum(answers) / len(answers)
    alike = abs(mean) == 1
    way = sum((answer - (0 if alike else mean)) * u for answer, u in zip(answers, steps, strict=True))
    return np.sign(way) if norm == "linf" else way / np.sqrt((way * way).sum())


def hop_skip_jump(x: Any, misread: Answer, start: Any, norm: str, steps: int, directions: int, drawn: Draw) -> Any:
    """The nearest point after some steps from a misread start."""
    here = to_boundary(x, start, misread, norm)
    best = here
    for t in range(1, steps + 1):
        distance = length(here - x, norm)
        radius = 0.1 if t == 1 else distance / x.size
        draws = [drawn(("step", t, "direction", n), x.shape) for n in range(int(directions * sqrt(t)))]
        draws = [2 * u - 1 for u in draws] if norm == "linf" else draws
        way, size = direction(here, misread, draws, radius, norm), distance / sqrt(t)
        while not misread(np.clip(here + size * way, 0, 1)):
            size = size / 2
        here = to_boundary(x, np.clip(here + size * way, 0, 1), misread, norm)
        if length(here - x, norm) < length(best - x, norm):
            best = here
    return best
