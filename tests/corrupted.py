"""Functions that return something a little wrong: what a check does not notice of them, it does not check."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np

from npsnn.layers.moments import Expectation, Propagated

Part: TypeAlias = tuple[str, ...]
"""The way from a returned value to an array or number in it: ("1", "var"), or ("1", "()", "0") of what a call gives."""


def wrong(value: Any) -> Any:
    """The same kind of value, another one: floats uneven, integers reversed or off by one, truth turned round."""
    if isinstance(value, Expectation):
        return Propagated()
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value[::-1] if value.ndim else value + 1
    if isinstance(value, np.ndarray) and value.dtype.kind == "b":
        return ~value
    if isinstance(value, np.ndarray | np.floating):
        uneven = 1.25 + 0.25 * np.cos(np.arange(np.size(value))).reshape(np.shape(value))
        return (value * uneven + 0.05 * np.abs(value).max(initial=0)).astype(value.dtype)
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 1.25 * value + 0.05 * abs(value)


def rebuilt(value: Any, change: Callable[[Part, Any], Any], part: Part = ()) -> Any:
    """The value with change(part, leaf) in place of every array and number in it; functions change their results."""
    if isinstance(value, bool | int | float | np.ndarray | np.floating | Expectation):
        return change(part, value)
    if isinstance(value, tuple | list):
        return type(value)(rebuilt(inner, change, (*part, str(i))) for i, inner in enumerate(value))
    if isinstance(value, dict):
        return {key: rebuilt(inner, change, (*part, str(key))) for key, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: rebuilt(getattr(value, f.name), change, (*part, f.name)) for f in fields(value) if f.init}
        return type(value)(**inner)
    if inspect.isfunction(value):
        return lambda *arguments, **named: rebuilt(value(*arguments, **named), change, (*part, "()"))
    return value


def _wrapper(free: tuple[str, ...], key: str) -> FunctionType:
    """A function that hands its arguments to the global `key`, with free variables of these names."""
    names: dict[str, Any] = {}
    held = "".join(f"    {name} = None\n" for name in free)
    used = "".join(f"        {name}\n" for name in free)
    body = f"    def wrapper(*arguments, **named):\n{used}        return {key}(arguments, named)\n    return wrapper\n"
    exec(f"def outer():\n{held}{body}", names)
    found: FunctionType = names["outer"]()
    return found


@contextmanager
def changed(function: FunctionType, change: Callable[[Part, Any], Any]) -> Iterator[None]:
    """The function with other results, by whatever name it was imported: its code is replaced, not a name for it.

    Results are what it returns; where that is nothing, the arrays of its last argument, which it writes to.
    """
    code, names = function.__code__, function.__globals__
    right = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    right.__kwdefaults__ = function.__kwdefaults__

    def call(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        result = right(*arguments, **named)
        if result is not None:
            return rebuilt(result, change)
        if not isinstance(arguments[-1], tuple | list):  # a check, which has no result
            return None
        for array, other in zip(arguments[-1], rebuilt(tuple(arguments[-1]), change), strict=True):
            if other is not array:
                array[...] = other
        return None

    key = f"_changed_{id(function)}"
    names[key] = call
    function.__code__ = _wrapper(code.co_freevars, key).__code__
    try:
        yield
    finally:
        function.__code__ = code
        del names[key]


@contextmanager
def noted(function: FunctionType) -> Iterator[set[Part]]:
    """The parts of what the function returns while this lasts; none where it is not called."""
    seen: set[Part] = set()

    def note(part: Part, leaf: Any) -> Any:
        seen.add(part)
        return leaf

    with changed(function, note):
        yield seen


@contextmanager
def corrupted(function: FunctionType, part: Part, wrong: Callable[[Any], Any] = wrong) -> Iterator[None]:
    """The function with one part of what it returns `wrong`."""
    with changed(function, lambda at, leaf: wrong(leaf) if at == part else leaf):
        yield
