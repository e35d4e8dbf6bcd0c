"""TRADES: what an attack changes in the answers is a part of the loss."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from npsnn.backend import Array, namespace
from npsnn.ops.loss import cross_entropy, divergence
from npsnn.train.losses.adversarial import AgainstAttacked, check_attack, papers_attack
from npsnn.train.losses.base import loss
from npsnn.train.scheduled import Scalar, check_scalar


@loss("trades")
@dataclass(frozen=True)
class TRADES(AgainstAttacked):
    """CE(z, y) + beta KL(p || q): p = softmax(z) of the clean image, q = softmax(z') of the one that the attack makes.

    The gradients are (p - e_y) + beta p∘(ln p - ln q - KL) by z and beta (q - p) by z'; the views are those of
    `AgainstAttacked`.

    beta: weight of the divergence, >= 0; a number or a schedule.
    attack: by default that of the code, 10 steps of 2/255 in Linf 8/255 that raise the divergence.
    Source: Zhang et al. 2019 (arXiv 1901.08573), with the KL divergence and 1/lambda = beta as in the code.
    """

    beta: Scalar = 6.0
    attack: Any = field(default_factory=partial(papers_attack, "gauss", "soft"))

    def __post_init__(self) -> None:
        check_scalar(self, "beta")
        check_attack(self.attack)

    def values(self, mean: Array, other: Array, labels: Array) -> tuple[Array, Array, Array]:
        surprise, slope = cross_entropy(mean, namespace(mean).asarray(labels))
        apart, by_mean, by_other = divergence(mean, other)
        return surprise + self.beta * apart, slope + self.beta * by_mean, self.beta * by_other
