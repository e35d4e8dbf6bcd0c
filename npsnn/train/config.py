"""The options of a training."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from npsnn import files
from npsnn.data.augment import AUGMENTATIONS
from npsnn.files import json_files
from npsnn.layers.affine import METHODS
from npsnn.layers.noise import COVARIANCES
from npsnn.models.named import MODELS, NOISES, NOISY
from npsnn.ops.gaussian import RULES
from npsnn.optim import OPTIMIZERS, SCHEDULES
from npsnn.runs import checkpoint
from npsnn.validate import check_sigma, check_types

LOSSES = ("noise-aware", "mse", "cross-entropy", "expected-cross-entropy")
ADVERSARIES = ("none", "fgsm", "pgd")
SAMPLED = "sampled"
TREATMENTS = (*RULES, SAMPLED)
NORMS = ("none", "l1", "l2")

CHOICES: dict[str, Iterable[str]] = {
    "model": MODELS,
    "noise": NOISES,
    "covariance": COVARIANCES,
    "augmentation": AUGMENTATIONS,
    "adversarial": ADVERSARIES,
    "propagation": TREATMENTS,
    "loss": LOSSES,
    "first_layer_norm": NORMS,
    "conv": METHODS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


@dataclass(frozen=True)
class Config:
    """Every option that shapes the result. Two runs of one config on one data set are bit-identical on one machine.

    noise: where it is, on the first pre-activation (noise paper) or on `bottleneck` features (A2SNN, with a full,
    diagonal or scalar covariance); none makes a network without a noise layer, and sigma 0. sigma: its standard
    deviation, where a learned one starts; sigma_max: the cap of that. sigma_reward: the Bimodel's alpha (noise paper
    Sec. 7). max_entropy, alignment: lambda1 and lambda2 of A2SNN's Eq. 1; pairwise: the form of the alignment that
    predictions depend on (audit A17); unit_classes: class vectors of norm 1 (A19). authors_code: what A2SNN's authors'
    code does where the paper says something else (audit B1, B2, B5, B6, B7); sigma is not what the noise starts with
    then. propagation: how training carries the noise, by a rule or "sampled", a draw for each example.
    noise_only: the rest of a given network stays as it is. adversarial: the attack that makes the part
    `adversarial_mix` of each micro-batch adversarial, on draws of the noise, in Linf of adversarial_eps.
    conv: how convolutions are computed (`npsnn.layers.Conv2d`). limit: the number of training images
    used (None: all).
    Raises ValueError naming the field, what was expected and what came.
    """

    model: str = "lenet5"
    dataset: str = "digits"
    noise: str = "preactivation"
    covariance: str = "full"
    bottleneck: int = 32
    sigma: float = 0.6
    learn_sigma: bool = False
    sigma_reward: float = 0.0
    sigma_max: float = 4.0
    propagation: str = "laplace"
    loss: str = "noise-aware"
    max_entropy: float = 0.0
    alignment: float = 0.0
    pairwise: bool = False
    unit_classes: bool = False
    authors_code: bool = False
    first_layer_norm: str = "none"
    conv: str = "auto"
    augmentation: str = "none"
    noise_only: bool = False
    adversarial: str = "none"
    adversarial_eps: float = 8 / 255
    adversarial_mix: float = 0.5
    epochs: int = 5
    batch_size: int = 128
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    lr: float = 1e-3
    schedule: str = "constant"
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name, low in {"epochs": 1, "batch_size": 1, "limit": 2, "bottleneck": 1}.items():
            value = getattr(self, name)
            if value is not None and not low <= value < 2**53:
                raise ValueError(f"{name} must be >= {low} and < 2^53, got {value}")
        for name in ("sigma_reward", "sigma_max", "max_entropy", "alignment", "lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be >= 0 and finite, got {value}")
        for name in ("adversarial_eps", "adversarial_mix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.momentum >= 1:
            raise ValueError(f"momentum must be < 1, got {self.momentum}")
        self._check_noise()
        self._check_learned_sigma()
        self._check_authors_code()

    def _check_noise(self) -> None:
        if self.noise == "preactivation" and self.model not in NOISY:
            raise ValueError(
                f"noise must be features or none for {self.model}, which has none on its first layer, got {self.noise}"
            )
        check_sigma(self.sigma)
        if self.noise == "none":
            object.__setattr__(self, "sigma", 0.0)

    def _check_learned_sigma(self) -> None:
        if self.learn_sigma and not 0 < self.sigma <= self.sigma_max:
            raise ValueError(f"learn_sigma needs 0 < sigma <= sigma_max = {self.sigma_max:g}, got sigma {self.sigma:g}")
        if self.learn_sigma and not self.noise_enters:
            raise ValueError(
                f"learn_sigma needs a loss that depends on sigma: {self.loss} under {self.propagation} sees the mean "
                "alone, which is the network's without noise; take loss noise-aware or propagation sampled"
            )
        for name, where in {
            "sigma_reward": "preactivation",
            "max_entropy": "features",
            "alignment": "features",
        }.items():
            if getattr(self, name) and self.noise != where:
                raise ValueError(f"{name} is for noise {where}, got noise {self.noise}")
        for name in ("sigma_reward", "max_entropy", "noise_only"):
            if getattr(self, name) and not self.learn_sigma:
                raise ValueError(f"{name} acts on a learned sigma: set learn_sigma as well")
        if self.first_layer_norm != "none" and self.noise != "preactivation":
            raise ValueError(f"first_layer_norm is for noise preactivation, got noise {self.noise}")

    def _check_authors_code(self) -> None:
        needed = {"noise": "features", "covariance": "full", "learn_sigma": True, "propagation": SAMPLED}
        for name, value in (needed | {"unit_classes": False, "pairwise": False}).items():
            if self.authors_code and getattr(self, name) != value:
                raise ValueError(f"authors_code needs {name} {value}, got {getattr(self, name)}")

    def without_effect(self, options: Iterable[str]) -> list[str]:
        """One clause for each of the named options that changes nothing in a training by the others."""
        noise = "noise is preactivation or features"
        acts = {
            "sigma": (False, noise) if self.noise == "none" else (not self.authors_code, "authors_code is off"),
            "momentum": (self.optimizer == "sgd", "optimizer is sgd"),
            "covariance": (self.noise == "features", "noise is features"),
            "bottleneck": (self.noise == "features", "noise is features"),
            "sigma_max": (self.learn_sigma, "learn_sigma is on"),
            "adversarial_eps": (self.adversarial != "none", "adversarial is fgsm or pgd"),
            "adversarial_mix": (self.adversarial != "none", "adversarial is fgsm or pgd"),
            "pairwise": (self.alignment > 0, "alignment is > 0"),
            "unit_classes": (not self.noise_only, "the weights are trained as well"),
            "propagation": (self.sigma > 0, "sigma is > 0"),
        }
        return [
            f"{name} has no effect unless {acts[name][1]}" for name in options if name in acts and not acts[name][0]
        ]

    @property
    def noise_enters(self) -> bool:
        """Whether the loss depends on the noise: by itself, by draws, or by a mean that the propagation rule moves."""
        if self.sigma == 0:
            return False
        if self.propagation == SAMPLED or self.loss in ("noise-aware", "expected-cross-entropy"):
            return True
        return self.noise == "preactivation" and RULES[self.propagation].mean_uses_var

    def lengthened(self, epochs: int) -> "Config":
        """The options with more epochs; raises ValueError where a training of so many would have begun otherwise."""
        if epochs < self.epochs:
            raise ValueError(f"epochs must be at least the run's own {self.epochs}, got {epochs}")
        if epochs > self.epochs and self.schedule != "constant":
            raise ValueError(
                f"epochs must be the run's own {self.epochs} under schedule {self.schedule}, which is over all epochs: "
                f"the learning rates so far were not those of {epochs}, got {epochs}"
            )
        return replace(self, epochs=epochs)

    @staticmethod
    def from_json(values: Any) -> "Config":
        """The config saved in a run: an option that it lacks has its default. Raises ValueError for an unknown one."""
        if not isinstance(values, dict):
            raise ValueError(f"training options must be a JSON object, got {values!r}")
        if odd := values.keys() - {f.name for f in fields(Config)}:
            raise ValueError(f"unknown training options: {', '.join(sorted(odd))}")
        return Config(**values)


def read_run(folder: Path) -> tuple[dict[str, Any], Config]:
    """The content of config.json in the folder of a run, and the options in it.

    Raises OSError where the file cannot be read, ValueError, naming it, where the options are not sound.
    """
    path = folder / checkpoint.CONFIG
    about = json_files.read_json(path)
    with files.blamed(path):
        config = Config.from_json(about.get("train"))
    return about | {"train": asdict(config)}, config
