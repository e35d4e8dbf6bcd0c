"""How the rows of all jobs become one sum over ranks: a plan of two exchanges, made of three numbers and no MPI.

`npsnn.workers.crew.Crew.summed` carries a plan out over MPI, and a dry run of any number of ranks in one process
(`scripts/scaling_dry_run.py`).
"""

import pickle
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np


def block(jobs: int, rank: int, ranks: int) -> range:
    """The consecutive jobs of one of so many ranks. Blocks lie in the order of the ranks."""
    return range(-(-jobs * rank // ranks), -(-jobs * (rank + 1) // ranks))


def letter(value: Any) -> np.ndarray:
    """The bytes of a value as ranks send it to one another."""
    return np.frombuffer(pickle.dumps(value, 5), np.uint8)


@dataclass(frozen=True)
class Exchange:
    """The sum of all rows in the order of the jobs, by two exchanges among ranks.

    ranks: how many there are.
    jobs: number of all rows; a rank has those of its block.
    size: numbers in a row.
    First each rank gives every other that one's piece of its rows (all to all); a rank adds up its piece of all rows.
    Then each rank gives its sum to all (all gather). Counts are of numbers; what goes to the ranks, or comes from them,
    lies in their order without gaps. A rank's own piece stays where it is: MPI would be slow to bring it.
    """

    ranks: int
    jobs: int
    size: int

    def rows(self, rank: int) -> int:
        """The number of rows that a rank has."""
        return len(block(self.jobs, rank, self.ranks))

    @cached_property
    def cuts(self) -> list[int]:
        """Where the pieces of a row begin, and where the last one ends."""
        return [self.size * r // self.ranks for r in range(self.ranks + 1)]

    @cached_property
    def widths(self) -> np.ndarray:
        """The size of each rank's piece of a row: what each gives to all in the second exchange."""
        return np.diff(self.cuts)

    def given(self, rank: int) -> np.ndarray:
        """How many numbers a rank gives to each in the first exchange."""
        return np.where(np.arange(self.ranks) == rank, 0, self.rows(rank) * self.widths)

    def taken(self, rank: int) -> np.ndarray:
        """How many numbers a rank gets from each in the first exchange."""
        rows = np.array([self.rows(r) for r in range(self.ranks)])
        return np.where(np.arange(self.ranks) == rank, 0, rows * self.widths[rank])

    def packed(self, rows: np.ndarray, rank: int) -> np.ndarray:
        """What a rank gives in the first exchange; rows: of its jobs, (jobs, size)."""
        pieces = [rows[:, a:b].ravel() for r, (a, b) in enumerate(pairwise(self.cuts)) if r != rank]
        return np.concatenate([np.empty(0, rows.dtype), *pieces])

    def folded(self, rows: np.ndarray, taken: np.ndarray, rank: int) -> np.ndarray:
        """The sum of a rank's piece, added up in the order of the jobs: its own rows amid what it has got, flat."""
        own, (start, stop) = block(self.jobs, rank, self.ranks), self.cuts[rank : rank + 2]
        others = taken.reshape(self.jobs - len(own), stop - start)  # blocks come in the order of the jobs
        first, *rest = (*others[: own.start], *rows[:, start:stop], *others[own.start :])
        piece: np.ndarray = first.copy()
        for row in rest:
            piece += row
        return piece
