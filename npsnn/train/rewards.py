"""The reward of Learn2Perturb for a standard deviation of each unit: as a term, and as the authors' code has it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, namespace, on_gpu
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.optim import Arrays
from npsnn.train.constraints import Constraint, constraint
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.train.terms import term


def _sigmas(model: Model, params: Arrays, who: str) -> Arrays:
    """The standard deviations of noise of each unit, by flat name; raises ValueError where there are none, or bad ones.

    who: the class that asks, for messages.
    """
    layers = model.noise_layers.items()
    units = [path for path, layer in layers if isinstance(layer, PreactivationNoise) and layer.scope == "unit"]
    found = {f"{path}.sigma": params[f"{path}.sigma"] for path in units}
    if not found:
        raise ValueError(f"{who} needs noise of the scope unit, {model.name} has none")
    for name, sigma in found.items():
        if not on_gpu(sigma) and (sigma <= 0).any():  # a GPU would be waited for; of a NaN the loss tells
            least = f"{name} holds {np.nanmin(sigma):g}"
            raise ValueError(f"{who} needs a sigma above 0, {least}: put SigmaFloor(0.01) before all other constraints")
    return found


@term("root-reward")
@dataclass(frozen=True)
class RootReward:
    """-weight · Σ √sigma over all units of noise of the scope "unit", with the gradient -weight / (2 √sigma).

    weight: gamma of the paper, 1e-4, >= 0, or a schedule of it: Times(1e-4, Harmonic(epochs, start)) is gamma / h(t).
    Raises ValueError for a model without such noise, and for a sigma that is not above 0.
    Source: Jeddi et al. 2020 (Learn2Perturb), Eq. 8. The authors' code takes steps of its own on the reward
        (`AlternatingReward`).
    """

    weight: Scalar

    def __post_init__(self) -> None:
        check_scalar(self, "weight")

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        value: Array = 0.0
        grads = {}
        for name, sigma in _sigmas(model, params, "RootReward").items():
            root = namespace(sigma).sqrt(sigma.astype(np.float64))
            value = value - self.weight * root.sum()
            grads[name] = (-self.weight / 2 / root).astype(sigma.dtype)
        return value, grads


@constraint("alternating-reward")
@dataclass(frozen=True)
class AlternatingReward(Constraint):
    """Takes a step on the reward alone between two updates: sigma ← sigma + lr · weight / (2 √sigma), for each unit.

    weight: as for `RootReward`.
    lr: length of the step, >= 0, or a schedule of it.
    Among the constraints it stands after `SigmaFloor`, which keeps sigma above 0.
    Raises ValueError for a model without noise of the scope "unit", and for a sigma that is not above 0.
    Source: Jeddi et al. 2020, the authors' code: for each batch a step of the optimiser of sigma on the reward, then
        one on the loss. Here the first of these steps is taken before the training, and each other one right after the
        update of the batch before, with the numbers of that update, so that the gradient of a loss is taken at the same
        sigma as in the code. The last update is followed by one more. In the code both steps share the velocity of
        Nesterov's momentum, which mixes the two gradients. Here the reward's step has no momentum: under a momentum of
        m a lasting gradient moves sigma by lr / (1 - m), so an lr of 0.1 / (1 - 0.9) is as long as the code's of 0.1.
    """

    weight: Scalar
    lr: Scalar
    needs: ClassVar[Role] = Role.NOISE

    def __post_init__(self) -> None:
        check_scalar(self, "weight")
        check_scalar(self, "lr")

    @property
    def moves(self) -> bool:
        """It takes steps of its own."""
        return True

    def after(self, model: Model, params: Arrays) -> Arrays:
        sigmas, length = _sigmas(model, params, "AlternatingReward"), self.lr * self.weight / 2
        return params | {k: sigma + length / namespace(sigma).sqrt(sigma) for k, sigma in sigmas.items()}
