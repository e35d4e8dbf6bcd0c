"""The card of the audit: a claim of a paper, its verdict, and a check that measures whether the verdict holds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

VERDICTS = ("correct", "typo", "sign error", "wrong", "inconsistent", "ambiguous", "approximation", "unstated")
PAPERS = {"N": "noise", "A": "a2snn", "B": "authors", "C": "defences", "E": "extension"}
MOST_ERRORS = 5.0
"""Largest distance of a Monte Carlo estimate from its formula, in standard errors."""


@dataclass(frozen=True)
class Figure:
    """A measured number, and the interval in which the number supports the verdict.

    name: name of the figure, unique in its card.
    value: measured number.
    low: least value that supports the verdict.
    high: largest value that supports the verdict.
    standard_error: standard error of a Monte Carlo estimate, otherwise None.

    A figure without bounds informs and decides nothing.
    """

    name: str
    value: float
    low: float = -inf
    high: float = inf
    standard_error: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the value lies in the interval."""
        return bool(self.low <= self.value <= self.high)

    @property
    def is_error(self) -> bool:
        """Whether the figure is a numerical error within its bound: then the bound says all that the value says."""
        return self.low in (-inf, -self.high) and abs(self.value) <= self.high and 0 < self.high <= 1e-4


def shown(name: str, value: float, standard_error: float | None = None) -> Figure:
    """A figure that informs and decides nothing."""
    return Figure(name, float(value), standard_error=standard_error)


def near(name: str, value: float, target: float, tolerance: float) -> Figure:
    """A figure that supports the verdict if |value - target| <= tolerance."""
    return Figure(name, float(value), target - tolerance, target + tolerance)


def drawn(name: str, value: float, standard_error: float, target: float) -> Figure:
    """A Monte Carlo estimate that supports the verdict if it lies within 5 standard errors of the target."""
    reach = MOST_ERRORS * float(standard_error)
    return Figure(name, float(value), target - reach, target + reach, float(standard_error))


def below(name: str, value: float, bound: float) -> Figure:
    """A figure that supports the verdict if value <= bound."""
    return Figure(name, float(value), high=bound)


def above(name: str, value: float, bound: float) -> Figure:
    """A figure that supports the verdict if value >= bound."""
    return Figure(name, float(value), low=bound)


def error(name: str, found: Any, wanted: Any, bound: float) -> Figure:
    """The largest |found - wanted| over the largest |wanted|; the verdict needs at most the bound."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    scale = np.abs(wanted).max(initial=0)
    return below(name, np.abs(found - wanted).max(initial=0) / (scale if scale > 0 else 1), bound)


def deviation(name: str, found: Any, standard_errors: Any, wanted: Any) -> Figure:
    """The largest |found - wanted| of Monte Carlo estimates in standard errors; the verdict needs at most 5."""
    off = np.abs(np.asarray(found) - np.asarray(wanted)) / np.asarray(standard_errors)
    return below(name, float(off.max()), MOST_ERRORS)


@dataclass(frozen=True)
class Lab:
    """The means of a check: a generator of its own, and a number of Monte Carlo draws.

    id: number of the card.
    seed: seed of all random numbers.
    thorough: take 16 times the draws.
    """

    id: str
    seed: int = 0
    thorough: bool = False

    def rng(self) -> np.random.Generator:
        """A generator that depends on the card and the seed alone, whichever other cards run."""
        return np.random.default_rng([self.seed % 2**64, crc32(self.id.encode())])

    def draws(self, usual: int) -> int:
        """The number of draws to take, where `usual` is enough for the committed report."""
        return usual * (16 if self.thorough else 1)


Check: TypeAlias = Callable[[Lab], Iterator[Figure]]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One row of the audit: a statement of a source, a verdict on it, and the check that measures the verdict.

    id: number of the row, such as N14.
    place: where the source says it.
    title: subject of the row, in a few words.
    verdict: one of VERDICTS.
    printed: statement of the source, as Markdown with formulas in $...$, like the next three.
    derived: statement that the mathematics gives.
    because: reason for the verdict.
    instead: choice of npsnn.
    uses: numbers of the rows that this row rests on, that is, whose statement, printed or derived, it takes.
    symbols: dotted names of the code that implements the statement.
    check: function that measures the figures; None for a verdict that is only textual.
    headline: sentence with the figures that decide, each as its name in braces.
    places: places of the source that the verdict rests on; a verdict that is only textual needs two.

    Raises ValueError for a verdict that does not exist, and for uses that name the row itself or a row twice.
    """

    id: str
    place: str
    title: str
    verdict: str
    printed: str
    derived: str
    because: str
    instead: str
    uses: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    check: Check | None = None
    headline: str = ""
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.id}: verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")
        if self.id in self.uses:
            raise ValueError(f"{self.id}: uses must name other rows, got {self.id} itself")
        if len(set(self.uses)) < len(self.uses):
            raise ValueError(f"{self.id}: uses must name each row once, got {', '.join(self.uses)}")

    @property
    def paper(self) -> str:
        """Name of the source: one of the values of PAPERS."""
        return PAPERS[self.id[0]]

    @property
    def order(self) -> tuple[int, int]:
        """Sorting key: the papers, A2SNN's code, the defences of its tables, the extensions; by number."""
        return list(PAPERS).index(self.id[0]), int(self.id[1:])

    @property
    def heading(self) -> str:
        """Heading of the row in a report."""
        return f"{self.id} {self.title}"


CARDS: dict[str, Card] = {}
"""All cards by number; the modules of `npsnn.audit.cards` fill it."""


def add(card: Card) -> None:
    """Enter a card into CARDS.

    card: the card; `npsnn.audit.uses.check_uses` checks the rows that it rests on once all cards are there.

    Raises ValueError where another card has the same number.
    """
    if card.id in CARDS:
        raise ValueError(f"there are two cards {card.id}")
    CARDS[card.id] = card


def checks(id: str, **fields: Any) -> Callable[[Check], Check]:
    """Enter the card whose check is the decorated function.

    id: number of the row.
    fields: the other fields of the card, without check.
    """

    def register(check: Check) -> Check:
        add(Card(id=id, check=check, **fields))
        return check

    return register


def check_ids(ids: Iterable[str]) -> set[str]:
    """The numbers in capitals.

    ids: numbers of rows, such as n14.

    Raises ValueError for a number that no card has.
    """
    wanted = {i.upper() for i in ids}
    if unknown := wanted - CARDS.keys():
        known = "expected N1 to N42, A1 to A33, B1 to B17, C1 to C34 or E1 to E5"
        raise ValueError(f"unknown row {', '.join(sorted(unknown))}, {known}")
    return wanted
