"""What the machine can do at most: THREADS; then GFLOP/s of a matrix product and GB/s of a copy, as its input asks."""

import sys
from collections.abc import Callable

import numpy as np
from bench_side import answer, milliseconds
from threadpoolctl import threadpool_limits

from npsnn.workers.base import gathered
from npsnn.workers.threads import Threads

SIZE = 2048
COPIED = 32 << 20


def sgemm(threads: int) -> Callable[[str], float]:
    """GFLOP/s of float32 matrices of 2048 by 2048, by BLAS on all threads."""
    a, b, c = (np.full((SIZE, SIZE), x, np.float32) for x in (0.5, 0.25, 0.0))

    def measured(seconds: str) -> float:
        with threadpool_limits(threads, "blas"):
            return 2 * SIZE**3 / milliseconds(lambda: np.matmul(a, b, out=c), float(seconds)) / 1e6

    return measured


def copy(threads: int) -> Callable[[str], float]:
    """GB/s read and written, each thread copying 32 MiB of its own."""
    pairs = [(np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)) for _ in range(threads)]

    def measured(seconds: str) -> float:
        with Threads(threads) as workers:
            every = milliseconds(lambda: gathered(workers, lambda i: np.copyto(*pairs[i]), threads), float(seconds))
        return 2 * COPIED * threads / every / 1e6

    return measured


if __name__ == "__main__":
    threads = int(sys.argv[1])
    answer({"sgemm": sgemm(threads), "copy": copy(threads)})
