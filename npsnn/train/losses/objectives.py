"""The losses of one view: an objective of the logits' moments, on the images as they are."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn import objectives
from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Noise
from npsnn.streams import Stream
from npsnn.train.losses.base import Total, loss, one_view


class OneView(ABC):
    """A loss that is an objective of the logits of the images as they are."""

    @abstractmethod
    def objective(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        """The values, (N,), and their gradient by the moments of the logits."""

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        return one_view(network, images, labels, self.objective, noise)


@loss("noise-aware")
@dataclass(frozen=True)
class NoiseAware(OneView):
    """Squared error minus the mean probability that the label's logit wins (noise paper Sec. 2.2)."""

    def objective(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        return objectives.noise_aware(m, labels)


@loss("mse")
@dataclass(frozen=True)
class MSE(OneView):
    """Squared error of the mean logits against one-hot targets (noise paper Sec. 2.2)."""

    sees_variance: ClassVar[bool] = False

    def objective(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        return objectives.mse(m, labels)


@loss("cross-entropy")
@dataclass(frozen=True)
class CrossEntropy(OneView):
    """-ln softmax of the mean logits at the label."""

    sees_variance: ClassVar[bool] = False

    def objective(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        return objectives.cross_entropy(m, labels)


@loss("expected-cross-entropy")
@dataclass(frozen=True)
class ExpectedCrossEntropy(OneView):
    """The cross-entropy's expectation over the noisy logits, without draws (extension E3)."""

    def objective(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        return objectives.expected_cross_entropy(m, labels)
