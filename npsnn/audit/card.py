"""What a card of the audit is: a claim of a paper, its verdict, and a check that measures whether the verdict holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

VERDICTS = ("correct", "typo", "sign error", "wrong", "inconsistent", "ambiguous", "approximation", "unstated")
PAPERS = {"N": "noise", "A": "a2snn", "B": "authors", "E": "extension"}
MOST_ERRORS = 5.0
"""Standard errors that a Monte Carlo estimate may be away from what a formula claims."""


@dataclass(frozen=True)
class Figure:
    """A measured number, and the interval in which it supports the verdict (all numbers, where it only informs)."""

    name: str
    value: float
    low: float = -inf
    high: float = inf
    standard_error: float | None = None

    @property
    def holds(self) -> bool:
        return bool(self.low <= self.value <= self.high)

    @property
    def is_error(self) -> bool:
        """Whether it is a numerical error that keeps its bound, and so of a size that says nothing."""
        return self.low in (-inf, -self.high) and abs(self.value) <= self.high and 0 < self.high <= 1e-4


def shown(name: str, value: float, standard_error: float | None = None) -> Figure:
    """A number that informs and decides nothing."""
    return Figure(name, float(value), standard_error=standard_error)


def near(name: str, value: float, target: float, tolerance: float) -> Figure:
    """|value - target| <= tolerance."""
    return Figure(name, float(value), target - tolerance, target + tolerance)


def drawn(name: str, value: float, standard_error: float, target: float) -> Figure:
    """A Monte Carlo estimate within 5 standard errors of `target`."""
    reach = MOST_ERRORS * float(standard_error)
    return Figure(name, float(value), target - reach, target + reach, float(standard_error))


def below(name: str, value: float, bound: float) -> Figure:
    """value <= bound."""
    return Figure(name, float(value), high=bound)


def above(name: str, value: float, bound: float) -> Figure:
    """value >= bound."""
    return Figure(name, float(value), low=bound)


def error(name: str, found: Any, wanted: Any, bound: float) -> Figure:
    """The largest |found - wanted| is at most `bound` times the largest |wanted|."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    scale = np.abs(wanted).max(initial=0)
    return below(name, np.abs(found - wanted).max(initial=0) / (scale if scale > 0 else 1), bound)


def deviation(name: str, found: Any, standard_errors: Any, wanted: Any) -> Figure:
    """The largest distance of Monte Carlo estimates from what is claimed is at most 5 standard errors."""
    off = np.abs(np.asarray(found) - np.asarray(wanted)) / np.asarray(standard_errors)
    return below(name, float(off.max()), MOST_ERRORS)


@dataclass(frozen=True)
class Lab:
    """What a check may use: a generator of its own, and a number of Monte Carlo draws."""

    id: str
    seed: int = 0
    thorough: bool = False

    def rng(self) -> np.random.Generator:
        """The same for a card and a seed, whichever other cards run."""
        return np.random.default_rng([self.seed % 2**64, crc32(self.id.encode())])

    def draws(self, usual: int) -> int:
        return usual * (16 if self.thorough else 1)


Check: TypeAlias = Callable[[Lab], Iterator[Figure]]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One row of the audit.

    id: its number. place: where the paper says it. title: what it is about, in a few words. verdict: one of VERDICTS.
    printed, derived, because, instead: Markdown with formulas in $...$; what the paper prints, what the mathematics
    gives, why the verdict, what npsnn does about it. symbols: dotted names of what implements it.
    check: measures the figures; headline: those that decide, in a sentence with their names in braces.
    places: of a verdict that is only textual and has no check, the places of the paper that it rests on.
    """

    id: str
    place: str
    title: str
    verdict: str
    printed: str
    derived: str
    because: str
    instead: str
    symbols: tuple[str, ...] = ()
    check: Check | None = None
    headline: str = ""
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.id}: verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")

    @property
    def paper(self) -> str:
        return PAPERS[self.id[0]]

    @property
    def order(self) -> tuple[int, int]:
        """The noise paper, then A2SNN, then its authors' code, then the extensions; by number."""
        return list(PAPERS).index(self.id[0]), int(self.id[1:])


CARDS: dict[str, Card] = {}
"""Filled by the modules of `npsnn.audit.cards`."""


def add(card: Card) -> None:
    """Registers a card; raises ValueError for a second one of the same number."""
    if card.id in CARDS:
        raise ValueError(f"there are two cards {card.id}")
    CARDS[card.id] = card


def checks(id: str, **fields: Any) -> Callable[[Check], Check]:
    """Registers a card whose check is the function that this stands on."""

    def register(check: Check) -> Check:
        add(Card(id=id, check=check, **fields))
        return check

    return register
