"""Update rules, schedules and projections: pure functions of flat dictionaries of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Protocol, TypeAlias

from npsnn.backend import Array, namespace

Arrays: TypeAlias = dict[str, Array]


class Optimizer(Protocol):
    """`update` returns new parameters and a new state, and writes to neither of its arguments."""

    def init(self, params: Arrays) -> Arrays: ...

    def update(self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int) -> tuple[Arrays, Arrays]:
        """step counts from 1. Parameters without a gradient stay as they are."""


def is_weight(name: str) -> bool:
    """Weight decay is for weights: a bias is no complexity, and decay of the noise would be another objective."""
    return name.endswith(".w")


@dataclass(frozen=True)
class SGD:
    """velocity ← momentum·velocity + gradient (+ weight_decay·w), parameter ← parameter - lr·velocity."""

    momentum: float = 0.9
    weight_decay: float = 0.0

    def init(self, params: Arrays) -> Arrays:
        return {f"velocity/{k}": p * 0 for k, p in params.items()} if self.momentum else {}

    def update(self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int) -> tuple[Arrays, Arrays]:
        params, state = dict(params), dict(state)
        for k, g in grads.items():
            if self.weight_decay and is_weight(k):
                g = g + self.weight_decay * params[k]
            if self.momentum:
                g = state[f"velocity/{k}"] = self.momentum * state[f"velocity/{k}"] + g
            params[k] = params[k] - lr * g
        return params, state


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction; weight decay is decoupled from the gradient, w ← w - lr·weight_decay·w."""

    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def init(self, params: Arrays) -> Arrays:
        return {f"{kind}/{k}": p * 0 for kind in ("first", "second") for k, p in params.items()}

    def update(self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int) -> tuple[Arrays, Arrays]:
        params, state = dict(params), dict(state)
        rate = lr / (1 - self.beta1**step)
        scale = 1 / (1 - self.beta2**step)
        for k, g in grads.items():
            first = self.beta1 * state[f"first/{k}"] + (1 - self.beta1) * g
            second = self.beta2 * state[f"second/{k}"] + (1 - self.beta2) * g * g
            state[f"first/{k}"], state[f"second/{k}"] = first, second
            root = namespace(second).sqrt(second * scale) + self.epsilon
            kept = 1 - lr * self.weight_decay if self.weight_decay and is_weight(k) else 1
            params[k] = kept * params[k] - rate * first / root
        return params, state


OPTIMIZERS = ("sgd", "adam")


def optimizer(name: str, momentum: float, weight_decay: float) -> Optimizer:
    """The named update rule; only SGD has a momentum to set."""
    return SGD(momentum, weight_decay) if name == "sgd" else Adam(weight_decay)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "step": lambda done: 0.1 ** (int(done >= 0.5) + int(done >= 0.75)),
    "cosine": lambda done: (1 + cos(pi * done)) / 2,
}
"""The learning rate's factor, from the part of the training that is done, 0 to 1; "step" falls at 1/2 and 3/4."""


def unit_norm(w: Array, norm: str) -> Array:
    """Each filter w_o, (O, ...), divided by its l1 or l2 norm; "none" leaves it.

    A first layer of fixed norm cannot outgrow its noise: without the constraint W₁·t, W₂/t keeps the function and
    divides the noise by t (audit N42). A filter that is exactly 0 stays 0.
    """
    if norm == "none":
        return w
    xp = namespace(w)
    flat = xp.abs(w.reshape(len(w), -1))
    size = flat.sum(axis=1) if norm == "l1" else xp.sqrt((flat * flat).sum(axis=1))
    return w / (size + (size == 0)).reshape(-1, *(1,) * (w.ndim - 1))
