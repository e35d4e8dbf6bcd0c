"""Defences that train otherwise and answer without noise: PCL and SADS; and MI, which mixes stored images in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npsnn.train.defences.base import Defence, Departure, Departures, Instead, Settings, defence
from npsnn.train.defences.common import COLOUR, attacked, chosen, eps_option
from npsnn.validate import option

if TYPE_CHECKING:
    from npsnn.models import Model
    from npsnn.train import Constraint, Loss, Treatment


@defence("pcl")
@dataclass(frozen=True)
class PclDefence(Defence):
    """PCL: features at two depths are pulled to a learned centre of their class and pushed from the others'.

    Source: Mustafa et al. 2019.
    """

    form: str = option(
        "paper",
        "Distances: {choices}. code squares them and has two sets of centres.",
        "Defence",
        choices=("paper", "code"),
    )
    pull: float = option(1.0, "Weight of the distance to the own centre.", "Defence", low=0)
    push: float = option(1.0, "Weight of the mean distance to the centres of the others.", "Defence", low=0)
    start: float = option(
        0.3, "Part of the training by cross-entropy alone, before the distances enter.", "Defence", low=0, high=1
    )
    near_rate: float = option(0.5, "Learning rate of the centres that pull, in the form code.", "Defence", low=0)
    far_rate: float = option(1e-4, "Learning rate of the centres that push, in the form code.", "Defence", low=0)

    paper: ClassVar[str] = (
        "Adversarial Defense by Restricting the Hidden Space of Deep Neural Networks, Mustafa et al. 2019"
    )
    what: ClassVar[str] = "The features of each class form a polytope far from the others'."
    found: ClassVar[str] = "Broken: 0.28 under AutoAttack on CIFAR-10 (clean 89.16, claimed 32.32)."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.01,
            "weight_decay": 1e-4,
            "batch_size": 128,
            "epochs": 400,
            "falls": (142 / 400, 230 / 400, 360 / 400),
        },
    }
    instead: ClassVar[Instead] = {
        "cifar10": {
            "model": "ResNet-110, with centres at two depths",
            "start": "a start from a network that cross-entropy has trained",
        }
    }
    chosen: ClassVar[Settings] = chosen(optimizer="sgd", lr=0.01)
    departures: ClassVar[Departures] = {
        "form": Departure("code", "squares the distances, and has a second set of centres that push", "C10"),
        "push": Departure(1e-4, "hardly pushes", "C10"),
        "falls": Departure(None, "writes a rate that the optimiser does not read, so that the rate never falls", "C11"),
    }

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.centres import with_centres

        return with_centres(super().network(shape, classes), self.form)

    def loss(self) -> "Loss":
        from npsnn.optim import Since, Times
        from npsnn.train.losses import PCL

        begun = Since(self.start)
        return PCL(Times(self.pull, begun), Times(self.push, begun))

    def constraints(self) -> tuple["Constraint", ...]:
        from npsnn.train.groups import GradientFactor

        if self.form == "paper":
            return ()
        # the code divides both gradients by their weights, and its centres have no momentum
        still = 1 - self.momentum if self.optimizer == "sgd" else 1.0
        rates = (("*.near", self.near_rate, self.pull), ("*.far", self.far_rate, self.push))
        return tuple(
            GradientFactor((names,), rate * still / (self.lr * weight) if self.lr * weight else 0.0)
            for names, rate, weight in rates
        )

    def idle(self) -> dict[str, str]:
        if self.form == "code" and self.optimizer == "sgd":
            return super().idle()
        return super().idle() | dict.fromkeys(("near_rate", "far_rate"), "form is code and optimizer is sgd")


@defence("sads")
@dataclass(frozen=True)
class SadsDefence(Defence):
    """SADS: single-step adversarial training with dropout after each activation, which falls to 0 in training.

    Source: Vivek and Babu 2020; no code of the authors was found.
    """

    dropout: float = option(0.5, "Rate of the dropout at the beginning.", "Defence", low=0, high=1, below=True)
    until: float = option(
        0.5, "Part of the training over which the rate falls to 0.", "Defence", low=0, high=1, above=True
    )
    convolutions: bool = option(False, "Drop channels after convolutions as well.", "Defence")
    eps: float = eps_option(8 / 255, "8/255")
    mix: float = option(0.5, "Part of the images that is attacked.", "Training attack", low=0, high=1)

    paper: ClassVar[str] = "Single-Step Adversarial Training With Dropout Scheduling, Vivek and Babu 2020"
    what: ClassVar[str] = "Dropout is to keep a network from learning to mask the gradient of a single step."
    found: ClassVar[str] = (
        "No independent evaluation was found. A single step is known to overfit: compare FGSM with PGD."
    )
    chosen: ClassVar[Settings] = {
        **attacked(),
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "epochs": 100,
            "falls": (0.5, 0.75),
            "convolutions": True,
        },
    }
    lacks: ClassVar[str] = "The paper's rates were not at hand: all settings are chosen here."

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.noisy import with_dropout

        return with_dropout(super().network(shape, classes), self.dropout, self.convolutions)

    def noise(self) -> "Treatment":
        from npsnn.optim import Fall
        from npsnn.train.treatments import Drawn

        return Drawn(Fall(self.until))

    def loss(self) -> "Loss":
        from npsnn.attacks import FGSM, EoT
        from npsnn.train.losses import Adversarial, CrossEntropy

        return Adversarial(CrossEntropy(), FGSM(self.eps, source=EoT(1)), self.mix)


@defence("mi")
@dataclass(frozen=True)
class MiDefence(Defence):
    """Mixup inference: a network trained on mixtures answers by mixing the image with stored ones.

    Source: Pang et al. 2020.
    """

    alpha: float = option(1.0, "Mixtures are drawn by Beta(alpha, alpha).", "Defence", low=0, above=True)
    choice: str = option(
        "other",
        "Class of the stored image: {choices}. predicted is the paper's PL, other its OL, combined both.",
        "Defence",
        choices=("predicted", "other", "combined"),
    )
    weight: float = option(0.5, "lambda, the part of the image itself in a mixture.", "Defence", low=0, high=1)
    pool: int = option(50, "Training images that are stored of each class.", "Defence", low=1)

    paper: ClassVar[str] = "Mixup Inference: Better Exploiting Mixup to Defend Adversarial Attacks, Pang et al. 2020"
    what: ClassVar[str] = "A mixture shrinks the perturbation and moves the image to where the network is linear."
    found: ClassVar[str] = "Broken by attacks through the mixing, Tramer et al. 2020."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.01,
            "batch_size": 64,
            "epochs": 200,
            "falls": (0.5, 0.75),
        },
    }
    instead: ClassVar[Instead] = {"cifar10": {"model": "ResNet-50", "pool": "all 10,000 test images (audit C30)"}}
    lacks: ClassVar[str] = "The code decides once for all draws of an answer what is combined; here each draw decides."
    chosen: ClassVar[Settings] = chosen()
    answers: ClassVar[tuple[str, int]] = ("probabilities", 30)

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        from npsnn.models.mixing import with_mixing

        return with_mixing(super().network(shape, classes), self.pool, weight=self.weight, choice=self.choice)

    def loss(self) -> "Loss":
        from npsnn.train.losses import Mixup

        return Mixup(self.alpha)
