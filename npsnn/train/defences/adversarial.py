"""Adversarial training and its variants: networks whose answers are not random."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from npsnn.train.defences.base import Defence, Departure, Departures, Instead, Settings, defence
from npsnn.train.defences.common import COLOUR, attacked, chosen, eps_option, step_option, steps_option
from npsnn.validate import option

if TYPE_CHECKING:
    from npsnn.train import Loss


def _inner(own: Any, start: str, label: str) -> Any:
    """The training attack that the settings of a defence say."""
    from npsnn.attacks import EoT, Inner

    return Inner(own.eps, "linf", own.steps, own.step_size, start, label, EoT(1))


@defence("pgd-training")
@dataclass(frozen=True)
class PGDTraining(Defence):
    """Adversarial training: the cross-entropy of images that PGD has attacked.

    Source: Madry et al. 2018. A2SNN trains so as well, on half of the images (audit A24).
    """

    eps: float = eps_option(8 / 255, "8/255")
    steps: int = steps_option(7)
    step_size: float = step_option(2 / 255, "2/255")
    mix: float = option(1.0, "Part of the images that is attacked.", "Training attack", low=0, high=1)

    paper: ClassVar[str] = "Towards Deep Learning Models Resistant to Adversarial Attacks, Madry et al. 2018"
    what: ClassVar[str] = "The control of all others: the network learns from attacked images alone."
    found: ClassVar[str] = "Holds: 44.04 under AutoAttack on CIFAR-10 (clean 87.14, claimed 45.8)."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 2e-4,
            "epochs": 200,
            "falls": (0.5, 0.75),
        }
    }
    instead: ClassVar[Instead] = {"cifar10": {"model": "WRN-32-10"}}
    chosen: ClassVar[Settings] = attacked(0.25)

    def loss(self) -> "Loss":
        from npsnn.train.losses import Adversarial, CrossEntropy

        return Adversarial(CrossEntropy(), _inner(self, "uniform", "true"), self.mix)


@defence("trades")
@dataclass(frozen=True)
class TradesDefence(Defence):
    """TRADES: cross-entropy, and beta times the divergence that an attack can cause between two views.

    Source: Zhang et al. 2019.
    """

    beta: float = option(6.0, "Weight of the divergence KL(f(x) || f(x')).", "Defence", low=0)
    eps: float = eps_option(0.031, "0.031")
    steps: int = steps_option(10)
    step_size: float = step_option(0.007, "0.007")

    paper: ClassVar[str] = "Theoretically Principled Trade-off between Robustness and Accuracy, Zhang et al. 2019"
    what: ClassVar[str] = (
        "The clean image is to be read correctly, and the attacked one as the clean one; both views are differentiated."
    )
    found: ClassVar[str] = "Holds: 53.08 under AutoAttack on CIFAR-10 (clean 84.92, claimed 56.43; WRN-34-10)."
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 2e-4,
            "epochs": 76,
            "falls": (74 / 76,),
        },
        "mnist": {
            "model": "small-cnn",
            "beta": 1.0,
            "eps": 0.3,
            "steps": 40,
            "step_size": 0.01,
            "optimizer": "sgd",
            "lr": 0.01,
            "epochs": 100,
            "falls": (0.54, 0.74, 0.89),
        },
    }
    instead: ClassVar[Instead] = {
        "cifar10": {"model": "WRN-34-10"},
        "mnist": {"model": "the same with dropout of 0.5 and a last layer that starts at 0"},
    }
    chosen: ClassVar[Settings] = attacked(0.25)
    lacks: ClassVar[str] = (
        "The code passes the clean images through BatchNorm twice (audit C2); here each view counts once."
    )

    def loss(self) -> "Loss":
        from npsnn.train.losses import TRADES

        return TRADES(self.beta, _inner(self, "gauss", "soft"))


@defence("mart")
@dataclass(frozen=True)
class MartDefence(Defence):
    """MART: a sharpened cross-entropy of the attacked image, and a divergence weighted by how wrong the clean one is.

    Source: Wang et al. 2020.
    """

    weight: float = option(5.0, "lambda, the weight of the divergence.", "Defence", low=0)
    eps: float = eps_option(0.031, "0.031")
    steps: int = steps_option(10)
    step_size: float = step_option(0.007, "0.007")
    safeguards: bool = option(False, "Add the small constants of the authors' code to its logarithms.", "Defence")

    paper: ClassVar[str] = (
        "Improving Adversarial Robustness Requires Revisiting Misclassified Examples, Wang et al. 2020"
    )
    what: ClassVar[str] = "Images that are misread without an attack count more."
    found: ClassVar[str] = (
        "Holds: 56.29 under AutoAttack on CIFAR-10 with 500,000 unlabelled images (clean 87.50, claimed 65.04). "
        "A user found 6 points between PGD and C&W."
    )
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.01,
            "weight_decay": 3.5e-3,
            "epochs": 120,
            "falls": (74 / 120, 89 / 120, 99 / 120),
        },
    }
    chosen: ClassVar[Settings] = attacked(0.25)
    departures: ClassVar[Departures] = {
        "safeguards": Departure(True, "adds 1e-4, 1e-12 and 1e-7 inside its logarithms", "C4"),
    }

    def loss(self) -> "Loss":
        from npsnn.train.losses import MART

        return MART(self.weight, _inner(self, "gauss", "true"), self.safeguards)


@defence("rlflat")
@dataclass(frozen=True)
class RlflatDefence(Defence):
    """RLFAT, in A2SNN's spelling RLFLAT: attacked images cut into blocks and shuffled answer as the whole ones.

    Source: Song et al. 2020.
    """

    form: str = option(
        "P",
        "Training that it builds on: {choices}. P is PGD training, T is TRADES.",
        "Defence",
        choices=("P", "T"),
    )
    weight: float | None = option(
        None, "eta, the weight of the difference of the logits.", "Defence", low=0, shown="0.5 for P, 1 for T"
    )
    beta: float = option(6.0, "Weight of the divergence of form T.", "Defence", low=0)
    eps: float = eps_option(0.03, "0.03")
    steps: int = steps_option(10)
    step_size: float = step_option(0.0075, "0.0075")

    paper: ClassVar[str] = "Robust Local Features for Improving the Generalization of Adversarial Training, Song 2020"
    what: ClassVar[str] = "The network is to read an attacked image from its local features, wherever they stand."
    found: ClassVar[str] = "No independent evaluation was found."
    published: ClassVar[Settings] = {
        "cifar10": {
            "model": "resnet18",
            "optimizer": "adam",
            "lr": 1e-3,
            "batch_size": 32,
            "epochs": 51,
            "augmentation": "crop-flip",
        },
    }
    instead: ClassVar[Instead] = {"cifar10": {"model": "WRN-32-10", "augmentation": "mirroring alone"}}
    chosen: ClassVar[Settings] = attacked(0.25)

    def loss(self) -> "Loss":
        from npsnn.train.losses import RLFLAT

        attack = _inner(self, "uniform", "true") if self.form == "P" else _inner(self, "gauss", "soft")
        return RLFLAT(attack, self.weight, self.form, **({"beta": self.beta} if self.form == "T" else {}))

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"beta": "form is T"} if self.form == "P" else {})


@defence("bpfc")
@dataclass(frozen=True)
class BpfcDefence(Defence):
    """BPFC: the logits of an image and of its coarse quantisation are pulled together; no attack is run.

    Source: Addepalli et al. 2020.
    """

    bits: int = option(5, "k: images are quantised to multiples of 2^k of 255.", "Defence", low=1, high=8)
    weight: float = option(1.0, "lambda, the weight of the difference of the logits.", "Defence", low=0)
    rises: tuple[float, ...] | None = option(
        None, "Parts of the training after which lambda rises.", "Defence", low=0, high=1
    )
    rise: float = option(9.0, "Factor of lambda at each rise.", "Defence", low=0)

    paper: ClassVar[str] = (
        "Towards Achieving Adversarial Robustness by Enforcing Feature Consistency Across Bit Planes, Addepalli 2020"
    )
    what: ClassVar[str] = "The network is to answer by the highest bits of each pixel, without seeing an attack."
    found: ClassVar[str] = (
        "Its authors: 34.4 under PGD-1000 on CIFAR-10 (clean 82.4), 67.7 on Fashion-MNIST at 0.1 (87.2), 85.7 on "
        "MNIST at 0.3 (99.1)."
    )
    published: ClassVar[Settings] = {
        "cifar10": {
            **COLOUR,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "epochs": 100,
            "rises": (0.25, 0.5, 0.75),
            "falls": (0.25, 0.5, 0.75),
            "fall": 0.2,
        },
    } | {
        dataset: {
            "model": "lenet5",
            "bits": bits,
            "weight": weight,
            "optimizer": "sgd",
            "lr": 0.01,
            "weight_decay": 5e-4,
            "batch_size": 64,
            "epochs": 50,
            "falls": (0.25, 0.5, 0.75),
            "fall": 0.2,
        }
        for dataset, bits, weight in (("mnist", 7, 30.0), ("fashion-mnist", 6, 25.0))
    }
    chosen: ClassVar[Settings] = chosen(bits=6, weight=25.0)
    instead: ClassVar[Instead] = {
        dataset: {"model": "four convolutions of 5 x 5 and a dense layer of 512"}
        for dataset in ("mnist", "fashion-mnist")
    }

    def loss(self) -> "Loss":
        from npsnn.optim import Falls, Times
        from npsnn.train.losses import BPFC

        weight: Any = self.weight
        if self.rises:
            weight = Times(
                weight, Falls(tuple(self.rises), tuple(self.rise ** (n + 1) for n in range(len(self.rises))))
            )
        return BPFC(self.bits, weight)

    def idle(self) -> dict[str, str]:
        return super().idle() | ({} if self.rises else {"rise": "rises are given"})
