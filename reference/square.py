"""The Square attack on one image by loops over pixels, as its paper has it: slow, plain.

Random numbers come from outside: `drawn(purpose, shape)` is uniform on [0, 1). Andriushchenko, Croce, Flammarion and
Hein 2020, Algorithms 1 to 3.
"""

from collections.abc import Callable
from math import floor, sqrt
from typing import Any

import numpy as np

Draw = Callable[[tuple[str | int, ...], tuple[int, ...]], Any]
Loss = Callable[[Any], float]


def side_of(i: int, queries: int, share: float, height: int, width: int) -> int:
    """The side of the i-th square, rounded: the share p is halved on a schedule for 10,000 queries."""
    i = floor(i * 10_000 / queries)
    for limit in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
        if i > limit:
            share = share / 2
    return round(sqrt(share * height * width))


def clipped(value: Any) -> Any:
    """A pixel of the box."""
    return min(max(value, type(value)(0)), type(value)(1))


def stripes(x: Any, eps: float, drawn: Draw) -> Any:
    """The first point of the attack in Linf: each column of each channel moves up or down."""
    found, numbers = x.copy(), drawn(("first",), (x.shape[0], x.shape[2]))
    for c, i, j in np.ndindex(*x.shape):
        found[c, i, j] = moved(x[c, i, j], eps, numbers[c, j] < 0.5)
    return found


def moved(pixel: Any, eps: float, up: bool) -> Any:
    """A pixel at the end of its range."""
    eps = type(pixel)(eps)
    return clipped(pixel + eps if up else pixel - eps)


def with_square(x: Any, best: Any, eps: float, side: int, numbers: Any) -> Any:
    """One more square; with the opposite signs if it would change nothing."""
    channels, height, width = x.shape
    side = min(max(side, 1), height, width)
    top, left = floor(numbers[0] * (height - side + 1)), floor(numbers[1] * (width - side + 1))
    for turned in (False, True):
        found = best.copy()
        for c in range(channels):
            for i in range(top, top + side):
                for j in range(left, left + side):
                    found[c, i, j] = moved(x[c, i, j], eps, (numbers[2 + c] < 0.5) != turned)
        if (found != best).any():
            break
    return found


def norm_of(delta: Any) -> Any:
    """The Euclidean norm of an array of one channel."""
    return np.sqrt((delta.ravel() ** 2).sum())


def bump(height: int, width: int) -> Any:
    """Eq. 2 of the paper: two halves of opposite signs, of rectangles around the middle that count 1/k²; of norm 1."""
    eta = np.zeros((height, width))
    for start, rows, sign in ((0, height // 2, 1), (height // 2, height - height // 2, -1)):
        half = np.zeros((rows, width))
        for i, j in np.ndindex(rows, width):
            # the smallest of the rectangles that holds the pixel, and all the larger ones
            least = max(abs(i - rows // 2), abs(j - width // 2))
            for k in range(least, max(rows, width) // 2 + 1):
                half[i, j] += 1 / (k + 1) ** 2
        if half.any():
            eta[start : start + rows] = sign * half / norm_of(half)
    return eta / norm_of(eta)


def turned_bump(height: int, width: int, number: float) -> Any:
    """The bump, upright or lying."""
    return bump(height, width) if number < 0.5 else bump(width, height).T


def at_distance(x: Any, delta: Any, eps: float) -> Any:
    """The image at the distance eps in the direction delta, clipped."""
    size = np.sqrt(sum((d.ravel() ** 2).sum() for d in delta))
    found = x.copy()
    for place in np.ndindex(*x.shape):
        step = delta[place] / size * eps if size > 0 else 0.0
        found[place] = clipped(x[place] + x.dtype.type(step))
    return found


def tiles(x: Any, eps: float, drawn: Draw) -> Any:
    """The first point of the attack in L2: a grid of bumps."""
    channels, height, width = x.shape
    a, b = max(height // 5, 1), max(width // 5, 1)
    rows, columns = height // a, width // b
    numbers, delta = drawn(("first",), (rows * columns, 1 + channels)), np.zeros(x.shape)
    for tile in range(rows * columns):
        top = (height - rows * a) // 2 + tile // columns * a
        left = (width - columns * b) // 2 + tile % columns * b
        for c in range(channels):
            sign = 1 if numbers[tile, 1 + c] < 0.5 else -1
            delta[c, top : top + a, left : left + b] = sign * turned_bump(a, b, numbers[tile, 0])
    return at_distance(x, delta, eps)


def with_bump(x: Any, best: Any, eps: float, side: int, numbers: Any) -> Any:
    """A window W1 gets a bump, and with it the norm of the window W2, which becomes 0."""
    channels, height, width = x.shape
    side = max(side, 3)
    side = min(side if side % 2 else side + 1, height, width)
    side = side if side % 2 else side - 1
    tops = [floor(u * (height - side + 1)) for u in (numbers[0], numbers[2])]
    lefts = [floor(u * (width - side + 1)) for u in (numbers[1], numbers[3])]
    (w1, w2) = ((slice(t, t + side), slice(s, s + side)) for t, s in zip(tops, lefts, strict=True))
    delta = best.astype(np.float64) - x
    unused = max(eps**2 - sum((d.ravel() ** 2).sum() for d in delta), 0) / channels
    for c in range(channels):
        old = delta[c][w1].copy()
        delta[c][w1] = 0
        rest = delta[c][w2].copy()
        delta[c][w2] = 0
        budget = unused + ((old.ravel() ** 2).sum() + (rest.ravel() ** 2).sum())
        eta = (1 if numbers[5 + c] < 0.5 else -1) * turned_bump(side, side, numbers[4])
        new = eta + old / (norm_of(old) or 1)
        delta[c][w1] = new / (norm_of(new) or 1) * np.sqrt(budget)
    return at_distance(x, delta, eps)


def square(loss: Loss, x: Any, eps: float, norm: str, queries: int, share: float, drawn: Draw, stops: bool) -> Any:
    """The image of the highest loss that the attack meets; the clean one where no other has a higher loss.

    loss: of an image, to be raised; above 0 an image is misread.
    x: the image, (C, H, W).
    stops: whether a misread image ends the search.
    """
    clean = loss(x)
    if stops and clean > 0:
        return x
    begin, change = {"linf": (stripes, with_square), "l2": (tiles, with_bump)}[norm]
    best, numbers_of = begin(x, eps, drawn), {"linf": 2, "l2": 5}[norm] + len(x)
    worth, numbers = loss(best), None
    for asked in range(2, queries):
        if stops and worth > 0:
            break
        if asked % 100 == 0 or numbers is None:
            window, first = asked // 100, asked if asked % 100 else asked // 100 * 100
            numbers = drawn(("proposals", window), (min((window + 1) * 100, queries) - first, numbers_of))
        i = asked - 2
        candidate = change(x, best, eps, side_of(i, queries, share, *x.shape[1:]), numbers[asked - first])
        found = loss(candidate)
        if found > worth:
            best, worth = candidate, found
    return best if worth > clean else x
