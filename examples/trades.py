"""A loss of one's own over two views of an image: TRADES (Zhang et al. 2019)."""

from dataclasses import dataclass, field
from typing import Any

from scipy.special import log_softmax, softmax

from npsnn.attacks import PGD
from npsnn.layers import Moments, Sampled
from npsnn.ops.loss import cross_entropy
from npsnn.train import loss, total, view


@loss("trades")
@dataclass(frozen=True)
class TRADES:
    """CE(f(x), y) + beta KL(f(x) || f(x')), where x' raises the divergence. Both views are differentiated, x' is not.

    With p and q the two views' probabilities, the divergence has the gradients p∘(ln p - ln q - KL) and q - p.

    beta: weight of the divergence.
    attack: what finds x', each step on a draw of the noise.
    """

    beta: float = 6.0
    attack: Any = field(default=PGD(8 / 255, steps=10))

    def gradient(self, network, images, labels, noise, stream):
        clean = view(network, images, noise)
        p, log_p = softmax(clean.logits.mean, axis=0), log_softmax(clean.logits.mean, axis=0)

        def divergence(m, _):
            values = (p * (log_p - log_softmax(m.mean, axis=0))).sum(axis=0)
            return values, Moments(softmax(m.mean, axis=0) - p)

        def target(x, labels, stream):  # what the attack raises
            return network.loss_gradient(x, labels, Sampled(stream), divergence)

        attacked = view(network, self.attack(target, images, labels, stream), noise.at("attacked"))
        kl, by_attacked = divergence(attacked.logits, labels)
        by_kl = p * (log_p - log_softmax(attacked.logits.mean, axis=0) - kl)
        values, by_clean = cross_entropy(clean.logits.mean, labels)
        views = (clean, Moments(by_clean + self.beta * by_kl)), (attacked, Moments(self.beta * by_attacked.mean))
        return total(values + self.beta * kl, labels, *views)


if __name__ == "__main__":
    from npsnn.testing import check_loss

    check_loss(TRADES())
