"""The sum of all rows in the order of the jobs, handed from rank to rank: for large gradients of many rows on each.

A rank sends each number twice, however many rows it has; by two exchanges (`npsnn.workers.exchange`) it sends one
number for each of its rows.
"""

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.workers.naps import naps

if TYPE_CHECKING:
    from npsnn.workers.crew import Crew

SWITCH = "NPSNN_CHAIN"
"""The variable that, at 1 for rank 0, has ranks sum by a chain."""
SUM, RESULT = 3, 4
"""The tags of a piece of the sum so far, and of the sum."""
LATENCY, BANDWIDTH = 35e-6, 2.8e9
"""Seconds of a message and bytes a second of the network for which pieces are cut: TCP at 25 Gb/s."""


@dataclass(frozen=True)
class Chain:
    """The sum so far goes through all ranks, piece by piece; then the sum does so from the last one, to all.

    ranks: how many there are, at least 2.
    size: numbers in a row; a rank has the rows of its jobs.
    width: bytes of a number.
    """

    ranks: int
    size: int
    width: int

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Where each piece of a row begins and ends: as many as are the fastest on that network."""
        best = round((self.ranks * self.size * self.width / BANDWIDTH / LATENCY) ** 0.5)
        count = max(1, min(best, self.size))
        return [(self.size * k // count, self.size * (k + 1) // count) for k in range(count)]

    def sum(self, crew: "Crew", rows: np.ndarray) -> np.ndarray:
        """The sum of all rows; every rank asks at the same time, with the rows of its jobs, (jobs, size)."""
        return _Handing(self, crew, rows).done()


class _Handing:
    """One rank's part of a chain."""

    def __init__(self, plan: Chain, crew: "Crew", rows: np.ndarray) -> None:
        self.plan, self.crew, self.rows, self.last = plan, crew, rows, plan.ranks - 1
        self.so_far, self.sum = (np.empty(plan.size, rows.dtype) for _ in range(2))
        self.sent: list[Any] = []
        # posted before anything is sent, so that whatever comes has its place
        self.sums = [self._take(self.so_far[a:b], SUM) for a, b in plan.pieces] if crew.rank else []
        self.results = [self._take(self.sum[a:b], RESULT) for a, b in plan.pieces] if crew.rank < self.last else []

    def done(self) -> np.ndarray:
        """Add up, hand on, and wait for the sum."""
        pieces, added, known = self.plan.pieces, 0, 0
        pauses = naps()
        while added < len(pieces) or known < len(self.results):
            moved = False
            if added < len(pieces) and (not self.sums or self.crew.tested(self.sums[added])):
                self._add(*pieces[added])
                added, moved = added + 1, True
            if known < len(self.results) and self.crew.tested(self.results[known]):
                if self.crew.rank + 1 < self.last:
                    self._give(self.sum[slice(*pieces[known])], self.crew.rank + 1, RESULT)
                known, moved = known + 1, True
            if moved:
                pauses = naps()
            else:
                sleep(next(pauses))
        for request in self.sent:
            self.crew.wait(request)
        return self.sum

    def _add(self, start: int, stop: int) -> None:
        """Add this rank's rows to a piece of the sum of those before, and hand it on."""
        rank = self.crew.rank
        piece = (self.sum if rank == self.last else self.so_far)[start:stop]
        first, *others = ([self.so_far] if rank else []) + list(self.rows)
        np.copyto(piece, first[start:stop])
        for row in others:
            piece += row[start:stop]
        if rank < self.last:
            self._give(piece, rank + 1, SUM)
        else:
            self._give(piece, 0, RESULT)

    def _take(self, piece: np.ndarray, tag: int) -> Any:
        return self.crew.begun(lambda comm: comm.Irecv(piece, (self.crew.rank - 1) % self.plan.ranks, tag))

    def _give(self, piece: np.ndarray, rank: int, tag: int) -> None:
        self.sent.append(self.crew.begun(lambda comm: comm.Isend(piece, rank, tag)))
