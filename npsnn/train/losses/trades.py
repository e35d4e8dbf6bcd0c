"""TRADES: what an attack changes in the answers is a part of the loss."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Noise
from npsnn.ops.loss import cross_entropy, divergence
from npsnn.streams import Stream
from npsnn.train.losses.adversarial import attacked, check_attack, papers_attack
from npsnn.train.losses.base import Total, loss, total, view
from npsnn.train.scheduled import Scalar, check_scalar


@loss("trades")
@dataclass(frozen=True)
class TRADES:
    """CE(z, y) + beta KL(p || q): p = softmax(z) of the clean image, q = softmax(z') of the one that the attack makes.

    The gradients are (p - e_y) + beta p∘(ln p - ln q - KL) by z and beta (q - p) by z'; none flows through the attack.
    z and z' are mean logits where the noise is propagated, and have draws of their own where it is drawn. Each view has
    its own batch statistics. The attack meets the network in its form for inference.

    beta: weight of the divergence, >= 0; a number or a schedule.
    attack: by default that of the code, 10 steps of 2/255 in Linf 8/255 that raise the divergence.
    Source: Zhang et al. 2019 (arXiv 1901.08573), with the KL divergence and 1/lambda = beta as in the code.
    """

    beta: Scalar = 6.0
    attack: Any = field(default_factory=partial(papers_attack, "gauss", "soft"))

    sees_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_scalar(self, "beta")
        check_attack(self.attack)

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x_adv = attacked(network, images, labels, self.attack, 1.0, stream)
        clean, other = view(network, images, noise), view(network, x_adv, noise.at("attacked"))
        values, by_clean, by_other = self.values(clean.logits.mean, other.logits.mean, labels)
        return total(values, labels, (clean, Moments(by_clean)), (other, Moments(by_other)))

    def values(self, mean: Array, other: Array, labels: Array) -> tuple[Array, Array, Array]:
        """The values, (N,), and their gradients by the logits of the clean and of the attacked images, (classes, N)."""
        surprise, slope = cross_entropy(mean, namespace(mean).asarray(labels))
        apart, by_mean, by_other = divergence(mean, other)
        return surprise + self.beta * apart, slope + self.beta * by_mean, self.beta * by_other
