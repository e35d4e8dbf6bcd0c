"""BPFC: an image and its coarse quantisation shall have the same logits; no image is attacked."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Noise
from npsnn.ops.loss import cross_entropy, squared_distance
from npsnn.streams import Stream
from npsnn.train.losses.base import Total, forwarded, loss, total
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.validate import check_count

LEVELS = 255
"""The steps from black to white of an 8-bit image."""
CAP = 3
"""The authors' code for CIFAR-10 has noise of at most 2^3 levels."""


@loss("bpfc")
@dataclass(frozen=True)
class BPFC:
    """CE(z, y) + weight ||z - z_q||²: z of the image, z_q of its quantisation to the highest 8 - bits bits.

    The gradients are (p - e_y) + 2 weight (z - z_q) by z and -2 weight (z - z_q) by z_q. z and z_q are mean logits
    where the noise is propagated, and have draws of their own where it is drawn. Each view has its own batch
    statistics.

    bits: number k of low bits that are quantised away, from 1 to 8. Uniform noise of ±2^(k-2) levels is added first.
    weight: of the distance, >= 0: lambda in the paper; a number or a schedule.
    capped: whether the noise is ±2^min(k-2, 3) levels, as in the code for CIFAR-10.
    Source: Addepalli et al. 2020 (arXiv 2004.00306); the quantisation is the code's.
    """

    bits: int = 5
    weight: Scalar = 1.0
    capped: bool = False

    sees_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_scalar(self, "weight")
        check_count("bits", self.bits)
        if self.bits > 8:
            raise ValueError(f"bits must be in 1 ... 8, got {self.bits}")

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x = network.to_engine(images)
        coarse = self.quantised(x, stream.at("quantised"))
        fine, other = forwarded(network, x, noise), forwarded(network, coarse, noise.at("quantised"))
        values, by_fine, by_other = self.values(fine.logits.mean, other.logits.mean, labels)
        return total(values, labels, (fine, Moments(by_fine)), (other, Moments(by_other)))

    def quantised(self, x: Array, stream: Stream) -> Array:
        """The centres of the cells of 2^k levels that the images are in after the noise, (..., N) in [0, 1].

        x: (..., N), floats in [0, 1], which are rounded to levels first.
        stream: random numbers of the noise, keyed by sample.
        """
        xp, cell = namespace(x), 2.0**self.bits
        amplitude = 2.0 ** (min(self.bits - 2, CAP) if self.capped else self.bits - 2)
        level = xp.rint(LEVELS * x) + amplitude * (2 * stream.uniform(x) - 1)
        return xp.clip(cell * xp.floor(level / cell) + cell / 2, 0, LEVELS) / LEVELS

    def values(self, mean: Array, other: Array, labels: Array) -> tuple[Array, Array, Array]:
        """The values, (N,), and their gradients by the logits of the images and of the quantised ones, (classes, N)."""
        surprise, slope = cross_entropy(mean, namespace(mean).asarray(labels))
        apart, by_mean, by_other = squared_distance(mean, other)
        return surprise + self.weight * apart, slope + self.weight * by_mean, self.weight * by_other
