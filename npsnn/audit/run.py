"""Runs the checks of the cards."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from npsnn.audit.card import CARDS, PAPERS, VERDICTS, Card, Figure, Lab
from npsnn.audit.engine import checked_on


@dataclass(frozen=True)
class Row:
    """What a card's check measured.

    checked_on: "engine", "engine in part", "reference" or "text". failure: the exception that stopped the check, or "".
    """

    card: Card
    figures: tuple[Figure, ...]
    checked_on: str
    seconds: float
    failure: str = ""

    @property
    def supported(self) -> bool:
        """Whether all figures support the verdict."""
        return not self.failure and all(f.holds for f in self.figures)

    def to_json(self) -> dict[str, Any]:
        """As `npsnn audit --json` prints it; a bound or value that is no finite number is null."""
        document = {
            "id": self.card.id,
            "paper": self.card.paper,
            "place": self.card.place,
            "title": self.card.title,
            "verdict": self.card.verdict,
            "checked_on": self.checked_on,
            "supported": self.supported,
            "figures": {f.name: _figure(f) for f in self.figures},
        }
        return document | ({"failure": self.failure} if self.failure else {})


def _figure(f: Figure) -> dict[str, Any]:
    numbers = {"value": f.value, "standard_error": f.standard_error, "low": f.low, "high": f.high}
    return {k: v if v is not None and isfinite(v) else None for k, v in numbers.items()} | {"holds": f.holds}


def select(ids: Iterable[str] = (), paper: str | None = None, verdict: str | None = None) -> list[Card]:
    """The cards with these numbers (all, if none are given) of that paper and verdict, in order.

    Raises ValueError for a number, paper or verdict that does not exist, and where nothing is left.
    """
    wanted = {i.upper() for i in ids}
    if unknown := wanted - CARDS.keys():
        known = "expected N1 to N42, A1 to A33, B1 to B10 or E1 to E5"
        raise ValueError(f"unknown row {', '.join(sorted(unknown))}, {known}")
    for name, value, choices in (("paper", paper, tuple(PAPERS.values())), ("verdict", verdict, VERDICTS)):
        if value is not None and value not in choices:
            raise ValueError(f"unknown {name} {value!r}, expected one of {', '.join(choices)}")
    cards = [
        card
        for card in CARDS.values()
        if (not wanted or card.id in wanted) and paper in (None, card.paper) and verdict in (None, card.verdict)
    ]
    if not cards:
        raise ValueError("no row is left: the numbers, the paper and the verdict exclude one another")
    return sorted(cards, key=lambda card: card.order)


def examine(card: Card, seed: int = 0, thorough: bool = False) -> Row:
    """Run one card's check; what it raises is a failure to support the verdict."""
    if card.check is None:
        return Row(card, (), "text", 0.0)
    start = time.perf_counter()
    figures: list[Figure] = []
    failure = ""
    try:
        figures.extend(card.check(Lab(card.id, seed, thorough)))
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return Row(card, tuple(figures), checked_on(card.symbols), time.perf_counter() - start, failure)


def audit(
    ids: Iterable[str] = (),
    paper: str | None = None,
    verdict: str | None = None,
    seed: int = 0,
    thorough: bool = False,
) -> Iterator[Row]:
    """The rows of the selected cards, each as its check ends; the same figures for the same seed.

    thorough: 16 times the Monte Carlo draws. Raises ValueError as `select` does.
    """
    cards = select(ids, paper, verdict)
    return (examine(card, seed, thorough) for card in cards)
