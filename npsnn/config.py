"""The options of a training."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from npsnn.models import MODELS
from npsnn.ops.gaussian import RULES
from npsnn.optim import OPTIMIZERS, SCHEDULES
from npsnn.validate import check_sigma, check_types

LOSSES = ("noise-aware", "mse", "cross-entropy")
NORMS = ("none", "l1", "l2")

CHOICES: dict[str, Iterable[str]] = {
    "model": MODELS,
    "propagation": RULES,
    "loss": LOSSES,
    "first_layer_norm": NORMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


@dataclass(frozen=True)
class Config:
    """Every option that shapes the result. Two runs of one config on one data set are bit-identical on one machine.

    sigma is the noise's standard deviation on the first pre-activation, sigma_reward the Bimodel's alpha (noise paper
    Sec. 7), sigma_max the cap of a learned sigma, limit the number of training images used (None: all).
    Raises ValueError naming the field, what was expected and what came.
    """

    model: str = "lenet5"
    dataset: str = "digits"
    sigma: float = 0.6
    learn_sigma: bool = False
    sigma_reward: float = 0.0
    sigma_max: float = 4.0
    propagation: str = "laplace"
    loss: str = "noise-aware"
    first_layer_norm: str = "none"
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
        for name, low in {"epochs": 1, "batch_size": 1, "limit": 2}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be >= {low}, got {value}")
        check_sigma(self.sigma)
        for name in ("sigma_reward", "sigma_max", "lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be >= 0 and finite, got {value}")
        if self.momentum >= 1:
            raise ValueError(f"momentum must be < 1, got {self.momentum}")
        self._check_learned_sigma()

    def _check_learned_sigma(self) -> None:
        if self.learn_sigma and not 0 < self.sigma <= self.sigma_max:
            raise ValueError(f"learn_sigma needs 0 < sigma <= sigma_max = {self.sigma_max:g}, got sigma {self.sigma:g}")
        if self.learn_sigma and not self.noise_enters:
            raise ValueError(
                f"learn_sigma needs a loss that depends on sigma: {self.loss} under {self.propagation} sees the mean "
                "alone, which is the network's without noise; take loss noise-aware or propagation exact"
            )
        if self.sigma_reward and not self.learn_sigma:
            raise ValueError("sigma_reward acts on a learned sigma: set learn_sigma as well")

    @property
    def noise_enters(self) -> bool:
        """Whether the loss depends on the noise: by itself, or by a mean that the propagation rule moves."""
        return self.sigma > 0 and (self.loss == "noise-aware" or RULES[self.propagation].mean_uses_var)

    @staticmethod
    def from_json(values: Any) -> "Config":
        """The config saved in a run; raises ValueError unless it has just the fields there are."""
        if not isinstance(values, dict):
            raise ValueError(f"training options must be a JSON object, got {values!r}")
        odd = values.keys() ^ {f.name for f in fields(Config)}
        if odd:
            raise ValueError(f"training options that are missing or unknown: {', '.join(sorted(odd))}")
        return Config(**values)
