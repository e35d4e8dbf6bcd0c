"""What a few calls tell of a function: its classes, whether it is random, and whether it can be a target at all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npsnn.foreign import name_of
from npsnn.layers.base import Shape
from npsnn.streams import Stream

IMAGES = 16
"""The most images of a call of a probe."""
FEW, SEEDS, MOST = 4, 16, 64
"""The draws that are compared with the first one: at least, before a function counts as one without noise, and where it
is known to draw: some draw seldom, as who flips a coin for all images."""
ALIKE = 1e-3
"""Answers that differ by no more than this part of the largest logit count as the same, where they should be."""
CLEARLY = 10.0
"""Answers under two seeds differ where they do so by this many times what two calls under one seed differ by."""


SHARED = 0.01
"""All images of a call share a draw where like images get answers that differ by less than this part of a draw's."""


class Probed(NamedTuple):
    """What a few calls tell of a function.

    classes: number of its classes.
    random: whether answers differ between seeds.
    shared: whether all images of a call have one draw.
    """

    classes: int
    random: bool
    shared: bool


def probed(function: Any, shape: Shape, dtype: Any, batch: int, random: bool | None = None) -> Probed:
    """Look at a function by its answers to images of uniform noise.

    function: as `npsnn.interop.functions.Function` says.
    shape: one image, (C, H, W).
    dtype: of the images.
    batch: the most images of a call.
    random: whether answers differ between seeds, where it is known.
    Raises ValueError for answers of a wrong shape or that are not finite, for an image whose answer depends on the
    other images of its call, and for noise that the seed does not set.
    """
    who = name_of(function)
    plain = isinstance(shape, tuple | list) and all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    if not plain or len(shape) != 3:
        raise ValueError(f"shape must be one image's, (C, H, W), got {in_line(shape)}")
    x = Stream(0).generator().random((min(batch, IMAGES), *shape)).astype(dtype)

    def logits(images: np.ndarray, seed: int) -> np.ndarray:
        found, _ = checked_logits(function, images.copy(), seed)
        if not np.isfinite(found).all():
            odd = found[~np.isfinite(found)][0]
            raise ValueError(f"the logits of {who} must be finite, got {odd} for images of uniform noise")
        return found.astype(np.float64)

    first = logits(x, 0)
    scale = float(np.abs(first).max()) or 1.0
    repeated = _apart(first, logits(x, 0))
    if repeated > ALIKE * scale:
        raise ValueError(f"{who} must give the same logits under the same seed: draw(seed) must set all of its noise")
    others = 1 - x
    others[0] = x[0]
    if _apart(first[0], logits(others, 0)[0]) > max(ALIKE * scale, CLEARLY * repeated):
        advice = "put batch normalisation in eval mode"
        raise ValueError(f"{who} must answer for each image by itself, but looks at the others of its batch: {advice}")
    drawn, last = 0.0, 0
    for seed in range(1, 1 + (SEEDS if random is None else MOST if random else 0)):
        drawn, last = max(drawn, _apart(first, logits(x, seed))), seed
        if seed >= FEW and drawn > CLEARLY * repeated:
            break
    random = drawn > CLEARLY * repeated if random is None else random
    shared = random and len(x) > 1 and _spread(logits(np.repeat(x[:1], len(x), axis=0), last)) < SHARED * drawn
    return Probed(first.shape[1], bool(random), bool(shared))


def checked_logits(
    function: Any, x: np.ndarray, seed: int, classes: int | None = None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The answer of a function: its logits, (n, classes), and the vector-Jacobian product.

    x: images (n, C, H, W), which the function may write to.
    seed: of the draw.
    classes: number of classes, where it is known.
    Raises ValueError, naming the function, for an error in it and for an answer of another form.
    """
    who, (count, shape) = name_of(function), (len(x), x.shape)
    try:
        answer = function(x, seed)
    except Exception as error:
        raise ValueError(f"{who} cannot answer for {x.dtype} images of the shape {shape}: {in_line(error)}") from error
    if not (isinstance(answer, tuple) and len(answer) == 2 and callable(answer[1])):
        raise ValueError(f"{who} must return its logits and a function of their cotangent, got {type(answer).__name__}")
    logits = np.asarray(answer[0])
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] != (classes or max(2, logits.shape[1])):
        expected = f"({count}, {classes or 'classes'}){'' if classes else ' with at least two classes'}"
        raise ValueError(f"the logits of {who} must have the shape {expected}, got {logits.shape}")
    if logits.dtype.kind != "f":
        raise ValueError(f"the logits of {who} must be floats, got {logits.dtype}")
    return logits, answer[1]


def _spread(logits: np.ndarray) -> float:
    return _apart(logits, logits[:1])


def in_line(value: Any) -> str:
    """The first line of an error or another value, or its kind where it says nothing."""
    return str(value).strip().partition("\n")[0] or type(value).__name__


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())
