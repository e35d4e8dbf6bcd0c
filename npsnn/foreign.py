"""Calls of what users write: what it is given cannot be written to, and its errors name it."""

from collections.abc import Callable, Mapping
from inspect import getattr_static, signature
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

NOTE = "Raised by the "
"""What a note begins with that names whose error it is."""


def read_only(x: T) -> T:
    """A view of a NumPy array that raises ValueError where it is written to; anything else as it is."""
    array: Any = x
    if type(x) is not np.ndarray or not array.flags.writeable:  # an array of a GPU has no such flag
        return x
    view: Any = array.view()
    view.flags.writeable = False
    return view  # type: ignore[no-any-return]


def all_read_only(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Another dictionary of the arrays by name, none of which can be written to."""
    return {name: read_only(array) for name, array in arrays.items()}


def check_takes(method: Any, arguments: str, who: str) -> None:
    """Raise TypeError unless a function can be called with these arguments.

    arguments: their names, as "target, x, labels, stream".
    who: what the function is, for the message, as "Mine.__call__".
    """
    try:
        declared = signature(method)
    except (TypeError, ValueError):  # a function of C does not tell
        return
    try:
        declared.bind(*arguments.split(", "))
    except TypeError:
        raise TypeError(f"{who} must take ({arguments}), got {declared}") from None


def asked_for(**methods: str) -> Callable[[Any, str], None]:
    """The check of a table that entries can be called as they will be, where they have these methods at all.

    methods: the arguments of each, as in `check_takes`; those of a function are of `__call__`.
    """

    def check(entry: Any, name: str) -> None:
        for method, arguments in methods.items():
            if not isinstance(entry, type):
                check_takes(entry, arguments, entry.__name__)
            elif isinstance(own := getattr_static(entry, method, None), FunctionType):  # no static or class's method
                check_takes(own, f"self, {arguments}", f"{entry.__name__}.{method}")

    return check


def name_of(value: Any) -> str:
    """The name of the class of a value, or of a function."""
    return str(getattr(value, "__name__", type(value).__name__))


class BlamedOn:
    """An error in the block has a note that names who raised it. A class, since a step of training has ten such blocks.

    kind: as "attack".
    who: the object, or the word that names it, as "average-sign".
    given: what cannot be written to, as "images"; who writes to it is told to copy it.
    """

    def __init__(self, kind: str, who: Any, given: str) -> None:
        self.kind, self.who, self.given = kind, who, given

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        who = f"{self.kind} {self.who if isinstance(self.who, str) else name_of(self.who)}"
        if isinstance(error, ValueError) and "read-only" in str(error):
            raise ValueError(f"the {who} writes to the {self.given} that it is given: copy them first") from error
        error.add_note(f"{NOTE}{who}")


def blamed(error: BaseException) -> str:
    """Whose error it is, as "attack average-sign"; empty where no note says so."""
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(NOTE))
    return next(notes, "").removeprefix(NOTE)
