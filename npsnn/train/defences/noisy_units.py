"""Defences with noise on units: RSE, Learn2Perturb and PixelDP."""

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

from npsnn.train.defences.base import Defence, Departure, Departures, Instead, Settings, defence
from npsnn.train.defences.common import (
    COLOUR,
    all_roles,
    attacked,
    beside,
    chosen,
    eps_option,
    step_option,
    steps_option,
)
from npsnn.validate import option

if TYPE_CHECKING:
    from npsnn.layers.params import Role
    from npsnn.models import Model
    from npsnn.train import Constraint, Loss, Term, Treatment

ROUNDING = 1e-9
"""By how much a product of decimals that is a whole number may seem to be above it."""


@defence("rse")
@dataclass(frozen=True)
class RseDefence(Defence):
    """RSE: Gaussian noise before every convolution, and answers averaged over draws.

    Source: Liu et al. 2018.
    """

    first_sigma: float = option(0.2, "Standard deviation of the noise on the image.", "Noise", low=0)
    inner_sigma: float = option(0.1, "Standard deviation of the noise before each other convolution.", "Noise", low=0)

    paper: ClassVar[str] = "Towards Robust Neural Networks via Random Self-ensemble, Liu et al. 2018"
    what: ClassVar[str] = "Random layers before the convolutions make an ensemble of one network."
    found: ClassVar[str] = "Weaker with each draw that the attack averages over."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "epochs": 200,
            "falls": (0.4, 0.7, 0.9),
        },
    }
    instead: ClassVar[Instead] = {"cifar10": {"model": "VGG-16"}}
    chosen: ClassVar[Settings] = chosen()
    answers: ClassVar[tuple[str, int]] = ("probabilities", 50)

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_noise_before_convolutions

        return with_noise_before_convolutions(super().network(shape, classes), self.first_sigma, self.inner_sigma)


@defence("l2p")
@dataclass(frozen=True)
class L2pDefence(Defence):
    """Learn2Perturb: noise of a learned standard deviation for each unit before activations, beside PGD training.

    Source: Jeddi et al. 2020.
    """

    sigma: float = option(0.25, "Standard deviation at the beginning.", "Noise", low=0, above=True)
    floor: float = option(0.01, "Least standard deviation.", "Noise", low=0)
    reward: float = option(1e-4, "gamma of the reward for noise, gamma / h(t) Σ √sigma.", "Noise", low=0)
    noise_from: float = option(10 / 350, "Part of the training from which there is noise.", "Noise", low=0, high=1)
    shared: bool = option(False, "Give all images of a batch one draw of the noise.", "Noise")
    alternating: bool = option(False, "Take a step on the reward alone before each step on the loss.", "Noise")
    eps: float = eps_option(8 / 255, "8/255")
    steps: int = steps_option(7)
    step_size: float = step_option(0.01, "0.01")
    attack_from: float = option(
        20 / 350, "Part of the training from which images are attacked.", "Training attack", low=0, high=1
    )

    paper: ClassVar[str] = "Learn2Perturb: an End-to-end Feature Perturbation Learning, Jeddi et al. 2020"
    what: ClassVar[str] = "The network learns how much noise each unit bears, and is rewarded for more."
    found: ClassVar[str] = (
        "No evaluation whose attack averages over draws was found: the one of its code repeats one draw."
    )
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 3e-4,
            "epochs": 350,
            "falls": (150 / 350, 250 / 350),
        },
    }
    lacks: ClassVar[str] = "The momentum of the code is Nesterov's."
    chosen: ClassVar[Settings] = attacked(0.25, noise_from=0.1, attack_from=0.2)
    departures: ClassVar[Departures] = {
        "shared": Departure(True, "draws one map of noise for the whole batch, also where it is judged", "C20"),
        "alternating": Departure(True, "takes a step on the reward alone before each step on the loss", "C22"),
    }

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_noise_before_activations

        return with_noise_before_activations(super().network(shape, classes), self.sigma, self.shared)

    def noise(self) -> "Treatment":
        from npsnn.optim import Since
        from npsnn.train.treatments import Drawn

        return Drawn(Since(self.noise_from)) if self.noise_from else Drawn()

    def loss(self) -> "Loss":
        loss: Loss = beside(self, self.attack_from)
        return loss

    def _weight(self) -> Any:
        """gamma / h(t), h the harmonic sum over the epochs with noise."""
        from npsnn.optim import Harmonic, Times

        return Times(self.reward, Harmonic(self.epochs, ceil(self.noise_from * self.epochs - ROUNDING)))

    def terms(self, examples: int) -> tuple["Term", ...]:
        from npsnn.train.rewards import RootReward

        return () if self.alternating else (RootReward(self._weight()),)

    def constraints(self) -> tuple["Constraint", ...]:
        from npsnn.optim import Times
        from npsnn.train.constraints import SigmaFloor
        from npsnn.train.rewards import AlternatingReward

        if not self.alternating:
            return (SigmaFloor(self.floor),)
        # the code's step has the momentum of the other steps, under which a lasting gradient moves so much further; the
        # rate of adam is no length of a step along a gradient: the code's 0.1 with a momentum of 0.9 stands for it
        length = self.lr / (1 - self.momentum) if self.optimizer == "sgd" else 0.1 / (1 - 0.9)
        return SigmaFloor(self.floor), AlternatingReward(self._weight(), Times(length, self.course()))

    def trains(self) -> "Role":
        return all_roles()


@defence("pixeldp")
@dataclass(frozen=True)
class PixelDPDefence(Defence):
    """PixelDP: noise after the first convolution, whose operator norm is held at 1; it certifies answers.

    sigma = L √(2 ln(1.25/delta)) / epsilon. Source: Lecuyer et al. 2019.
    """

    attack_size: float = option(0.1, "L, the L2 radius that the noise is sized for.", "Noise", low=0, above=True)
    epsilon: float = option(1.0, "epsilon of the differential privacy.", "Noise", low=0, high=1, above=True)
    delta: float = option(0.05, "delta of the differential privacy.", "Noise", low=0, high=1, above=True)
    norm: str = option(
        "bound",
        "How the operator norm is held: {choices}. bound projects on a bound of the norm, authors is Parseval's way.",
        "Noise",
        choices=("bound", "authors"),
    )
    ramp: float = option(
        9200 / 40000, "Part of the training over which the noise rises to its size.", "Noise", low=0, high=1
    )

    paper: ClassVar[str] = "Certified Robustness to Adversarial Examples with Differential Privacy, Lecuyer et al. 2019"
    what: ClassVar[str] = "Noise before the first activation makes expected answers stable, and certifies them in L2."
    found: ClassVar[str] = "The certificate stands; the tight one for the same noise is 3 to 5 times larger."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "model": "cnn5",
            "lr": 0.1,
            "weight_decay": 2e-4,
            "epochs": 230,
            "falls": (4 / 9, 6 / 9, 8 / 9),
        },
        "mnist": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 2e-4, "epochs": 85, "falls": (0.75,)},
    }
    instead: ClassVar[Instead] = {
        "cifar10": {"model": "a ResNet"},
        "mnist": {"model": "two convolutions and a dense layer"},
    }
    lacks: ClassVar[str] = "The code lets the noise rise as 1 - 0.99975^t after t steps; here it rises along a line."
    chosen: ClassVar[Settings] = chosen(attack_size=0.1, lr=3e-3)
    answers: ClassVar[tuple[str, int]] = ("probabilities", 300)
    departures: ClassVar[Departures] = {
        "norm": Departure(
            "authors", "divides the filters and takes Parseval's steps, which leaves the norm above 1", "C26"
        ),
    }

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise."""
        return self.attack_size * sqrt(2 * log(1.25 / self.delta)) / self.epsilon

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_noise_after_first

        return with_noise_after_first(super().network(shape, classes), self.sigma)

    def noise(self) -> "Treatment":
        from npsnn.optim import Ramp
        from npsnn.train.treatments import Drawn

        return Drawn(Ramp(self.ramp)) if self.ramp else Drawn()

    def constraints(self) -> tuple["Constraint", ...]:
        from npsnn.train.operator_norm import OperatorNorm

        return (OperatorNorm(self.norm, steps=ceil(100 * self.attack_size - ROUNDING)),)
