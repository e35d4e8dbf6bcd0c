"""Whether a value survives a file and a way to another process."""

import json
import pickle
from dataclasses import is_dataclass
from typing import Any, TypeVar

from npsnn.tables import Table
from npsnn.testing.demands import demand
from npsnn.train.scheduled import at

T = TypeVar("T")


def check_saved(table: Table[Any], value: Any) -> None:
    """Raise AssertionError unless a file and another process give the value back, equal to itself.

    table: of the kind of the value, as `npsnn.layers.LAYERS`.
    value: of a frozen dataclass, or a function, that the table has an entry for.
    """
    try:
        read = table.decode(json.loads(json.dumps(table.encode(value), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{value!r} cannot be saved: {error}") from error
    twins = type(read) is not type(value) and table.encode(read) == table.encode(value)  # of a file that was read twice
    demand(twins or read == value, f"{value!r} is read from a file as {read!r}: give it fields that compare equal")
    try:
        sent = pickle.loads(pickle.dumps(value))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(
            f"{value!r} cannot be sent to another process: define its class at the top of a module ({error})"
        ) from error
    demand(sent == value, f"{value!r} comes to another process as {sent!r}")


def check_frozen(value: Any) -> None:
    """Raise AssertionError unless the value is of a frozen dataclass, which threads may share."""
    frozen = is_dataclass(value) and getattr(type(value), "__dataclass_params__").frozen  # noqa: B009
    demand(frozen, f"{value!r} must be of a frozen dataclass: put @dataclass(frozen=True) above its class")


def at_half(value: T) -> T:
    """The value with numbers in the place of its schedules, as they are at half of a training."""
    return at(value, 0.5)
