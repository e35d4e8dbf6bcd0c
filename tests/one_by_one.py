"""Targets that compute image by image, so that no bit of an answer depends on the batch."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from npsnn.streams import Stream, as_stream


def waves(image: np.ndarray, label: int) -> float:
    """A loss with slopes of any size and sign, curved a little, below 0 at first."""
    slope = np.sin(1.7 * np.arange(image.size) + label).reshape(image.shape)
    moved = float((slope * (image - 0.5)).sum())
    return moved + 0.1 * float(np.cos(9 * image).sum() / image.size) - 0.9


@dataclass
class OneByOne:
    """A target of which everything is known.

    loss: of an image and its label.
    noise: how far the loss of an image differs from draw to draw.
    certain, signed: what a target says of itself.
    """

    loss: Callable[[np.ndarray, int], float] = waves
    noise: float = 0.0
    certain: bool = True
    signed: bool = True
    passes: int = 1
    asked: list[int] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    @property
    def random(self) -> bool:
        return self.noise > 0

    def looks(self, draws: int) -> int:
        return draws if self.random else 1

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        self.asked.append(len(x))
        self.streams.append(stream)
        losses = np.array([self.loss(image, int(label)) for image, label in zip(x, labels, strict=True)])
        return losses + self.noise * as_stream(stream).normal(np.empty(len(x)))

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        return (self.value(x, labels, stream) > 0).astype(float)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("no gradient is needed")
