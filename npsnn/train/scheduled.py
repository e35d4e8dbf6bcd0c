"""Schedules in the place of numbers of a loss, a term, a constraint or a treatment of the noise.

    @term("mine")
    @dataclass(frozen=True)
    class Mine:
        weight: Scalar

        def __post_init__(self):
            check_scalar(self, "weight")

The trainer asks `at` for the values before each step, so what it calls has numbers alone.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from math import inf, isfinite, isnan
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from npsnn.foreign import BlamedOn
from npsnn.schedules import Schedule, is_schedule

T = TypeVar("T")

if TYPE_CHECKING:
    Scalar: TypeAlias = Any  # a type checker would ask for a cast in each formula, where it is a number
else:
    Scalar = float | Schedule
    """The type of a field that holds a number or a schedule of the table."""

TRIED = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The parts of a training at which a new schedule is asked for its number."""


def check_scalar(owner: Any, name: str, low: float = 0.0, high: float = inf) -> None:
    """Make a number in the field a float; raise ValueError, naming the field, for what is no scalar in the range.

    owner: frozen dataclass that has the field.
    name: name of the field.
    low, high: least and largest number. A schedule is tried at the beginning, at each quarter and at the end of a
        training; `at` tries it at each step, since it makes another owner.
    """
    value = getattr(owner, name)
    if is_schedule(value):
        for done in TRIED:
            number = _number(value, done)
            if not _inside(number, low, high):
                wanted = f"{name} must be {_range(low, high)} throughout a training"
                raise ValueError(f"{wanted}, got {value!r:.100}, which is {number} at {done} of it")
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        mend = "put @schedule above its class (from npsnn.optim import schedule)"
        unknown = f", which is in no table: {mend}" if callable(value) and not isinstance(value, type) else ""
        raise ValueError(f"{name} must be a number or a schedule, as Ramp(0.5), got {value!r:.100}{unknown}")
    if not _inside(value, low, high):
        raise ValueError(f"{name} must be {_range(low, high)}, got {value}")
    object.__setattr__(owner, name, float(value))


def _inside(number: Any, low: float, high: float) -> bool:
    return bool(isfinite(number) and low <= number <= high)


def _range(low: float, high: float) -> str:
    if high < inf:
        return f"in [{low:g}, {high:g}]"
    return f">= {low:g} and finite" if low > -inf else "finite"


def at(value: T, done: float) -> T:
    """The value with numbers in the place of its schedules; the same object where it has none.

    value: a number, a schedule, or a tuple or a dataclass of such, at whatever depth.
    done: part of the training that is done, from 0 to 1.
    Raises ValueError for a number that is out of the range of its field.
    """
    if is_schedule(value):
        return _number(value, done)  # type: ignore[return-value]
    if isinstance(value, tuple):
        found = [at(part, done) for part in value]
        return tuple(found) if _changed(value, found) else value  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    own = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    new = {name: at(part, done) for name, part in own.items()}
    return replace(value, **new) if _changed(own.values(), new.values()) else value


def _changed(before: Any, after: Any) -> bool:
    return any(old is not new for old, new in zip(before, after, strict=True))


def _number(schedule: Any, done: float) -> float:
    with BlamedOn("schedule", schedule, "training"):
        number = float(schedule(done))
    if isnan(number):
        raise ValueError(f"a schedule must give numbers, {schedule!r:.100} gives a NaN at {done} of the training")
    return number


def schedules(value: Any) -> Iterator[Any]:
    """The schedules in a value, at whatever depth."""
    if is_schedule(value):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from schedules(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            if f.init:
                yield from schedules(getattr(value, f.name))
