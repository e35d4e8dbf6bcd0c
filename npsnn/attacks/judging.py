"""Accuracy under noise: a mean over test images and fresh draws, with an interval for both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from npsnn.attacks.statistics import wilson_interval
from npsnn.backend import namespace, to_host
from npsnn.classifier import Classifier
from npsnn.layers.moments import EXPECTATION, Sampled
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.validate import check_count

Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, eq=False, repr=False)
class Accuracy:
    """Mean accuracy over images and draws of the noise, with its 95 % interval.

    each: the part of the draws in which each image is classified correctly, (N,).
    """

    each: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.each):
            raise ValueError("an accuracy must be of at least one image, got none")

    def __repr__(self) -> str:
        low, high = self.ci95
        name = type(self).__name__
        return f"<{name} {self.mean:.4g} of {len(self.each)} images, 95 % interval {low:.4g} to {high:.4g}>"

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        low, high = wilson_interval(self.each)
        return float(low), float(high)


def judge(classifier: Classifier, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
    """The part of `draws` fresh draws in which each image of a micro-batch is classified correctly: (N,).

    Without noise there is one answer, whatever `draws` is.
    """
    noises = [Sampled(stream.at(d)) for d in range(draws)] if classifier.random else [EXPECTATION]
    drawn = [classifier.scores(x, noise).mean for noise in noises]
    logits = to_host(namespace(*drawn).stack(drawn))
    if not np.isfinite(logits).all():
        raise ValueError(f"the network's logits are not finite under a noise of sigma {classifier.sigma:g}")
    return np.asarray((logits.argmax(axis=1) == labels).mean(axis=0))


def accuracy(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    draws: int = 10,
    rng: Randomness = 0,
    progress: Progress | None = None,
) -> Accuracy:
    """Accuracy of the network under its own noise; of the expectation network where its sigma is 0.

    x: (N, C, H, W), floats in [0, 1] or 8-bit. Raises ValueError for what does not fit the network.
    """
    x, labels = checked(classifier, x, labels)
    check_count("draws", draws)
    stream = as_stream(rng)

    def one(s: slice) -> np.ndarray:
        return judge(classifier, x[s], labels[s], draws, stream.further(s.start))

    return Accuracy(np.concatenate(classifier.each_batch(one, len(x), progress)))


def checked(classifier: Classifier, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images as floats in [0, 1] and the labels, once they are known to fit the network; ValueError otherwise."""
    x, labels = classifier.checked(x, labels)
    if not len(x):
        raise ValueError("there must be at least one image, got none")
    return x, labels
