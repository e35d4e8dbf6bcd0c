"""Where a card's formula is implemented, and whether the engine has it yet."""

import importlib
from collections.abc import Callable
from typing import Any

PLANNED: frozenset[str] = frozenset()
"""Symbols that cards name and the engine will have; each takes and returns what its counterpart in reference/ does."""


def resolve(symbol: str) -> Any:
    """The object that a dotted name such as npsnn.ops.loss.win_probability stands for, None where there is none."""
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
    """The implementations of a formula to check: its plain one, and the engine's where there is one."""
    engine = resolve(symbol)
    return {"reference": reference} | ({} if engine is None else {"engine": engine})


def checked_on(symbols: tuple[str, ...]) -> str:
    """What a card's check ran on: "engine", "engine in part", "reference", or "text" where there is no formula."""
    wanted = [s for s in symbols if not s.startswith("npsnn.reference.")]
    there = [s for s in wanted if resolve(s) is not None]
    if not wanted:
        return "reference"
    return "reference" if not there else "engine" if len(there) == len(wanted) else "engine in part"
