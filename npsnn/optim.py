"""Update rules, schedules and projections: pure functions of flat dictionaries of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Protocol, TypeAlias

from npsnn.backend import Array, fused, namespace

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
            decay = self.weight_decay if self.weight_decay and is_weight(k) else None
            params[k], g = _sgd(params[k], g, state.get(f"velocity/{k}"), lr, self.momentum, decay)
            if self.momentum:
                state[f"velocity/{k}"] = g
        return params, state


@fused
def _sgd(p: Array, g: Array, velocity: Array | None, lr: float, momentum: float, decay: float | None) -> Any:
    """The new parameter and velocity; without a velocity, the gradient in its place."""
    if decay is not None:
        g = g + decay * p
    if velocity is not None:
        g = momentum * velocity + g
    return p - lr * g, g


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
            kept = 1 - lr * self.weight_decay if self.weight_decay and is_weight(k) else 1.0
            averages = state[f"first/{k}"], state[f"second/{k}"]
            weights = self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2
            found = _adam(params[k], g, *averages, *weights, kept, rate, scale, self.epsilon)
            params[k], state[f"first/{k}"], state[f"second/{k}"] = found
        return params, state


@fused
def _adam(
    p: Array,
    g: Array,
    first: Array,
    second: Array,
    old1: float,
    new1: float,
    old2: float,
    new2: float,
    kept: float,
    rate: float,
    scale: float,
    epsilon: float,
) -> Any:
    """The new parameter and the running averages of the gradient and of its square."""
    first = old1 * first + new1 * g
    second = old2 * second + new2 * g * g
    root = namespace(second).sqrt(second * scale) + epsilon
    return kept * p - rate * first / root, first, second


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
