"""The losses of one view: an objective of the logits' moments, on the images as they are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn import objectives
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise
from npsnn.streams import Stream
from npsnn.train.losses.base import Total, loss, one_view


@loss("noise-aware")
@dataclass(frozen=True)
class NoiseAware:
    """Squared error minus the mean probability that the label's logit wins (noise paper Sec. 2.2)."""

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        return one_view(network, images, labels, objectives.noise_aware, noise)


@loss("mse")
@dataclass(frozen=True)
class MSE:
    """Squared error of the mean logits against one-hot targets (noise paper Sec. 2.2)."""

    sees_variance: ClassVar[bool] = False

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        return one_view(network, images, labels, objectives.mse, noise)


@loss("cross-entropy")
@dataclass(frozen=True)
class CrossEntropy:
    """-ln softmax of the mean logits at the label."""

    sees_variance: ClassVar[bool] = False

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        return one_view(network, images, labels, objectives.cross_entropy, noise)


@loss("expected-cross-entropy")
@dataclass(frozen=True)
class ExpectedCrossEntropy:
    """The cross-entropy's expectation over the noisy logits, without draws (extension E3)."""

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        return one_view(network, images, labels, objectives.expected_cross_entropy, noise)
