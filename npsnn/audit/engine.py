"""The code that a card names, and whether the engine has the code yet."""

import importlib
from collections.abc import Callable
from typing import Any

PLANNED: frozenset[str] = frozenset()
"""Symbols that cards name before the engine has them, with the signature of their counterparts in reference/."""


def resolve(symbol: str) -> Any:
    """The object of a dotted name, None where no object has the name.

    symbol: dotted name, such as npsnn.ops.loss.win_probability.
    """
    parts = symbol.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name and not f"{name}.".startswith(f"{missing.name}."):
                raise
            continue
        found: Any = module
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found
    return None


def sides(reference: Callable[..., Any], symbol: str) -> dict[str, Callable[..., Any]]:
    """The implementations of a formula, by "reference" and, where the engine has one, by "engine".

    reference: the plain formula.
    symbol: dotted name of the engine's formula.
    """
    engine = resolve(symbol)
    return {"reference": reference} | ({} if engine is None else {"engine": engine})


def checked_on(symbols: tuple[str, ...]) -> str:
    """The code that the check of a card ran on: "engine", "engine in part" or "reference".

    symbols: dotted names that the card gives.
    """
    wanted = [s for s in symbols if not s.startswith("npsnn.reference.")]
    there = [s for s in wanted if resolve(s) is not None]
    if not wanted:
        return "reference"
    return "reference" if not there else "engine" if len(there) == len(wanted) else "engine in part"
