"""MART: images that are misread without an attack count more."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from npsnn.backend import Array, namespace
from npsnn.ops.mart import boosted_cross_entropy, unsure_divergence
from npsnn.train.losses.adversarial import AgainstAttacked, check_attack, papers_attack
from npsnn.train.losses.base import loss
from npsnn.train.scheduled import Scalar, check_scalar


@loss("mart")
@dataclass(frozen=True)
class MART(AgainstAttacked):
    """-ln q_y - ln(1 - q_c) + weight (1 - p_y) KL(p || q): p of the clean image, q of the one that the attack makes.

    c is the likeliest wrong class of q, held fixed. The gradients are in `npsnn.ops.mart`; the views are those of
    `AgainstAttacked`.

    weight: of the divergence, >= 0: lambda in the paper; a number or a schedule.
    attack: by default that of the code, 10 steps of 2/255 in Linf 8/255, from Gaussian noise of 0.001, which raise the
        cross-entropy of the label.
    safeguards: whether 1.0001, 1e-12 and 1.0000001 stand in the formula as in the code.
    Source: Wang et al. 2020 (ICLR, "Improving adversarial robustness requires revisiting misclassified examples").
    """

    weight: Scalar = 5.0
    attack: Any = field(default_factory=partial(papers_attack, "gauss", "true"))
    safeguards: bool = False

    def __post_init__(self) -> None:
        check_scalar(self, "weight")
        check_attack(self.attack)

    def values(self, mean: Array, other: Array, labels: Array) -> tuple[Array, Array, Array]:
        labels = namespace(mean).asarray(labels)
        surprise, slope = boosted_cross_entropy(other, labels, self.safeguards)
        apart, by_mean, by_other = unsure_divergence(mean, other, labels, self.safeguards)
        return surprise + self.weight * apart, self.weight * by_mean, slope + self.weight * by_other
