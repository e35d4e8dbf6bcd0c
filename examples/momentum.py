"""An attack of one's own: steps along a running sum of gradients (Dong et al. 2018, MI-FGSM)."""

from dataclasses import dataclass

import numpy as np

from npsnn.attacks import Attack, Ball, attack
from npsnn.attacks.sources import Source


@attack("momentum")
@dataclass(frozen=True)
class Momentum(Attack):
    """`steps` steps of eps / steps along the sign of g, where g ← decay g + gradient / mean |gradient|.

    eps: radius in units of the [0, 1] pixel.
    steps: number of gradient steps.
    decay: what is left of the sum after a step.
    source: where its gradients come from.
    """

    eps: float
    steps: int = 10
    decay: float = 1.0
    source: Source = Attack.source

    @property
    def ball(self):
        return Ball("linf", self.eps)

    def __call__(self, target, x, labels, stream):
        x_adv, g = x, np.zeros(x.shape)
        for step in range(self.steps):
            _, gradient = target(x_adv, labels, stream.at("step", step))
            size = np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
            g = self.decay * g + gradient / np.where(size > 0, size, 1)
            x_adv = self.ball.project(x_adv + self.eps / self.steps * np.sign(g), x)
        return x_adv


if __name__ == "__main__":
    from npsnn.testing import check_attack

    check_attack(Momentum(0.1))
