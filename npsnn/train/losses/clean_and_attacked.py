"""Adversarial training on each image twice, without an attack and with one."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise
from npsnn.streams import Stream
from npsnn.train.losses.adversarial import OfAnother, attacked, check_attack, papers_attack
from npsnn.train.losses.base import Total, loss, weighted
from npsnn.train.losses.objectives import CrossEntropy
from npsnn.train.scheduled import Scalar, check_scalar


@loss("clean-and-attacked")
@dataclass(frozen=True)
class CleanAndAttacked(OfAnother):
    """(1 - attacked) loss(x) + attacked loss(x'): x the clean image, x' the one that the attack makes of it.

    No gradient flows through the attack, which meets the network in its form for inference. Both parts have draws of
    the noise and batch statistics of their own. With attacked = 0 no image is attacked, and with attacked = 1 none is
    seen clean.

    attack: by default that of the codes with the size of most papers: 10 steps of 2/255 in Linf 8/255, from a random
        point, which raise the loss of the network's own answer to the clean image.
    attacked: weight of the attacked image, in [0, 1]; a number or a schedule. `Times(0.5, Since(5/160))` attacks none
        in the first 5 of 160 epochs.
    loss: of each part.
    Source: He et al. 2019 (arXiv 1811.09310), PNI, and Jeddi et al. 2020 (arXiv 2003.01090), L2P.
    """

    attack: Any = field(default_factory=partial(papers_attack, "uniform", "predicted"))
    attacked: Scalar = 0.5
    loss: Any = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        check_scalar(self, "attacked", high=1.0)
        check_attack(self.attack)

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        parts: list[tuple[float, Total]] = []
        if self.attacked < 1:
            parts.append((1 - self.attacked, self._of(network, images, labels, noise, stream.at("loss"))))
        if self.attacked > 0:
            x_adv = attacked(network, images, labels, self.attack, 1.0, stream)
            noise, stream = noise.at("attacked"), stream.at("loss", "attacked")
            parts.append((self.attacked, self._of(network, x_adv, labels, noise, stream)))
        return weighted(network, *parts) if len(parts) > 1 else parts[0][1]

    def _of(self, *asked: Any) -> Total:
        found: Total = self.loss.gradient(*asked)
        return found
