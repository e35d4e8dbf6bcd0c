"""Runs the checks of the cards."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from npsnn.audit.card import CARDS, PAPERS, VERDICTS, Card, Figure, Lab, check_ids
from npsnn.audit.engine import checked_on
from npsnn.audit.uses import used_by


@dataclass(frozen=True)
class Row:
    """A card with the figures that its check measured.

    card: the card.
    figures: all figures, in the order of the check.
    checked_on: "engine", "engine in part", "reference" or "text".
    seconds: duration of the check.
    failure: exception that stopped the check, or "".
    """

    card: Card
    figures: tuple[Figure, ...]
    checked_on: str
    seconds: float
    failure: str = ""

    @property
    def supported(self) -> bool:
        """Whether the check ended and all its figures support the verdict."""
        return not self.failure and all(f.holds for f in self.figures)

    def to_json(self) -> dict[str, Any]:
        """The row as `npsnn audit --json` prints it; a bound or value that is no finite number is null."""
        direct, every = used_by(self.card.id), used_by(self.card.id, through=True)
        document = {
            "id": self.card.id,
            "paper": self.card.paper,
            "place": self.card.place,
            "title": self.card.title,
            "verdict": self.card.verdict,
            "checked_on": self.checked_on,
            "supported": self.supported,
            "uses": list(self.card.uses),
            "used_by": {"directly": list(direct), "through_others": [i for i in every if i not in direct]},
            "figures": {f.name: _figure(f) for f in self.figures},
        }
        return document | ({"failure": self.failure} if self.failure else {})


def _figure(f: Figure) -> dict[str, Any]:
    numbers = {"value": f.value, "standard_error": f.standard_error, "low": f.low, "high": f.high}
    return {k: v if v is not None and isfinite(v) else None for k, v in numbers.items()} | {"holds": f.holds}


def select(ids: Iterable[str] = (), paper: str | None = None, verdict: str | None = None) -> list[Card]:
    """The cards that are chosen, in the order of the report.

    ids: numbers of rows, such as N20; all rows, where none is given.
    paper: only rows of this source: "noise", "a2snn", "authors", "defences" or "extension".
    verdict: only rows with this verdict, one of VERDICTS.

    Raises ValueError for a number, paper or verdict that does not exist, and where no row is left.
    """
    wanted = check_ids(ids)
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
    """Run the check of one card.

    card: the card; a card without a check gives a row without figures.
    seed: seed of all random numbers of the check.
    thorough: take 16 times the Monte Carlo draws.

    An exception of the check becomes the failure of the row, and the row does not support its verdict.
    """
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
    """The rows of the selected cards, each as its check ends; the same seed gives the same figures.

    ids: numbers of rows, such as N20; all rows, where none is given.
    paper: only rows of this source: "noise", "a2snn", "authors", "defences" or "extension".
    verdict: only rows with this verdict, one of VERDICTS.
    seed: seed of all random numbers.
    thorough: take 16 times the Monte Carlo draws.

    Raises ValueError as `select` does.
    """
    cards = select(ids, paper, verdict)
    return (examine(card, seed, thorough) for card in cards)
