"""Parameters of a training on a GPU, the double, that lie behind one another and are updated as one."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from cupy_graph_double import launches
from graphed import BATCH, check_same, split
from small_networks import normalised
from trainers import trainer_of

from npsnn import models
from npsnn.models import Model
from npsnn.optim import SGD, Arrays
from npsnn.train.config import Config
from npsnn.train.constraints import Constraint
from npsnn.train.epochs import Trainer
from npsnn.train.losses import Total
from npsnn.train.packed import ALIGNED, Packed
from npsnn.workers.processes import Processes

PLAIN = {"noise": "none", "loss": "cross-entropy"}


@dataclass(frozen=True)
class Descent:
    """Plain gradient descent that keeps the last gradients, as one who enters a rule writes it."""

    lr: float = 1e-2
    elementwise: ClassVar[bool] = True

    def init(self, params: Arrays) -> Arrays:
        return {f"last/{k}": p * 0 for k, p in params.items()}

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: Any, step: Any, decayed: Any = frozenset()
    ) -> tuple[Arrays, Arrays]:
        rate = {k: lr.astype(g.dtype) if hasattr(lr, "astype") else lr for k, g in grads.items()}
        moved = {k: params[k] - rate[k] * (g + (0.1 * params[k] if k in decayed else 0)) for k, g in grads.items()}
        return params | moved, state | {f"last/{k}": g * 1 for k, g in grads.items()}


@dataclass(frozen=True)
class Counting(Descent):
    """A rule that says of itself more than is true: an array of its state belongs to no parameter."""

    def init(self, params: Arrays) -> Arrays:
        return super().init(params) | {"all": next(iter(params.values())) * 0}


class Frozen(Constraint):
    """Takes the gradients of the first layer away."""

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, {k: g for k, g in grads.items() if not k.startswith("conv")}


class Swapping(Constraint):
    """Gives two parameters of one shape to each other, and the gradients likewise."""

    def _swapped(self, arrays: Arrays) -> Arrays:
        return arrays | {"bn.w": arrays["bn.b"], "bn.b": arrays["bn.w"]}

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, self._swapped(grads)

    def after(self, model: Model, params: Arrays) -> Arrays:
        return self._swapped(params)


class Widening(Constraint):
    """Makes float64 of a parameter, after the update."""

    def begin(self, model: Model, params: Arrays) -> Arrays:
        return params

    def after(self, model: Model, params: Arrays) -> Arrays:
        return params | {"classifier.b": params["classifier.b"].astype("float64")}


@dataclass(frozen=True)
class Normed(SGD):
    """Divides each gradient by its norm, which is not elementwise: what SGD says of its own update is not true here."""

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: Any, step: Any, decayed: Any = frozenset()
    ) -> tuple[Arrays, Arrays]:
        unit = {k: g / (abs(g).max() + 1) for k, g in grads.items()}
        return super().update(params, unit, state, lr, step, decayed)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": Descent()},
        {"optimizer": Counting()},
        {"optimizer": Normed()},
        {"constraints": (Frozen(),)},
        {"constraints": (Swapping(),), "optimizer": SGD(0.01, 0.9, 1e-3)},
    ],
    ids=["elementwise", "not elementwise after all", "another update than its base", "frozen", "swapping"],
)
def test_what_users_write_has_the_bits_of_steps_by_themselves(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    check_same(monkeypatch, Config(batch_size=BATCH, **PLAIN), model=normalised(micro_batch=4), **changed)


@pytest.mark.usefixtures("double")
def test_a_first_step_that_is_half_done_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(batch_size=BATCH, **PLAIN)
    check_same(monkeypatch, config, recorded=False, model=normalised(micro_batch=4), constraints=(Widening(),))


def packed(config: Config, model: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[Trainer, Packed]:
    monkeypatch.setenv("NPSNN_GRAPH", "1")
    images = split(BATCH)
    trainer = trainer_of(config, model, images, images, Processes(1), "cuda")
    return trainer, Packed(trainer, trainer.initial())


def built(config: Config, shape: tuple[int, ...] = (1, 28, 28)) -> Model:
    return models.build(config.model, shape, 10, config.sigma, config.noise, config.covariance, config.bottleneck)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "shape", "kernels"),
    [
        # the mean of each gradient, one that reports, and an update of two groups
        (PLAIN | {"optimizer": "sgd"}, (1, 28, 28), 12 + 3),
        ({"optimizer": "adam", "weight_decay": 0.01, "noise": "none", "loss": "cross-entropy"}, (1, 28, 28), 12 + 3),
        # the running averages of 20 layers as well
        (PLAIN | {"model": "resnet18", "optimizer": "sgd", "weight_decay": 5e-4}, (3, 32, 32), 64 + 20 + 3),
    ],
    ids=["lenet5", "lenet5 by adam", "resnet18"],
)
def test_an_update_is_few_kernels(
    double: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], shape: tuple[int, ...], kernels: int
) -> None:
    config = Config(**options)
    _, own = packed(config, built(config, shape), monkeypatch)
    total = Total(*double.zeros(2), {k: p * 1 for k, p in own.state.params.items()})
    numbers = double.zeros(5)
    own.step(own.arrays, total, BATCH, numbers)  # constants are made
    with launches() as found:
        own.step(own.arrays, total, BATCH, numbers)
    assert len(found) == kernels


@pytest.mark.usefixtures("double")
def test_arrays_lie_apart_where_products_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(learn_sigma=True)
    trainer, own = packed(config, built(config), monkeypatch)
    by_group: dict[str, list[tuple[int, int]]] = {}
    for name, place in own.layout.places.items():
        assert place.first % (ALIGNED // 4) == 0
        by_group.setdefault(place.group, []).append((place.first, place.end))
        assert place.shape == trainer.initial().params[name].shape
    assert len(by_group) == 2, "weights are decayed, biases and sigma are not"
    for lying in by_group.values():
        assert all(end <= first for (_, end), (first, _) in pairwise(lying))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_the_slopes_are_of_the_parameters_before_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update is in place, and PositiveSigma's gradient is another one: the report comes first."""
    check_same(monkeypatch, Config(batch_size=BATCH, noise="features", learn_sigma=True, optimizer="sgd"))
