"""RLFLAT: adversarial training on images that are cut into blocks and shuffled (RLFAT in the paper)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Noise
from npsnn.ops.blocks import offsets, turned
from npsnn.ops.loss import cross_entropy, divergence, squared_distance
from npsnn.streams import Stream
from npsnn.train.losses.adversarial import attacked, check_attack, papers_attack
from npsnn.train.losses.base import Total, View, loss, total, view
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.validate import check_choice

FORMS = {"P": ("uniform", "true", 0.5), "T": ("gauss", "soft", 1.0)}
"""The start and the labels of the attack and the weight, by form, as in the code."""


@loss("rlflat")
@dataclass(frozen=True)
class RLFLAT:
    """The attacked image x' and its shuffled blocks shall have the same logits, z' and z_s.

    Form "P", after PGD: CE(z_s, y) + weight ||z_s - z'||². Form "T", after TRADES: CE(z, y) + beta KL(p || q_s) +
    weight ||z_s - z'||², z and p of the clean image, q_s of the shuffled one. Each axis of the images is cut in two at
    a random place, the same for all images of a batch, and the two parts change places with probability 1/2. No
    gradient flows through the attack. Logits are their means where the noise is propagated, and have draws of their own
    where it is drawn. Each view has its own batch statistics. The training accuracy of form P is that on x'.

    attack: None for that of the form, 10 steps of 2/255 in Linf 8/255: for P from a random point, for T that of TRADES.
    weight: of the distance, >= 0: eta in the paper; a number or a schedule. None for that of the form, 0.5 or 1.
    form: "P" or "T".
    beta: weight of the divergence in form T, >= 0; a number or a schedule.
    Source: Song et al. 2020 (arXiv 1909.10147), called RLFAT there; the shuffle is the code's, of 2 x 2 blocks.
        Departure: the attack meets the network in its form for inference, in the code with the statistics of the batch.
    """

    attack: Any = None
    weight: Any = None
    form: str = "P"
    beta: Scalar = 6.0

    sees_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)
        start, labels, weight = FORMS[self.form]
        if self.attack is None:
            object.__setattr__(self, "attack", papers_attack(start, labels))
        if self.weight is None:
            object.__setattr__(self, "weight", weight)
        for name in ("weight", "beta"):
            check_scalar(self, name)
        check_attack(self.attack)

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x_adv = attacked(network, images, labels, self.attack, 1.0, stream)
        whole = view(network, x_adv, noise.at("attacked"))
        shuffled = view(network, turned(x_adv, self.cuts(x_adv, stream)), noise.at("shuffled"))
        views: tuple[View, ...] = (whole, shuffled)
        if self.form == "P":
            values, *slopes = self.plain_values(whole.logits.mean, shuffled.logits.mean, labels)
        else:
            clean = view(network, images, noise)
            values, *slopes = self.values(clean.logits.mean, whole.logits.mean, shuffled.logits.mean, labels)
            views = (clean, *views)
        return total(values, labels, *((v, Moments(g)) for v, g in zip(views, slopes, strict=True)))

    def cuts(self, x: Array, stream: Stream) -> tuple[Array, ...]:
        """By how much each axis is turned, the same for all parts of a batch.

        x: (N, C, H, W).
        stream: random numbers of the batch's part.
        """
        uniform = stream.at("cuts").batch_draw().uniform(namespace(x).empty((4, 1), x.dtype))
        return offsets(uniform, x.shape[2:])

    def plain_values(self, whole: Array, shuffled: Array, labels: Array) -> tuple[Array, Array, Array]:
        """The values of form P, (N,), and their gradients by the logits of x' and of its shuffled blocks."""
        surprise, slope = cross_entropy(shuffled, namespace(shuffled).asarray(labels))
        apart, by_shuffled, by_whole = squared_distance(shuffled, whole)
        return surprise + self.weight * apart, self.weight * by_whole, slope + self.weight * by_shuffled

    def values(self, clean: Array, whole: Array, shuffled: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
        """The values of form T, (N,), and their gradients by the logits of x, of x' and of its shuffled blocks."""
        surprise, slope = cross_entropy(clean, namespace(clean).asarray(labels))
        kl, by_clean, by_shuffled = divergence(clean, shuffled)
        apart, more, by_whole = squared_distance(shuffled, whole)
        values = surprise + self.beta * kl + self.weight * apart
        return (
            values,
            slope + self.beta * by_clean,
            self.weight * by_whole,
            self.beta * by_shuffled + self.weight * more,
        )
