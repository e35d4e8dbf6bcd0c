"""Defences with noise on weights: PNI and Adv-BNN."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npsnn.train.defences.base import Defence, Departure, Departures, Instead, Settings, defence
from npsnn.train.defences.common import COLOUR, all_roles, attacked, beside, eps_option, step_option, steps_option
from npsnn.validate import option

if TYPE_CHECKING:
    from npsnn.layers.params import Role
    from npsnn.models import Model
    from npsnn.train import Loss, Term


@defence("pni")
@dataclass(frozen=True)
class PniDefence(Defence):
    """PNI: each weight gets noise of a learned size, relative to the spread of the layer's weights, in PGD training.

    Source: He et al. 2019.
    """

    scope: str = option(
        "layer",
        "Weights that share a size alpha: those of a {choices}.",
        "Noise",
        choices=("layer", "channel", "element"),
    )
    alpha: float = option(0.25, "alpha at the beginning.", "Noise", low=0, above=True)
    through_std: bool = option(
        False, "Differentiate the spread of the weights as well; the paper leaves it open (audit C17).", "Noise"
    )
    eps: float = eps_option(0.031, "0.031")
    steps: int = steps_option(7)
    step_size: float = step_option(0.01, "0.01")
    attack_from: float = option(
        5 / 160, "Part of the training from which images are attacked.", "Training attack", low=0, high=1
    )

    paper: ClassVar[str] = "Parametric Noise Injection: Trainable Randomness to Improve Robustness, He et al. 2019"
    what: ClassVar[str] = "Noise on the weights regularises adversarial training, which sets its size."
    found: ClassVar[str] = "No evaluation whose attack averages over draws was found."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 3e-4,
            "epochs": 160,
            "falls": (0.5, 0.75),
        },
    }
    chosen: ClassVar[Settings] = attacked(0.25, attack_from=0.1)
    instead: ClassVar[Instead] = {"cifar10": {"model": "ResNet-20"}}
    lacks: ClassVar[str] = "The momentum of the code is Nesterov's."

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_noisy_weights

        settings = {"spread": "relative", "scope": self.scope, "start": self.alpha, "through_std": self.through_std}
        return with_noisy_weights(super().network(shape, classes), **settings)

    def loss(self) -> "Loss":
        loss: Loss = beside(self, self.attack_from)
        return loss

    def trains(self) -> "Role":
        return all_roles()


@defence("adv-bnn")
@dataclass(frozen=True)
class AdvBNNDefence(Defence):
    """Adv-BNN: adversarial training of a Gaussian posterior over weights and biases.

    Source: Liu et al. 2019.
    """

    prior: float = option(0.1, "Standard deviation of the prior.", "Noise", low=0, above=True)
    start: float = option(0.1, "Standard deviation of the posterior at the beginning.", "Noise", low=0, above=True)
    kl: float = option(0.02, "alpha, the weight of KL / number of training images.", "Noise", low=0)
    last_only: bool = option(False, "Count the KL of the last layer alone.", "Noise")
    eps: float = eps_option(0.031, "0.031")
    steps: int = steps_option(10)
    step_size: float = step_option(0.007, "0.007")

    paper: ClassVar[str] = (
        "Adv-BNN: Improved Adversarial Defense through Robust Bayesian Neural Network, Liu et al. 2019"
    )
    what: ClassVar[str] = "Weights are random, and learned by attacks on one draw of them a step."
    found: ClassVar[str] = (
        "With gradients averaged over draws no strong evidence of more robustness than adversarial training "
        "(Zimmermann 2019)."
    )
    published: ClassVar[Settings] = {
        "cifar10": {
            "model": "resnet18",
            "optimizer": "adam",
            "lr": 0.01,
            "epochs": 200,
            "falls": (0.4, 0.7, 0.9),
            "augmentation": "crop-flip",
        },
    }
    instead: ClassVar[Instead] = {"cifar10": {"model": "VGG-16"}}
    lacks: ClassVar[str] = "The code has a posterior of BatchNorm's scale and shift as well."
    chosen: ClassVar[Settings] = attacked(0.25, start=0.02)
    answers: ClassVar[tuple[str, int]] = ("probabilities", 50)
    departures: ClassVar[Departures] = {
        "last_only": Departure(True, "counts the KL of the last layer alone, in its VGG", "C27"),
    }

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_noisy_weights

        return with_noisy_weights(super().network(shape, classes), spread="free", start=self.start)

    def loss(self) -> "Loss":
        from npsnn.attacks import EoT, Inner
        from npsnn.train.losses import Adversarial, CrossEntropy

        attack = Inner(self.eps, "linf", self.steps, self.step_size, "none", "true", EoT(1))
        return Adversarial(CrossEntropy(), attack, 1.0)

    def terms(self, examples: int) -> tuple["Term", ...]:
        from npsnn.train.posterior import KLDivergence

        return (KLDivergence(self.kl / examples, self.prior, self.last_only),)

    def trains(self) -> "Role":
        return all_roles()
