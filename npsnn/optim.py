"""Optimisers as values, and the unit norm of filters; schedules of the learning rate are in `npsnn.schedules`.

    @optimizer("sgd")
    @dataclass(frozen=True)
    class SGD: ...

They are pure functions of flat dictionaries of arrays. The decorator enters a class in the table by the name that
people type; a training that is saved holds the class's own name (`npsnn.tables`).
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol, TypeAlias

from npsnn.backend import Array, fused, namespace, on_gpu
from npsnn.foreign import asked_for
from npsnn.schedules import SCHEDULES as SCHEDULES
from npsnn.schedules import Constant as Constant
from npsnn.schedules import Cosine as Cosine
from npsnn.schedules import Fall as Fall
from npsnn.schedules import Falls as Falls
from npsnn.schedules import Harmonic as Harmonic
from npsnn.schedules import Ramp as Ramp
from npsnn.schedules import Schedule as Schedule
from npsnn.schedules import Since as Since
from npsnn.schedules import StepDown as StepDown
from npsnn.schedules import Times as Times
from npsnn.schedules import check_longer as check_longer
from npsnn.schedules import schedule as schedule
from npsnn.tables import Table
from npsnn.validate import check_types

Arrays: TypeAlias = dict[str, Array]


class Optimizer(Protocol):
    """An update rule; any dataclass with this field and these methods is one.

    lr: learning rate at the beginning, which a schedule may lower.
    """

    @property
    def lr(self) -> float: ...

    def init(self, params: Arrays) -> Arrays:
        """The state before the first update: arrays by name."""

    def update(
        self,
        params: Arrays,
        grads: Arrays,
        state: Arrays,
        lr: float,
        step: int,
        decayed: Set[str] = frozenset(),
    ) -> tuple[Arrays, Arrays]:
        """New parameters and a new state; neither argument is written to.

        grads: gradients by name; a parameter without one stays as it is.
        lr: learning rate of this update; on a GPU it may be a float64 array of no dimensions.
        step: number of this update, from 1; on a GPU it may be a float64 array of no dimensions.
        decayed: names of the parameters that weight decay is for.
        A rule that needs numbers is given numbers, and a step on a GPU is then no CUDA graph (docs/gpu.md). A rule of a
        class with `elementwise = True` says that it treats each number of a parameter by itself, and that `init` gives
        arrays "<kind>/<parameter>" of the parameters' shapes: a GPU then updates many parameters as one.
        """


OPTIMIZERS: Table[type[Any]] = Table(
    "optimizer",
    "from npsnn.optim import optimizer",
    asked_for(init="params", update="params, grads, state, lr, step, decayed"),
)
"""Every optimiser by name: `@optimizer("name")` above a dataclass enters it."""
optimizer = OPTIMIZERS.enter


def _check(rule: Any, *names: str) -> None:
    """Raise ValueError unless the fields of these names are >= 0 and finite."""
    check_types(rule)
    for name in names:
        if not 0 <= getattr(rule, name) < float("inf"):
            raise ValueError(f"{name} must be >= 0 and finite, got {getattr(rule, name)}")


def _weak(*numbers: Any) -> Callable[[Any], tuple[Any, ...]]:
    """From a dtype to the numbers in it, for such as are arrays of a GPU; Python's numbers take any dtype as they are.

    An array of no dimensions would make what it meets float64.
    """

    @cache
    def of(dtype: Any) -> tuple[Any, ...]:
        return tuple(n.astype(dtype) if hasattr(n, "dtype") and on_gpu(n) else n for n in numbers)

    return of


@optimizer("sgd")
@dataclass(frozen=True)
class SGD:
    """velocity ← momentum·velocity + gradient (+ weight_decay·w), parameter ← parameter - lr·velocity.

    lr: learning rate, >= 0.
    momentum: part of the velocity that is kept, in [0, 1).
    weight_decay: factor of the weights in their gradients, >= 0.
    """

    elementwise: ClassVar[bool] = True
    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "lr", "momentum", "weight_decay")
        if self.momentum >= 1:
            raise ValueError(f"momentum must be < 1, got {self.momentum}")

    def init(self, params: Arrays) -> Arrays:
        return {f"velocity/{k}": p * 0 for k, p in params.items()} if self.momentum else {}

    def update_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        """What `update_in_place` needs of an update, as floats."""
        return (lr,)

    def update_in_place(self, params: Arrays, grads: Arrays, state: Arrays, numbers: Array, decayed: Set[str]) -> None:
        """As `update`, on a GPU in place; numbers: those of `update_numbers`, float64."""
        for k, g in grads.items():
            decay = self.weight_decay if self.weight_decay and k in decayed else None
            _sgd_in_place(params[k], g, state.get(f"velocity/{k}"), numbers[0], self.momentum, decay)

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int, decayed: Set[str] = frozenset()
    ) -> tuple[Arrays, Arrays]:
        params, state = dict(params), dict(state)
        rates = _weak(lr)
        for k, g in grads.items():
            decay = self.weight_decay if self.weight_decay and k in decayed else None
            (rate,) = rates(params[k].dtype)
            params[k], g = _sgd(params[k], g, state.get(f"velocity/{k}"), rate, self.momentum, decay)
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


@fused
def _sgd_in_place(p: Array, g: Array, velocity: Array | None, lr: Array, momentum: float, decay: float | None) -> None:
    new, g = _sgd(p, g, velocity, lr.astype(p.dtype), momentum, decay)
    if velocity is not None:
        velocity[...] = g
    p[...] = new


@optimizer("adam")
@dataclass(frozen=True)
class Adam:
    """Adam with bias correction; weight decay is decoupled from the gradient, w ← w - lr·weight_decay·w.

    lr: learning rate, >= 0.
    weight_decay: factor of the weights, >= 0.
    beta1: part of the gradients' running average that is kept, in [0, 1).
    beta2: part of the squares' running average that is kept, in [0, 1).
    epsilon: what is added to the root of the squares, >= 0.
    """

    elementwise: ClassVar[bool] = True
    lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check(self, "lr", "weight_decay", "beta1", "beta2", "epsilon")
        if max(self.beta1, self.beta2) >= 1:
            raise ValueError(f"beta1 and beta2 must be < 1, got {self.beta1} and {self.beta2}")

    def init(self, params: Arrays) -> Arrays:
        return {f"{kind}/{k}": p * 0 for kind in ("first", "second") for k, p in params.items()}

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int, decayed: Set[str] = frozenset()
    ) -> tuple[Arrays, Arrays]:
        params, state = dict(params), dict(state)
        numbers = _weak(*self.update_numbers(lr, step))
        for k, g in grads.items():
            rate, scale, kept = numbers(params[k].dtype)
            kept = kept if self.weight_decay and k in decayed else 1.0
            averages = state[f"first/{k}"], state[f"second/{k}"]
            found = _adam(params[k], g, *averages, *self._weights, kept, rate, scale, self.epsilon)
            params[k], state[f"first/{k}"], state[f"second/{k}"] = found
        return params, state

    def update_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        """What `update_in_place` needs of an update, as floats."""
        return lr / (1 - self.beta1**step), 1 / (1 - self.beta2**step), 1 - lr * self.weight_decay

    def update_in_place(self, params: Arrays, grads: Arrays, state: Arrays, numbers: Array, decayed: Set[str]) -> None:
        """As `update`, on a GPU in place; numbers: those of `update_numbers`, float64."""
        rate, scale, kept = numbers[0], numbers[1], numbers[2]
        for k, g in grads.items():
            own = kept if self.weight_decay and k in decayed else None
            averages = state[f"first/{k}"], state[f"second/{k}"]
            _adam_in_place(params[k], g, *averages, *self._weights, own, rate, scale, self.epsilon)

    @property
    def _weights(self) -> tuple[float, float, float, float]:
        return self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2


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


@fused
def _adam_in_place(
    p: Array,
    g: Array,
    first: Array,
    second: Array,
    old1: float,
    new1: float,
    old2: float,
    new2: float,
    kept: Array | None,
    rate: Array,
    scale: Array,
    epsilon: float,
) -> None:
    dtype = p.dtype
    factor = 1.0 if kept is None else kept.astype(dtype)
    weights = old1, new1, old2, new2, factor, rate.astype(dtype), scale.astype(dtype), epsilon
    p[...], first[...], second[...] = _adam(p, g, first, second, *weights)


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
