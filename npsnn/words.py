"""Words that people type: which known word is nearest to one, and which two are the same to them."""

from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
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
