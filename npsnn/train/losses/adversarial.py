"""Adversarial training: images are attacked on the network as it is, before it learns from them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.data import as_float
from npsnn.layers.moments import Moments, Noise
from npsnn.streams import Stream
from npsnn.train.losses.base import Loss, Total, loss, total, view
from npsnn.train.scheduled import Scalar, check_scalar

if TYPE_CHECKING:
    from npsnn.attacks import Attack


class OfAnother:
    """A loss that is made of another one, its field `loss`."""

    loss: Any

    @property
    def plain(self) -> Loss:
        """The loss on the images as they are."""
        plain: Loss = self.loss
        return plain

    @property
    def sees_variance(self) -> bool:
        """Whether the value depends on the variance of the logits."""
        return bool(getattr(self.loss, "sees_variance", True))


class AgainstAttacked(ABC):
    """A loss of two views: the logits of clean images, and of those that its field `attack` makes of them.

    No gradient flows through the attack, which meets the network in its form for inference. Logits are their means
    where the noise is propagated, and have draws of their own where it is drawn. Each view has its own batch
    statistics.
    """

    attack: Any
    sees_variance: ClassVar[bool] = False

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x_adv = attacked(network, images, labels, self.attack, 1.0, stream)
        clean, other = view(network, images, noise), view(network, x_adv, noise.at("attacked"))
        values, by_clean, by_other = self.values(clean.logits.mean, other.logits.mean, labels)
        return total(values, labels, (clean, Moments(by_clean)), (other, Moments(by_other)))

    @abstractmethod
    def values(self, mean: Array, other: Array, labels: Array) -> tuple[Array, Array, Array]:
        """The values, (N,), and their gradients by the logits of the clean and of the attacked images, (classes, N)."""


@loss("adversarial")
@dataclass(frozen=True)
class Adversarial(OfAnother):
    """A loss on images of which a part is attacked.

    loss: on the images that the attack leaves.
    attack: as `attacks.BIM(0.1, steps=10, source=attacks.EoT(1))`, on the network in its form for inference.
    mix: part of each micro-batch that is attacked, in [0, 1], or a schedule of it: its first images.
    """

    loss: Any
    attack: "Attack"
    mix: Scalar = 0.5

    def __post_init__(self) -> None:
        check_attack(self.attack)
        check_scalar(self, "mix", high=1.0)

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        images = attacked(network, images, labels, self.attack, self.mix, stream)
        found: Total = self.loss.gradient(network, images, labels, noise, stream.at("loss"))
        return found


def check_attack(attack: Any) -> None:
    """Raise TypeError or ValueError, naming what is wrong, for what training cannot attack images by."""
    from npsnn.attacks.base import checked_attack

    checked_attack(attack)


def papers_attack(start: str, labels: str) -> Any:
    """The attack of most papers on adversarial training: Linf 8/255, ten steps of 2/255.

    start, labels: as of `attacks.Inner`.
    """
    from npsnn.attacks.inner import Inner

    return Inner(8 / 255, steps=10, step_size=2 / 255, start=start, labels=labels)


def attacked(
    network: Classifier, images: np.ndarray, labels: np.ndarray, attack: "Attack", mix: float, stream: Stream
) -> np.ndarray:
    """The first part `mix` of the images made adversarial: floats (N, C, H, W) in [0, 1].

    The attack meets the noise at its full size, as inference does, whatever the scale of the training's own draws.
    images: (N, C, H, W), uint8 or floats in [0, 1].
    labels: (N,).
    stream: random numbers of the attack, and draws of the noise, keyed by sample.
    """
    from npsnn.attacks import base

    x = as_float(images, network.dtype) if images.dtype == np.uint8 else images
    count = round(mix * len(x))
    if not count:
        return x
    target = base.target_of(attack, network)
    found = base.attacked(attack, target, *base.in_place(attack, target, x[:count], labels[:count]), stream)
    xp = namespace(found)
    # a GPU's images stay there, with the others
    return xp.concatenate([found, xp.asarray(x[count:])])  # type: ignore[no-any-return]
