"""A training step's messages among any number of ranks, without MPI: counted, and carried out on arrays.

The plan of a sum is `npsnn.workers.exchange.Exchange`, which the ranks themselves carry out. The letters of a meeting
are those that `npsnn.train.replicas` writes. MPI alone decides by which messages all get what each has: here as MPICH
does by default, in a ring or by doubling.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import add
from typing import NamedTuple

import numpy as np
from scaling_content import Content

from npsnn.workers.exchange import Exchange, block

LONG, SHORT = 524_288, 81_920
"""Bytes in all from which MPICH gathers in a ring: on a power of two of ranks, and on any other number of them."""
AT_A_TIME = 32
"""Messages to different ranks that MPICH sends at a time, before it waits for them."""


class Round(NamedTuple):
    """One message from each rank: where it goes, and which consecutive pieces it has, from a first one on, around."""

    targets: np.ndarray
    first: np.ndarray
    pieces: int


Gather = Callable[[int, int], Iterator[Round]]
"""From the number of ranks, and the bytes in all, to the rounds in which all get what each has."""


def ring(ranks: int) -> Iterator[Round]:
    """Each hands on to the next what it got last."""
    own = np.arange(ranks)
    for k in range(ranks - 1):
        yield Round((own + 1) % ranks, (own - k) % ranks, 1)


def doubling(ranks: int) -> Iterator[Round]:
    """Each sends all that it has: to a partner, where there is one for each, or else around (Bruck et al. 1997)."""
    own, distance = np.arange(ranks), 1
    while distance < ranks:
        if ranks & (ranks - 1):
            yield Round((own - distance) % ranks, own, min(distance, ranks - distance))
        else:
            yield Round(own ^ distance, own // distance * distance, distance)
        distance *= 2


def in_a_ring(ranks: int, total: int) -> bool:
    """Whether MPICH gathers so many bytes in a ring by default."""
    return total >= (SHORT if ranks & (ranks - 1) else LONG)


def by_mpich(ranks: int, total: int) -> Iterator[Round]:
    """What MPICH takes by default."""
    return ring(ranks) if in_a_ring(ranks, total) else doubling(ranks)


@dataclass(frozen=True, eq=False)
class Traffic:
    """What one exchange, or several, have each rank send and receive.

    messages, sent, received: of each rank, the number of its messages and bytes, (ranks,).
    rounds: a row for each time that all wait for messages: the most messages, and bytes either way, of a rank, (n, 2).
    """

    messages: np.ndarray
    sent: np.ndarray
    received: np.ndarray
    rounds: np.ndarray = field(repr=False)

    def __add__(self, other: "Traffic") -> "Traffic":
        sums = (getattr(self, name) + getattr(other, name) for name in ("messages", "sent", "received"))
        return Traffic(*sums, np.concatenate([self.rounds, other.rounds]))


def at_once(given: np.ndarray) -> Traffic:
    """One message from each rank to each other: none that would be empty, and no more at a time than `AT_A_TIME`.

    given: bytes from each to each, (ranks, ranks).
    """
    own, rounds = np.arange(len(given)), []
    for start in range(0, len(given), AT_A_TIME):
        offsets = np.arange(start, min(start + AT_A_TIME, len(given)))[:, None]
        sent, received = given[own, (own - offsets) % len(given)], given[(own + offsets) % len(given), own]
        rounds.append([(sent > 0).sum(axis=0).max(), max(sent.sum(axis=0).max(), received.sum(axis=0).max())])
    return Traffic((given > 0).sum(axis=1), given.sum(axis=1), given.sum(axis=0), np.array(rounds))


def to_all(plan: Exchange, itemsize: int) -> Traffic:
    """The first exchange of a sum."""
    return at_once(np.array([plan.given(r) for r in range(plan.ranks)]) * itemsize)


@lru_cache(4096)
def from_all(sizes: tuple[int, ...], gather: Gather = by_mpich) -> Traffic:
    """All get what each has, of so many bytes."""
    ranks = len(sizes)
    messages, sent, received = np.zeros((3, ranks), np.int64)
    ends, rounds = np.concatenate([[0], np.cumsum(sizes + sizes)]), []
    for targets, first, pieces in gather(ranks, sum(sizes)):
        moved = ends[first + pieces] - ends[first]
        messages += moved > 0
        sent += moved
        received[targets] += moved
        rounds.append([1, moved.max()])
    return Traffic(messages, sent, received, np.array(rounds, np.int64).reshape(-1, 2))


@lru_cache(4096)
def directly(sizes: tuple[int, ...]) -> Traffic:
    """All get what each has by a message from each to each, where MPICH would take a ring: not what npsnn does."""
    ranks = len(sizes)
    if not in_a_ring(ranks, sum(sizes)):
        return from_all(sizes)
    return at_once(np.array(sizes)[:, None] * ~np.eye(ranks, dtype=bool))


Gathered = Callable[[tuple[int, ...]], Traffic]
"""From the bytes that each rank has to the traffic by which all get them."""


def meeting(letters: tuple[int, ...], gathered: Gathered = from_all) -> list[Traffic]:
    """All get the letters of all: first their lengths, then the letters."""
    return [gathered((8,) * len(letters)), gathered(letters)]


def summed(plan: Exchange, itemsize: int, gathered: Gathered = from_all) -> list[Traffic]:
    """The gradients of a step: see `Exchange`."""
    return [to_all(plan, itemsize), gathered(tuple(int(width) * itemsize for width in plan.widths))]


def carried_out(plan: Exchange, rows: np.ndarray, gather: Gather = by_mpich) -> tuple[list[np.ndarray], np.ndarray]:
    """The sum that each rank ends with, and the bytes that each has sent, by moving arrays as the messages do.

    rows: of all jobs, (jobs, size).
    """
    ranks, sent = range(plan.ranks), np.zeros(plan.ranks, np.int64)
    own = [rows[b.start : b.stop] for b in (block(plan.jobs, r, plan.ranks) for r in ranks)]
    given = [np.split(plan.packed(own[r], r), np.cumsum(plan.given(r))[:-1]) for r in ranks]
    sums = []
    for r in ranks:
        taken = [given[source][r] for source in ranks]
        if [len(piece) for piece in taken] != plan.taken(r).tolist():
            raise ValueError(f"rank {r} must be given what it takes, {plan.taken(r)}, got {list(map(len, taken))}")
        sent[r] += sum(piece.nbytes for piece in given[r])
        sums.append(plan.folded(own[r], np.concatenate(taken), r))
    held: list[dict[int, np.ndarray]] = [{r: piece} for r, piece in enumerate(sums)]
    for targets, first, pieces in gather(plan.ranks, plan.size * rows.itemsize):
        numbers = [[(first[r] + i) % plan.ranks for i in range(pieces)] for r in ranks]
        letters = [{n: held[r][n] for n in numbers[r]} for r in ranks]  # before anybody gets one of this round
        for r in ranks:
            held[targets[r]] |= letters[r]
            sent[r] += sum(piece.nbytes for piece in letters[r].values())
    return [np.concatenate([held[r][piece] for piece in ranks]) for r in ranks], sent


@dataclass(frozen=True)
class Step:
    """What one step has the ranks exchange, one after the other.

    meetings: two exchanges for each, one of lengths and one of letters.
    sums: two exchanges for the gradients of each dtype.
    """

    meetings: list[Traffic]
    sums: list[Traffic]

    @staticmethod
    def of(content: Content, parts: int, ranks: int, gathered: Gathered = from_all) -> "Step":
        """The step of a batch of so many parts."""
        counts = [len(block(parts, r, ranks)) for r in range(ranks)]
        letters = {(count, r > 0): content.letters(count, r) for r, count in enumerate(counts)}
        each = [letters[count, r > 0] for r, count in enumerate(counts)]
        met = [traffic for together in zip(*each, strict=True) for traffic in meeting(together, gathered)]
        plans = [(Exchange(ranks, parts, size), kind.itemsize) for kind, size in content.sizes.items()]
        return Step(met, [traffic for plan, itemsize in plans for traffic in summed(plan, itemsize, gathered)])

    @property
    def met(self) -> Traffic:
        return reduce(add, self.meetings)

    @property
    def summed(self) -> Traffic:
        return reduce(add, self.sums)


def formula(content: Content, parts: float, ranks: int) -> float:
    """(m + 1) P (R - 1)/R: the bytes that a rank sends for the sum of the gradients of a step.

    parts: m, the micro-batches of the rank; the mean over all ranks has m = M/R.
    """
    return (parts + 1) * content.bytes * (ranks - 1) / ranks
