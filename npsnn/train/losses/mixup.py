"""Mixup: the network learns from mixtures of two images, with their labels mixed alike."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, constant, namespace, special
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Noise
from npsnn.objectives import cross_entropy
from npsnn.streams import Stream
from npsnn.train.losses.base import Total, View, loss, total
from npsnn.validate import check_types


@loss("mixup")
@dataclass(frozen=True)
class Mixup:
    """λ CE(z, y) + (1 - λ) CE(z, y'), where z are the logits of the mixture λx + (1 - λ)x' of two images.

    alpha: λ ~ Beta(alpha, alpha), > 0; 1 makes λ uniform.
    Each image x has a partner x', another image of its micro-batch, and a λ of its own, keyed by sample. The partner
    comes k places later, the first image after the last; k is one number for a micro-batch, keyed by its first sample,
    and each k from 1 to N - 1 is as likely. As each epoch shuffles the images, so it does the pairs. An image alone in
    its micro-batch is its own partner. Correct are the mixtures whose answer is y.
    `npsnn.train.Adversarial(Mixup(), attack)` mixes images of which a part is attacked.
    Raises ValueError for another alpha.
    Source: Zhang et al. 2018, Eq. 1; one λ for each pair, as in Pang et al. 2020. Departure: the authors mix with a
    random permutation of the whole batch, in which an image may be its own partner.
    """

    alpha: float = 1.0
    sees_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be > 0 and finite, got {self.alpha!r}")

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x = network.to_engine(images)
        targets = namespace(x).asarray(labels)
        partner, weight = partners(x, stream.at("partners")), self.weights(x, stream.at("weights"))
        mixed = Moments(weight * x + (1 - weight) * x[..., partner])
        one = View(network, *network.model.network.forward(network.params, mixed, noise))
        (own, by_own), (other, by_other) = (cross_entropy(one.logits, y) for y in (targets, targets[partner]))
        cotangent = Moments(weight * by_own.mean + (1 - weight) * by_other.mean)
        return total(weight * own + (1 - weight) * other, labels, (one, cotangent))

    def weights(self, x: Array, stream: Stream) -> Array:
        """λ of each image, (N,), by the inverse of its distribution function.

        x: (H, C, W, N), whose dtype and library they get.
        stream: random numbers, keyed by sample.
        """
        u = stream.uniform(x[0, 0, :1])[0]
        return u if self.alpha == 1 else special(u).betaincinv(self.alpha, self.alpha, u).astype(u.dtype)


def partners(x: Array, stream: Stream) -> Array:
    """The place of each image's partner, (N,), some places later in the circle of the images.

    x: (H, C, W, N), whose library they get.
    stream: random numbers, keyed by sample.
    """
    examples = x.shape[-1]
    places = constant(np.arange(examples), np.int64, x)
    u = stream.uniform(namespace(x).empty((1, 1)))[0]
    return (places + 1 + (u * (examples - 1)).astype(np.int64)) % examples
