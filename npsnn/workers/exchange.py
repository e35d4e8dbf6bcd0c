"""How the rows of all jobs become one sum over ranks: a plan of two exchanges, made of three numbers and no MPI.

`npsnn.workers.crew.Crew.summed` carries a plan out over MPI, and a dry run of any number of ranks in one process
(`scripts/scaling_dry_run.py`).
"""

import pickle
from dataclasses import dataclass
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
    First each rank gives every rank that one's piece of its rows (all to all); a rank adds up its piece of all rows.
    Then each rank gives its sum to all (all gather). Counts are of numbers; what goes to the ranks, or comes from them,
    lies in their order without gaps.
    """

    ranks: int
    jobs: int
    size: int

    def rows(self, rank: int) -> int:
        """The number of rows that a rank has."""
        return len(block(self.jobs, rank, self.ranks))

    @property
    def cuts(self) -> list[int]:
        """Where the pieces of a row begin, and where the last one ends."""
        return [self.size * r // self.ranks for r in range(self.ranks + 1)]

    @property
    def widths(self) -> np.ndarray:
        """The size of each rank's piece of a row: what each gives to all in the second exchange."""
        return np.diff(self.cuts)

    def given(self, rank: int) -> np.ndarray:
        """How many numbers a rank gives to each in the first exchange."""
        return self.rows(rank) * self.widths

    def taken(self, rank: int) -> np.ndarray:
        """How many numbers a rank gets from each in the first exchange."""
        return np.array([self.rows(r) for r in range(self.ranks)]) * self.widths[rank]

    def packed(self, rows: np.ndarray) -> np.ndarray:
        """The rows of a rank, (its jobs, size), as they are given to the ranks: piece by piece."""
        return np.concatenate([rows[:, a:b].ravel() for a, b in pairwise(self.cuts)])

    def folded(self, taken: np.ndarray, rank: int) -> np.ndarray:
        """The sum of a rank's piece, added up in the order of the jobs, from all that the rank got, flat."""
        first, *others = taken.reshape(self.jobs, self.widths[rank])  # blocks come in the order of the jobs
        piece: np.ndarray = first.copy()
        for row in others:
            piece += row
        return piece
