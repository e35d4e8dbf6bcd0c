"""A card that names the engine's code exercises it: with results a little wrong its figures are others.

Formulas are held to more: of every array that they return, some card that names them notices the corruption.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from corrupted import Part, corrupted, noted, wrong
from mutants import row

from npsnn import audit
from npsnn.audit.card import Card
from npsnn.audit.engine import checked_on, resolve
from npsnn.layers.base import Passing
from npsnn.objectives import sobol_normal

FORMULAS = (
    "npsnn.ops.",
    "npsnn.objectives.",
    "npsnn.bounds.",
    "npsnn.train.terms.",
    "npsnn.train.authors.",
    "npsnn.train.constraints.",
    "npsnn.optim.",
)
LAYERS = ("npsnn.layers.noise.", "npsnn.layers.affine.", "npsnn.layers.noisy_weights.")
"""What they compute is `forward` and what it returns, or `passed` where that is `Passing.forward`."""


def engine(card: Card) -> list[str]:
    return [s for s in card.symbols if not s.startswith("npsnn.reference.")]


CARDS = [card for card in audit.select() if checked_on(card.symbols) == "engine"]
PAIRS = [(card.id, symbol) for card in CARDS for symbol in engine(card)]
SYMBOLS = sorted({symbol for _, symbol in PAIRS if symbol.startswith(FORMULAS + LAYERS)})


def functions(symbol: str) -> dict[str, FunctionType]:
    """The function that a symbol names, or the public methods of the class, inherited ones included."""
    found = inspect.unwrap(resolve(symbol))
    if inspect.isfunction(found):
        return {"": found}
    kind = found if isinstance(found, type) else type(found)
    owners = [owner for owner in reversed(kind.__mro__) if owner.__module__.startswith("npsnn")]
    methods = {name: f for owner in owners for name, f in vars(owner).items() if inspect.isfunction(f)}
    return {name: f for name, f in methods.items() if name == "__call__" or not name.startswith("_")}


@cache
def calls(card: str) -> dict[FunctionType, list[Part]]:
    """What each function that the card names returns while it is checked, part by part."""
    named = [f for symbol in engine(audit.CARDS[card]) for f in functions(symbol).values()]
    with ExitStack() as stack:
        seen = {f: stack.enter_context(noted(f)) for f in dict.fromkeys(named)}
        assert examined(card).figures == row(card).figures
    return {f: sorted(found) for f, found in seen.items()}


def parts(card: str, symbol: str) -> list[tuple[FunctionType, Part]]:
    return [(f, part) for f in functions(symbol).values() for part in calls(card)[f]]


def examined(card: str) -> audit.Row:
    """The card's row, and nothing that it left in a cache."""
    try:
        return audit.examine(audit.CARDS[card])
    finally:
        sobol_normal.cache_clear()


@cache
def with_wrong(card: str, function: FunctionType, part: Part, change: Callable[[Any], Any]) -> audit.Row:
    """The card's row with the part changed, examined once for both tests."""
    with corrupted(function, part, change):
        return examined(card)


def notices(card: str, function: FunctionType, part: Part) -> bool:
    """Whether a figure is another one; that the check stops with an error does not count.

    A step along the gradient's sign is the same under any wrong size: the other sign is tried as well.
    """
    for change in (wrong, negated):
        found = with_wrong(card, function, part, change)
        if not found.failure and found.figures != row(card).figures:
            return True
    return False


def negated(value: Any) -> Any:
    return -value if isinstance(value, np.ndarray) and value.dtype.kind == "f" else wrong(value)


@pytest.mark.slow
@pytest.mark.parametrize(("card", "symbol"), PAIRS, ids=lambda value: value)
def test_a_card_exercises_what_it_names(card: str, symbol: str) -> None:
    found = parts(card, symbol)
    assert found, f"{card} names {symbol} and never calls it"
    assert any(notices(card, *one) for one in found), f"{card} names {symbol} and no figure depends on it"


def is_result(symbol: str, function: FunctionType, part: Part) -> bool:
    """Whether it is what the formula is for; of a pooling, what it saves for the backward pass is not."""
    if symbol == "npsnn.ops.pool.max_pool":
        return part[0] != "2"
    own = function.__name__ in ("forward", "passed") and function is not Passing.forward
    return own or not symbol.startswith(LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_result_of_a_formula_decides_a_verdict(symbol: str) -> None:
    cards = sorted((card for card, named in PAIRS if named == symbol), key=lambda card: row(card).seconds)
    by_card = {card: [one for one in parts(card, symbol) if is_result(symbol, *one)] for card in cards}
    for one in dict.fromkeys(one for found in by_card.values() for one in found):
        rows = (with_wrong(card, *one, wrong) for card in cards if one in by_card[card])
        where = f"{one[0].__qualname__}, result {'.'.join(one[1])}"
        assert any(not row.failure and not row.supported for row in rows), (
            f"{', '.join(cards)} keep quiet about {where}"
        )
