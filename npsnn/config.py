"""The options of a training."""

from dataclasses import dataclass, fields
from typing import Any

from npsnn.models import MODELS
from npsnn.ops.gaussian import RULES
from npsnn.optim import OPTIMIZERS, SCHEDULES

LOSSES = ("noise-aware", "mse", "cross-entropy")
NORMS = ("none", "l1", "l2")


@dataclass(frozen=True)
class Config:
    """Every option that shapes the result. Two runs of one config on one data set are bit-identical.

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
        choices: dict[str, Any] = {
            "model": MODELS,
            "propagation": RULES,
            "loss": LOSSES,
            "first_layer_norm": NORMS,
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name, low in {"epochs": 1, "batch_size": 1, "limit": 2}.items():
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if value is None or value < low:
                raise ValueError(f"{name} must be >= {low}, got {value}")
        for name in ("sigma", "sigma_reward", "sigma_max", "lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be >= 0 and finite, got {value}")
        if self.learn_sigma and not 0 < self.sigma <= self.sigma_max:
            raise ValueError(f"learn_sigma needs 0 < sigma <= sigma_max = {self.sigma_max:g}, got sigma {self.sigma:g}")
        if self.sigma_reward and not self.learn_sigma:
            raise ValueError("sigma_reward acts on a learned sigma: set learn_sigma as well")

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Config":
        """The config saved in a run; raises ValueError for fields it does not know."""
        unknown = values.keys() - {f.name for f in fields(Config)}
        if unknown:
            raise ValueError(f"unknown training options {', '.join(sorted(unknown))}")
        return Config(**values)
