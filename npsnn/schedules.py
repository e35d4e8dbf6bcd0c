"""Schedules as values in a table: from the part of a training that is done to a factor.

    @schedule("mine")
    @dataclass(frozen=True)
    class Mine:
        def __call__(self, done): ...

A training has one for its learning rate, and may have others in the place of numbers of its loss, its terms, its
constraints and its treatment of the noise (`npsnn.train.scheduled`).
"""

from dataclasses import dataclass
from math import cos, floor, fsum, isfinite, pi
from typing import Any, Protocol

from npsnn.foreign import asked_for
from npsnn.tables import Table
from npsnn.validate import check_count, check_types


class Schedule(Protocol):
    """A number over a training; any dataclass that can be called so is one."""

    def __call__(self, done: float) -> float:
        """The number; that of the learning rate is a factor of the optimiser's.

        done: part of the training that is done, from 0 to 1.
        """


SCHEDULES: Table[type[Any]] = Table("schedule", "from npsnn.optim import schedule", asked_for(__call__="done"))
"""Every schedule by name: `@schedule("name")` above a dataclass enters it."""
schedule = SCHEDULES.enter


def _check_parts(rule: Any, *names: str) -> None:
    """Raise ValueError unless the fields of these names are parts of a training."""
    check_types(rule)
    for name in names:
        if not 0 <= getattr(rule, name) <= 1:
            raise ValueError(f"{name} must be a part of the training, in [0, 1], got {getattr(rule, name)}")


@schedule("constant")
@dataclass(frozen=True)
class Constant:
    """1 throughout: the learning rate stays the same."""

    def __call__(self, done: float) -> float:
        return 1.0


@schedule("step")
@dataclass(frozen=True)
class StepDown:
    """A number that falls by a factor at certain points.

    at: parts of the training, in [0, 1].
    factor: what the number is multiplied by at each of them, >= 0.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.factor < float("inf"):
            raise ValueError(f"factor must be >= 0 and finite, got {self.factor}")

    def __call__(self, done: float) -> float:
        return self.factor ** sum(done >= point for point in self.at)


@schedule("cosine")
@dataclass(frozen=True)
class Cosine:
    """A number that falls from 1 to 0 along half a period of the cosine, (1 + cos(π done))/2."""

    def __call__(self, done: float) -> float:
        return (1 + cos(pi * done)) / 2


@schedule("times")
@dataclass(frozen=True)
class Times:
    """A number times a schedule: value · schedule(done).

    value: finite number.
    schedule: the other factor, of the table of schedules.
    Raises ValueError for another value, and for what is no schedule.
    """

    value: float
    schedule: Schedule

    def __post_init__(self) -> None:
        check_types(self)
        if not isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value}")
        if not is_schedule(self.schedule):
            raise ValueError(f"schedule must be a schedule of the table, as Ramp(0.5), got {self.schedule!r:.80}")

    def __call__(self, done: float) -> float:
        return self.value * self.schedule(done)


@schedule("ramp")
@dataclass(frozen=True)
class Ramp:
    """0 before one part of the training, 1 after another, linear between.

    until: part of the training from which on the number is 1, in (0, 1].
    start: part of the training until which the number is 0, in [0, until).
    Raises ValueError, naming the field, for what is no such part.
    """

    until: float
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_parts(self, "until", "start")
        if self.start >= self.until:
            raise ValueError(f"start must be below until, {self.until}, got {self.start}")

    def __call__(self, done: float) -> float:
        return min(1.0, max(0.0, (done - self.start) / (self.until - self.start)))


@schedule("fall")
@dataclass(frozen=True)
class Fall:
    """1 at first, 0 from one part of the training on, linear between.

    until: part of the training from which on the number is 0, in (0, 1].
    Raises ValueError for what is no such part.
    """

    until: float

    def __post_init__(self) -> None:
        _check_parts(self, "until")
        if self.until == 0:
            raise ValueError("until must be above 0, got 0")

    def __call__(self, done: float) -> float:
        return max(0.0, 1 - done / self.until)


@schedule("since")
@dataclass(frozen=True)
class Since:
    """0 before one part of the training, 1 from it on.

    start: part of the training, in [0, 1]; 10/350 is the beginning of epoch 11 of 350.
    Raises ValueError for what is no such part.
    """

    start: float

    def __post_init__(self) -> None:
        _check_parts(self, "start")

    def __call__(self, done: float) -> float:
        return 1.0 if done >= self.start else 0.0


@schedule("falls")
@dataclass(frozen=True)
class Falls:
    """1 at first, and another number from each of several parts of the training on.

    at: parts of the training in their order, in [0, 1].
    factors: the number from each of them on, until the next; not a factor of the number before.
    Raises ValueError, naming the field, for parts in another order, and for another number of factors.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factors: tuple[float, ...] = (0.1, 0.01)

    def __post_init__(self) -> None:
        check_types(self)
        if any(not 0 <= point <= 1 for point in self.at) or list(self.at) != sorted(set(self.at)):
            raise ValueError(f"at must hold parts of the training, in [0, 1], in their order, got {self.at}")
        if len(self.factors) != len(self.at) or not all(map(isfinite, self.factors)):
            raise ValueError(f"factors must be {len(self.at)} finite numbers, one for each of at, got {self.factors}")

    def __call__(self, done: float) -> float:
        return (1.0, *self.factors)[sum(done >= point for point in self.at)]


@schedule("harmonic")
@dataclass(frozen=True)
class Harmonic:
    """0 before an epoch, then 1 / (1 + 1/2 + ... + 1/t), where t counts the epochs from that one on: 1 in it.

    epochs: number of epochs of the training, >= 1.
    start: number of epochs that are before, >= 0.
    Raises ValueError, naming the field, for what is no such number.
    Source: Jeddi et al. 2020 (Learn2Perturb), Eq. 8. The authors' code counts t from 0, and divides by 0 at first.
    """

    epochs: int
    start: int = 0

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs)
        check_count("start", self.start, 0)
        check_types(self)

    def __call__(self, done: float) -> float:
        # done is a quotient by the number of epochs, and is rounded
        epoch = min(floor(done * self.epochs + 1e-9), self.epochs - 1)
        return 0.0 if epoch < self.start else 1 / fsum(1 / k for k in range(1, epoch - self.start + 2))


def is_schedule(value: Any) -> bool:
    """Whether a value is of the table of schedules."""
    return SCHEDULES.holds(value)


def check_longer(epochs: int, own: int, any_length: bool, schedule: str) -> None:
    """Raise ValueError where a training of `epochs` would have begun otherwise than one of its own number.

    epochs: the number asked for.
    own: the number that the training has.
    any_length: whether the steps so far would be the same in a longer training.
    schedule: the schedule, for the message.
    """
    if epochs < own:
        raise ValueError(f"epochs must be at least the run's own {own}, got {epochs}")
    if epochs > own and not any_length:
        raise ValueError(
            f"epochs must be the run's own {own} under {schedule}, which is over all epochs: "
            f"the steps so far were not those of {epochs}, got {epochs}"
        )
