"""Schedules at their corners and everywhere between, and what is no schedule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn import optim, schedules
from npsnn.optim import Adam
from npsnn.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Fall,
    Falls,
    Harmonic,
    Ramp,
    Since,
    StepDown,
    Times,
    is_schedule,
)

PART = st.floats(0, 1)
EVERY: list[Any] = [
    Constant(),
    StepDown((0.3,), 0.5),
    Cosine(),
    Times(2.0, Times(-1.0, Ramp(0.5))),
    Ramp(0.5, 0.1),
    Fall(0.3),
    Since(10 / 350),
    Falls((0.2, 0.9), (0.5, -1.0)),
    Harmonic(350, 10),
]


def test_every_schedule_is_in_the_table_and_comes_back_from_a_file() -> None:
    assert {type(each) for each in EVERY} == set(SCHEDULES.values())
    assert [SCHEDULES.decode(SCHEDULES.encode(each)) for each in EVERY] == EVERY
    names = {kind.__name__ for kind in SCHEDULES.values()} | {"SCHEDULES", "Schedule", "schedule", "check_longer"}
    assert all(getattr(optim, name) is getattr(schedules, name) for name in names)


@pytest.mark.parametrize("each", EVERY, ids=lambda each: type(each).__name__)
@given(done=PART)
def test_a_schedule_gives_one_finite_float(each: Any, done: float) -> None:
    assert type(each(done)) is float and np.isfinite(each(done)) and each(done) == each(done)


def test_the_learning_rate_s_schedules() -> None:
    done = [i / 100 for i in range(101)]
    factors = {
        name: [kind()(d) for d in done] for name, kind in SCHEDULES.items() if name in ("constant", "step", "cosine")
    }
    assert set(factors["constant"]) == {1.0}
    assert factors["step"] == pytest.approx([1] * 50 + [0.1] * 25 + [0.01] * 26)
    np.testing.assert_allclose(factors["cosine"], (1 + np.cos(np.pi * np.array(done))) / 2, atol=1e-15)
    assert factors["cosine"][0] == 1 and factors["cosine"][50] == pytest.approx(0.5)
    assert StepDown((0.2,), 0.5)(0.19) == 1 and StepDown((0.2,), 0.5)(0.2) == 0.5
    assert all(f[0] == 1 and (np.diff(f) <= 0).all() for f in factors.values())


@given(st.floats(-1e3, 1e3), PART)
def test_times_is_the_product(value: float, done: float) -> None:
    assert Times(value, Cosine())(done) == value * Cosine()(done)


@given(PART, st.floats(0, 0.9), st.floats(0.01, 0.1))
def test_a_ramp_is_linear_between_its_parts(done: float, start: float, length: float) -> None:
    until = start + length
    found = Ramp(until, start)(done)
    if done <= start:
        assert found == 0
    elif done >= until:
        assert found == pytest.approx(1)
    else:
        assert start + found * length == pytest.approx(done)
    assert Ramp(0.5)(0.25) == 0.5 and Ramp(0.5)(0.5) == 1 and Ramp(0.5, 0.25)(0.25) == 0


@given(PART, st.floats(0.01, 1))
def test_a_fall_is_what_a_ramp_lacks_of_one(done: float, until: float) -> None:
    assert Fall(until)(done) == pytest.approx(1 - Ramp(until)(done), abs=1e-12)
    assert Fall(until)(0.0) == 1 and Fall(until)(until) == 0


@given(st.integers(1, 400), st.integers(1, 9), st.data())
def test_since_and_harmonic_begin_with_an_epoch(epochs: int, steps: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, epochs - 1))
    epoch, step = data.draw(st.integers(0, epochs - 1)), data.draw(st.integers(0, steps - 1))
    done = (epoch + step / steps) / epochs
    assert Since(start / epochs)(done) == (epoch >= start)
    t = epoch - start + 1
    expected = 1 / sum(1 / k for k in range(1, t + 1)) if t > 0 else 0
    assert Harmonic(epochs, start)(done) == pytest.approx(expected)
    assert Harmonic(epochs, start)(1.0) == Harmonic(epochs, start)((epochs - 1) / epochs)


@given(st.lists(PART, min_size=1, max_size=4, unique=True), PART)
def test_falls_gives_the_factor_of_the_last_part_that_is_past(at: list[float], done: float) -> None:
    at = sorted(at)
    factors = [0.5 + i for i in range(len(at))]
    past = [factor for point, factor in zip(at, factors, strict=True) if point <= done]
    assert Falls(tuple(at), tuple(factors))(done) == (past[-1] if past else 1)
    same, other = Falls(), StepDown()
    assert same(done) == pytest.approx(other(done))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDown(factor=-0.1), "factor must be >= 0 and finite, got -0.1"),
        (lambda: Times(float("nan"), Cosine()), "value must be finite, got nan"),
        (lambda: Times(1.0, Adam()), r"schedule must be a schedule of the table, as Ramp\(0.5\), got Adam"),  # type: ignore[arg-type]
        (lambda: Times(1.0, Cosine), "schedule must be of the type Schedule, got <class"),  # type: ignore[arg-type]
        (lambda: Times(1.0, "cosine"), "schedule must be of the type Schedule, got 'cosine'"),  # type: ignore[arg-type]
        (lambda: Ramp(1.5), r"until must be a part of the training, in \[0, 1\], got 1.5"),
        (lambda: Ramp(0.5, float("nan")), "start must be a part of the training"),
        (lambda: Ramp(0.5, 0.5), "start must be below until, 0.5, got 0.5"),
        (lambda: Fall(0), "until must be above 0, got 0"),
        (lambda: Since(-0.1), "start must be a part of the training"),
        (lambda: Falls((0.5, 0.2)), "at must hold parts of the training, .* in their order"),
        (lambda: Falls((0.5, 0.5)), "at must hold parts of the training, .* in their order"),
        (lambda: Falls((0.5,)), "factors must be 1 finite numbers, one for each of at"),
        (lambda: Falls((0.5,), (float("inf"),)), "factors must be 1 finite numbers"),
        (lambda: Harmonic(0), "epochs must be >= 1, got 0"),
        (lambda: Harmonic(3, -1), "start must be >= 0, got -1"),
        (lambda: Harmonic(3.5), "epochs must be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_schedule_is_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_a_schedule_is() -> None:
    assert all(map(is_schedule, EVERY))
    assert not any(map(is_schedule, (0.5, "cosine", Cosine, Adam(), None, lambda done: done)))
