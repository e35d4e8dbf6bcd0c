"""Sums over the ranks of an MPI job, by a chain where NPSNN_CHAIN says so: each rank writes them. FOLDER"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from npsnn.workers.crew import Crew
from npsnn.workers.exchange import block

SHAPES = ((1, 5), (2, 1), (4, 30), (13, 70_000))
"""Jobs and numbers of each sum."""


def rows(jobs: int, size: int) -> np.ndarray:
    """Rows that another order rounds otherwise."""
    rng = np.random.default_rng(jobs)
    return (rng.standard_normal((jobs, size)) * 10.0 ** rng.integers(0, 6, (jobs, size))).astype(np.float32)


if __name__ == "__main__":
    crew = Crew(MPI.COMM_WORLD)
    for number, (jobs, size) in enumerate(SHAPES):
        own = block(jobs, crew.rank, crew.size)
        found = crew.summed(rows(jobs, size)[own.start : own.stop], jobs)
        found.tofile(Path(sys.argv[1]) / f"{crew.chained} {number} {crew.rank}")
