"""Words that people type: which known word is nearest to one, and which two are the same to them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


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
