"""What users write cannot write to what it is given, and its errors name it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from own_data import MINE
from small_networks import convolutional, images, linear, predicted

from npsnn import attacks, optim
from npsnn.attacks.base import Attack
from npsnn.attacks.judging import Judging
from npsnn.attacks.sources import SOURCES
from npsnn.data.augment import AUGMENTATIONS
from npsnn.foreign import BlamedOn, all_read_only, asked_for, blamed, check_takes, read_only
from npsnn.layers.base import LAYERS
from npsnn.layers.moments import EXPECTATION
from npsnn.models import MODELS
from npsnn.objectives import OBJECTIVES, cross_entropy
from npsnn.optim import SGD
from npsnn.streams import Stream
from npsnn.train import Constraint, Training, constraints, losses, terms
from npsnn.train.epochs import Trainer
from npsnn.train.losses import Adversarial, CrossEntropy
from npsnn.workers.threads import Threads


@dataclass(frozen=True)
class Negative(Attack):
    """Far from its ball; in place."""

    eps: float = 0.01
    labels_too: bool = False

    @property
    def ball(self) -> attacks.Ball:
        return attacks.Ball("linf", self.eps)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        if self.labels_too:
            labels[:] = 0
        else:
            x[:] = 1 - x
        return x

    def control(self) -> "Negative":
        return self


@pytest.mark.parametrize("labels_too", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_attack_that_writes_to_its_arguments_is_told_and_changes_nothing(labels_too: bool, threads: int) -> None:
    network = replace(convolutional(micro_batch=3), threads=threads)
    x = images(7).astype(np.float32)
    labels = predicted(network, x)
    before = x.copy(), labels.copy()
    found = attacks.robust_accuracy(network, x, labels, [Negative(labels_too=labels_too)], Judging(draws=2))
    with pytest.raises(ValueError, match="the attack Negative writes to the images and labels that it is given: copy"):
        next(found)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_so_is_one_that_training_runs() -> None:
    network, x = linear(), images(5)
    labels = predicted(network, x)
    with pytest.raises(ValueError, match="the attack Negative writes to"):
        Adversarial(CrossEntropy(), Negative()).gradient(network, x, labels, EXPECTATION, Stream(0))


@dataclass(frozen=True)
class Writing:
    """A loss that writes to one of the things that it is given."""

    what: str

    def gradient(self, network: Any, images: Any, labels: Any, noise: Any, stream: Any) -> Any:
        params = network.params["fc1"]["w"]
        given = {"images": images, "labels": labels, "params": params}[self.what]
        given[:] = 0
        return CrossEntropy().gradient(network, images, labels, noise, stream)


@dataclass(frozen=True)
class WritingTerm:
    def __call__(self, model: Any, params: Any) -> Any:
        params["fc1.w"][:] = 0
        return 0.0, {}


@dataclass(frozen=True)
class WritingConstraint(Constraint):
    when: str

    def begin(self, model: Any, params: Any) -> Any:
        return self._written("begin", params)

    def before(self, model: Any, params: Any, grads: Any) -> Any:
        return params, self._written("before", grads)

    def after(self, model: Any, params: Any) -> Any:
        return self._written("after", params)

    def _written(self, when: str, arrays: Any) -> Any:
        if when == self.when:
            arrays["fc1.w"] *= 2
        return arrays


@dataclass(frozen=True)
class WritingRule(SGD):
    def update(self, params: Any, grads: Any, state: Any, *rest: Any, **named: Any) -> Any:
        for name, g in grads.items():
            params[name] -= 0.1 * g
        return params, state


WHEN = ("begin", "before", "after")


def blackened(images: np.ndarray, stream: Any) -> np.ndarray:
    images[:, :, 0] = 0
    return images


@pytest.mark.parametrize(
    ("parts", "who"),
    [
        *(({"loss": Writing(what)}, "loss Writing") for what in ("images", "labels", "params")),
        ({"terms": WritingTerm()}, "term WritingTerm"),
        *(
            ({"constraints": WritingConstraint(w)}, "constraint WritingConstraint")
            for w in ("begin", "before", "after")
        ),
        ({"optimizer": WritingRule()}, "optimizer WritingRule"),
        ({"augmentation": blackened}, "augmentation blackened"),
    ],
)
def test_what_training_is_made_of_cannot_write_either(parts: dict[str, Any], who: str) -> None:
    training = Training(MODELS["lenet5"]((1, 28, 28), 10), **parts)
    kept = MINE.train.images.copy()
    with Threads(1) as workers:
        trainer = Trainer(training, MINE.train, MINE.test, workers, "cpu")
        with pytest.raises(ValueError, match=f"the {who} writes to the .* that it is given: copy them first"):
            state = trainer.initial()
            trainer.updated(state, trainer.gradient(state.params, np.arange(8)).grads or {}, 0.1)
    np.testing.assert_array_equal(MINE.train.images, kept)


def test_an_objective_cannot_write_to_the_logits() -> None:
    def doubled(m: Any, labels: Any) -> Any:
        m.mean[:] *= 2
        return cross_entropy(m, labels)

    network, x = convolutional(), images(5)
    with pytest.raises(ValueError, match="the objective doubled writes to the logits that it is given"):
        losses.one_view(network, x, predicted(network, x), doubled, EXPECTATION)


def test_a_read_only_view_leaves_the_array_itself_as_it_is() -> None:
    x = np.zeros(3)
    views = all_read_only({"x": x})
    with pytest.raises(ValueError, match="read-only"):
        views["x"][0] = 1
    x[0] = 1
    assert views["x"][0] == 1 and read_only("text") == "text"


@pytest.mark.parametrize("raise_", [lambda: {}["no"], lambda: int("x")])
def test_another_error_stays_what_it_is_and_has_a_note(raise_: Callable[[], Any]) -> None:
    with pytest.raises((KeyError, ValueError)) as caught, BlamedOn("loss", "Mine", "images"):
        raise_()
    assert blamed(caught.value) == "loss Mine" and blamed(ValueError()) == ""


ASKS: list[tuple[Any, str, Any]] = [
    (losses.LOSSES, "gradient", lambda self, network, images, labels, noise: 0),
    (terms.TERMS, "__call__", lambda self, model: 0),
    (constraints.CONSTRAINTS, "before", lambda self, model, params: 0),
    (constraints.CONSTRAINTS, "after", lambda self, params: 0),
    (optim.OPTIMIZERS, "update", lambda self, params, grads, state: 0),
    (optim.SCHEDULES, "__call__", lambda self: 0),
    (LAYERS, "forward", lambda self, params, m: 0),
    (SOURCES, "of", lambda self: 0),
]


@pytest.mark.parametrize(("table", "method", "f"), ASKS, ids=lambda part: getattr(part, "kind", ""))
def test_a_method_that_cannot_be_called_as_it_will_be_is_refused(table: Any, method: str, f: Any) -> None:
    kind = dataclass(frozen=True)(type("Odd", (), {method: f}))
    with pytest.raises(TypeError, match=rf"Odd.{method} must take \(self, [a-z_, ]+\), got \(self.*\)"):
        table.enter("odd")(kind)
    assert "odd" not in table


@pytest.mark.parametrize("table", [MODELS, AUGMENTATIONS, OBJECTIVES], ids=lambda table: table.kind)
def test_so_is_a_function(table: Any) -> None:
    def odd() -> None: ...

    with pytest.raises(TypeError, match=r"odd must take \([a-z_, ]+\), got \(\)"):
        table.enter("odd")(odd)
    assert "odd" not in table


def test_what_says_nothing_of_its_arguments_is_taken() -> None:
    check_takes(print, "x", "print")
    check_takes(type, "x, y, z, w", "type")
    asked_for(f="x")(type("Static", (), {"f": staticmethod(lambda x: x)}), "static")
