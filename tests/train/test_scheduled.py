"""Schedules in the place of numbers: what a field takes, and what a step sees."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import own_training as own
import pytest
from entering import entered, taken_out
from hypothesis import given
from hypothesis import strategies as st
from own_training import two_noises
from small_networks import of_units_in_digits, on_features, on_weights

from npsnn import attacks
from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.moments import WHOLE, Batch, Expectation, Noise, Sampled
from npsnn.models import Model, lenet5
from npsnn.optim import Adam, Arrays, Constant, Cosine, Ramp, Since, Times, schedule
from npsnn.streams import Stream
from npsnn.train import (
    Adversarial,
    Constraint,
    CrossEntropy,
    Drawn,
    SigmaReward,
    Step,
    Total,
    Training,
)
from npsnn.train.authors import OneDraw
from npsnn.train.epochs import Trainer
from npsnn.train.scheduled import Scalar, at, check_scalar, schedules
from npsnn.train.treatments import TREATMENTS
from npsnn.workers.processes import Processes

taken_out(own)

LABELS = np.arange(60) % 10
IMAGES = digits.draw(LABELS, np.random.default_rng(0))
DATA = Dataset("few digits", Split(IMAGES, LABELS), Split(IMAGES[:20], LABELS[:20]), 10, {"train": "60"})


@dataclass(frozen=True)
class Sampler:
    """Values with a scalar each, and one without."""

    weight: Scalar = 1.0
    several: tuple[Any, ...] = ()
    name: str = "sampler"

    def __post_init__(self) -> None:
        check_scalar(self, "weight", high=2.0)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)], ids=repr)
def test_a_number_becomes_a_float(value: Any) -> None:
    assert Sampler(value).weight == value and type(Sampler(value).weight) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.1, r"weight must be in \[0, 2\], got -0.1"),
        (float("nan"), r"weight must be in \[0, 2\], got nan"),
        (True, r"weight must be a number or a schedule, as Ramp\(0.5\), got True"),
        ("1", r"weight must be a number or a schedule, as Ramp\(0.5\), got '1'"),
        (None, "weight must be a number or a schedule, .* got None"),
        (Ramp, "weight must be a number or a schedule, .* got <class"),
        (Adam(), "weight must be a number or a schedule, .* got Adam"),
        (lambda done: done, "weight must be a number .*, which is in no table: put @schedule above its class"),
        (
            Times(3.0, Ramp(0.75)),
            r"weight must be in \[0, 2\] throughout a training, got .*, which is 3.0 at 0.75",
        ),
    ],
    ids=["low", "nan", "bool", "text", "none", "class", "optimiser", "function", "range"],
)
def test_a_field_refuses_what_is_no_scalar_in_its_range(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampler(value)


def test_ranges_without_an_end_say_so() -> None:
    with pytest.raises(ValueError, match="alpha must be >= 0 and finite, got inf"):
        SigmaReward(float("inf"))
    with pytest.raises(ValueError, match=r"alpha must be >= 0 and finite throughout a training, got Times"):
        SigmaReward(Times(-1.0, Constant()))
    with pytest.raises(ValueError, match=r"mix must be in \[0, 1\] throughout"):
        Adversarial(CrossEntropy(), attacks.FGSM(0.1), Times(1.5, Cosine()))


@given(st.floats(0, 1))
def test_at_puts_numbers_in_the_place_of_schedules_at_any_depth(done: float) -> None:
    inner = Sampler(Ramp(0.5))
    value = (Sampler(Times(2.0, Cosine()), (inner, "plain", (Since(0.5),))), 3.0)
    ramp, since = Ramp(0.5)(done), Since(0.5)(done)
    assert at(value, done) == (Sampler(2 * Cosine()(done), (Sampler(ramp), "plain", (since,))), 3.0)
    assert list(schedules(value)) == [Times(2.0, Cosine()), Ramp(0.5), Since(0.5)]


def test_what_has_no_schedule_stays_the_same_object() -> None:
    plain = Sampler(0.5, (Sampler(), (1, 2)))
    holder = Sampler(Ramp(0.5), (plain, CrossEntropy()))
    for value in (plain, plain.several, CrossEntropy(), "text", None, 1.5, Ramp, lenet5()):
        assert at(value, 0.3) is value
    found = at(holder, 0.3)
    assert found is not holder and found.several is holder.several


@dataclass(frozen=True)
class Late:
    """1.0 where `check_scalar` tries it, and another number in between."""

    other: float = 5.0

    def __call__(self, done: float) -> float:
        return 1.0 if done * 4 == round(done * 4) else self.other


def test_a_number_out_of_range_is_refused_at_its_step() -> None:
    with entered(schedule, Late):
        with pytest.raises(ValueError, match=r"weight must be in \[0, 2\], got 5.0"):
            at(Sampler(Late()), 0.1)
        with pytest.raises(
            ValueError, match=r"a schedule must give numbers, Late.* gives a NaN at 0.1 of the training"
        ):
            at(Sampler(Late(float("nan"))), 0.1)


SEEN: list[tuple[str, float]] = []
"""The numbers that the values below were called with."""


@dataclass(frozen=True)
class SeenLoss(CrossEntropy):
    scale: Scalar = 1.0

    def gradient(self, *arguments: Any) -> Total:
        SEEN.append(("loss", self.scale))
        return super().gradient(*arguments)


@dataclass(frozen=True)
class SeenTerm:
    weight: Scalar = 1.0

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        SEEN.append(("term", self.weight))
        return 0.0, {}


@dataclass(frozen=True)
class SeenConstraint(Constraint):
    weight: Scalar = 1.0

    def begin(self, model: Model, params: Arrays) -> Arrays:
        SEEN.append(("begin", self.weight))
        return params

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        SEEN.append(("before", self.weight))
        return params, grads

    def after(self, model: Model, params: Arrays) -> Arrays:
        SEEN.append(("after", self.weight))
        return params


@dataclass(frozen=True)
class SeenNoise(Drawn):
    def stream(self, batch: Stream, part: Stream) -> Stream:
        SEEN.append(("stream", self.scale))
        return super().stream(batch, part)

    def noise(self, stream: Stream, training: Any) -> Noise:
        SEEN.append(("noise", self.scale))
        return super().noise(stream, training)


def seen_training(number: Any, **changed: Any) -> Training:
    return Training(
        two_noises(),
        loss=SeenLoss(number),
        noise=SeenNoise(number),
        terms=SeenTerm(number),
        constraints=SeenConstraint(number),
        epochs=2,
        batch_size=20,
        **changed,
    )


def test_each_step_has_the_numbers_of_its_part_of_the_training() -> None:
    with Processes(1) as workers:
        trainer = Trainer(seen_training(Ramp(1.0)), DATA.train, DATA.test, workers, "cpu")
        SEEN.clear()
        state = trainer.initial()
        assert SEEN == [("begin", 0.0)]
        for epoch in range(2):
            SEEN.clear()
            for record in trainer.epoch(state):
                if isinstance(record, Step):
                    done = (epoch + (record.step - 1) / 3) / 2
                    assert {value for _, value in SEEN} == {done}
                    assert {name for name, _ in SEEN} == {"loss", "stream", "noise", "term", "before", "after"}
                    SEEN.clear()
                else:
                    state = record[0]


def test_a_training_without_schedules_is_asked_for_none() -> None:
    training = seen_training(0.5)
    assert training.at(0.3) is training and training.scheduled == () and training.numbers(0.3) == ()
    with Processes(1) as workers:
        trainer = Trainer(training, DATA.train, DATA.test, workers, "cpu")
        assert trainer.constraints_at(0.3) is trainer.constraints
    scheduled = seen_training(Ramp(1.0))
    assert scheduled.at(0.3) is scheduled.at(0.3) is not scheduled and scheduled.numbers(0.3) == (0.3,) * 4
    assert scheduled.at(0.3).loss == SeenLoss(0.3) and scheduled.at(0.6).loss == SeenLoss(0.6)
    assert pickle.loads(pickle.dumps(scheduled)) == scheduled == seen_training(Ramp(1.0))


def test_a_training_with_a_schedule_in_it_cannot_be_lengthened() -> None:
    assert seen_training(0.5).any_length and seen_training(0.5).lengthened(3).epochs == 3
    training = seen_training(Ramp(0.5))
    with pytest.raises(ValueError, match=r"epochs must be the run's own 2 under Ramp\(until=0.5, start=0.0\)"):
        training.lengthened(3)
    assert not training.any_length and training.lengthened(2) == training


@pytest.mark.parametrize("model", [of_units_in_digits(), on_weights(dropout=0.3), on_features().model], ids=str)
@pytest.mark.parametrize("batch", [None, WHOLE], ids=["inference", "training"])
def test_noise_of_the_scale_0_is_none_and_has_finite_gradients(model: Model, batch: Batch | None) -> None:
    treatment = Drawn(Since(0.5))
    network = Classifier(model, model.init(np.random.default_rng(0))).astype(np.float64)
    x, labels = np.random.default_rng(1).random((8, *model.shape)), np.arange(8) % model.classes

    def total(noise: Noise) -> Total:
        return CrossEntropy().gradient(network, x, labels, noise, Stream(2))

    off, on = (total(at(treatment, done).noise(Stream(1), batch)) for done in (0.0, 0.5))
    none = total(Expectation(batch))
    assert off.loss == none.loss != on.loss and off.grads is not None and none.grads is not None
    for name, g in off.grads.items():
        np.testing.assert_array_equal(g, none.grads[name])
        assert np.isfinite(g).all()


def test_one_draw_has_a_scale_as_well() -> None:
    document = TREATMENTS.encode(OneDraw(Since(0.1)))
    assert TREATMENTS.decode(document) == OneDraw(Since(0.1)) and TREATMENTS.decode({"type": "OneDraw"}) == OneDraw(1.0)
    assert at(OneDraw(Since(0.1)), 0.05).noise(Stream(0), None) == Sampled(Stream(0), None, 0.0)
    with pytest.raises(ValueError, match="scale must be >= 0 and finite, got -1"):
        OneDraw(-1)
