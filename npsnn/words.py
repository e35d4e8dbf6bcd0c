"""Words that people type: which known word is nearest to one, and which two are the same to them."""

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from types import FunctionType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin


def nearest(word: Any, known: Iterable[str]) -> str:
    """A question that names the nearest known word, to end a message with; empty where none is near."""
    near = nearest_word(word, known)
    return f"; did you mean {near}?" if near else ""


def nearest_word(word: Any, known: Iterable[str]) -> str:
    """The nearest known word, whatever its case; empty where none is near."""
    lower = {name.lower(): name for name in known}
    near = get_close_matches(str(word).lower(), lower, 1)
    return lower[near[0]] if near else ""


def plain_word(name: str) -> str:
    """What two names share that nobody could tell apart on a command line: fgsm and FGSM, my-loss and my_loss."""
    return name.lower().replace("_", "-")


def kind_name(kind: Any) -> str:
    """The type of a field in messages: "float", "tuple[int, ...]", "float or Schedule"."""
    if kind is NoneType:
        return "None"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(kind_name, get_args(kind)))
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def brief(value: Any) -> str:
    """What a dataclass with many fields is: its class, and the fields that are not as usual.

    `__repr__ = brief` in a dataclass makes it what the class prints.
    """
    shown = (f for f in fields(value) if f.repr and _is_odd(f, getattr(value, f.name)))
    return f"{type(value).__qualname__}({', '.join(f'{f.name}={_named(getattr(value, f.name))}' for f in shown)})"


def _is_odd(declared: Field[Any], value: Any) -> bool:
    """Whether a field has another value than its default, or has none."""
    usual = declared.default if declared.default_factory is MISSING else declared.default_factory()
    return usual is MISSING or bool(usual != value)


def _named(value: Any) -> str:
    """The value as it is written; a function by its name."""
    return str(value.__name__) if isinstance(value, FunctionType) else repr(value)
