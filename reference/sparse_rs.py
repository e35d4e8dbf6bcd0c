"""Sparse-RS in L0 on one image by lists of pixels, as its paper has it: slow, plain.

Random numbers come from outside: `drawn(purpose, shape)` is uniform on [0, 1). Croce, Andriushchenko, Singh, Flammarion
and Hein 2022.
"""

from math import floor
from typing import Any

from .square import Draw, Loss


def exchanged(i: int, queries: int, share: float, pixels: int) -> int:
    """How many pixels the i-th proposal exchanges, on a schedule for 10,000 queries."""
    i, divisor = floor(i * 10_000 / queries), 1
    for limit, larger in zip(
        (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000), (2, 4, 5, 6, 8, 10, 12, 15, 20), strict=True
    ):
        if i > limit:
            divisor = larger
    return max(floor(share / divisor * pixels), 1)


def painted(image: Any, place: int, numbers: Any) -> None:
    """One pixel becomes black or white in each channel."""
    for c in range(len(image)):
        image[c, place // image.shape[2], place % image.shape[2]] = 1.0 if numbers[c] < 0.5 else 0.0


def picked(places: list[int], numbers: Any) -> list[int]:
    """Some of the places, each as likely; they come to the front of the list."""
    for at, number in enumerate(numbers):
        other = at + floor(number * (len(places) - at))
        places[at], places[other] = places[other], places[at]
    return places[: len(numbers)]


def sparse_rs(loss: Loss, x: Any, pixels: int, queries: int, share: float, drawn: Draw, stops: bool) -> Any:
    """The image of the highest loss that the attack meets; the clean one where no other has a higher loss.

    loss: of an image, to be raised; above 0 an image is misread.
    x: the image, (C, H, W).
    stops: whether a misread image ends the search.
    """
    channels, height, width = x.shape
    clean = loss(x)
    if stops and clean > 0:
        return x
    keys, colours = drawn(("first", "places"), (height * width,)), drawn(("first", "colours"), (channels, pixels))
    order = sorted(range(height * width), key=lambda place: keys[place])
    changed, rest, best = order[:pixels], order[pixels:], x.copy()
    for n, place in enumerate(changed):
        painted(best, place, colours[:, n])
    worth, most = loss(best), exchanged(0, queries, share, pixels)
    for asked in range(2, queries):
        if stops and worth > 0:
            break
        if asked % 100 == 0 or asked == 2:
            first = asked
            numbers = drawn(
                ("proposals", asked // 100), (min((asked // 100 + 1) * 100, queries) - asked, most * (2 + channels))
            )
        row, few = numbers[asked - first], exchanged(asked - 2, queries, share, pixels)
        others = min(few, len(rest))
        ours, theirs, candidate = list(changed), list(rest), best.copy()
        back, taken = picked(ours, row[:few]), picked(theirs, row[few : few + others])
        for place in back:
            candidate[:, place // width, place % width] = x[:, place // width, place % width]
        ours[:others], theirs[:others] = taken, back[:others]
        for n, place in enumerate(ours[:few]):
            painted(candidate, place, [row[2 * few + c * few + n] for c in range(channels)])
        found = loss(candidate)
        if found > worth:
            best, worth, changed, rest = candidate, found, ours, theirs
    return best if worth > clean else x
