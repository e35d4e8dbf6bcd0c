"""A loss of one's own over two views of an image, as `npsnn.train.TRADES` is one (Zhang et al. 2019)."""

from dataclasses import dataclass, field
from typing import Any

from npsnn.attacks import PGD, sampled
from npsnn.layers import Moments
from npsnn.ops.loss import cross_entropy, divergence
from npsnn.train import loss, total, view


@loss("own-trades")
@dataclass(frozen=True)
class OwnTRADES:
    """CE(f(x), y) + beta KL(f(x) || f(x')), where x' raises the divergence. Both views are differentiated, x' is not.

    beta: weight of the divergence.
    attack: what finds x', each step on a draw of the noise.
    """

    beta: float = 6.0
    attack: Any = field(default=PGD(8 / 255, steps=10))

    def gradient(self, network, images, labels, noise, stream):
        clean = view(network, images, noise)

        def apart(m, labels):  # what the attack raises
            kl, _, by_m = divergence(clean.logits.mean, m.mean)
            return kl, Moments(by_m)

        x_adv = self.attack(sampled(network, 1, apart), images, labels, stream)
        attacked = view(network, x_adv, noise.at("attacked"))
        values, by_values = cross_entropy(clean.logits.mean, labels)
        kl, by_clean, by_attacked = divergence(clean.logits.mean, attacked.logits.mean)
        views = (clean, Moments(by_values + self.beta * by_clean)), (attacked, Moments(self.beta * by_attacked))
        return total(values + self.beta * kl, labels, *views)


if __name__ == "__main__":
    from npsnn.testing import check_loss

    check_loss(OwnTRADES())
