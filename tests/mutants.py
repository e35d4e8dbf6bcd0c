"""Whether the audit notices a broken formula."""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import pytest

from npsnn import audit

Mutant: TypeAlias = tuple[str, str, Callable[[Any], Any]]
"""A card's number, the dotted name of what is broken, and what makes the broken one of the right one."""


@cache
def row(card: str) -> audit.Row:
    """The card's row while nothing is broken, measured once for all tests."""
    return audit.examine(audit.CARDS[card])


def last_word(part: Any) -> str | None:
    """Of a dotted name; pytest names a function itself, without the address that differs from process to process."""
    return part.rpartition(".")[2] if isinstance(part, str) else None


def mutation_test(mutants: list[Mutant]) -> Callable[..., None]:
    """A test for each mutant: the card's verdict stands, and falls once the formula is broken.

    The formula is replaced in its module, so checks must call it through that. A check has to measure the difference:
    an exception does not count.
    """

    @pytest.mark.slow
    @pytest.mark.parametrize(("card", "target", "mutate"), mutants, ids=last_word)
    def test(monkeypatch: pytest.MonkeyPatch, card: str, target: str, mutate: Callable[[Any], Any]) -> None:
        before = row(card)
        assert before.supported, before
        module, _, name = target.rpartition(".")
        owner = importlib.import_module(module)
        monkeypatch.setattr(owner, name, mutate(getattr(owner, name)))
        after = audit.examine(audit.CARDS[card])
        assert not after.failure, after
        assert not after.supported, f"{card} did not notice that {target} changed"

    return test
