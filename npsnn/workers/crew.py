"""The ranks of a job, as one of them sees the others: messages, meetings, and sums in the order of the parts.

Waiting never stands inside of MPI: a request is begun and asked for again and again, so that a signal is heard, and a
rank that waits leaves its core to others. One thread at a time calls MPI.
"""

import os
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Any, NoReturn

import numpy as np

from npsnn.host import available_cores
from npsnn.interrupts import heed
from npsnn.workers.chain import SWITCH, Chain
from npsnn.workers.exchange import Exchange, block, letter
from npsnn.workers.launched import local_rank
from npsnn.workers.naps import MOVING, naps

ORDER, ANSWER = 1, 2
"""The tags of messages from rank 0, and to it."""
FUNCTION, BUNCH, ABREAST, END = "function", "bunch", "abreast", "end"
"""What rank 0 orders: the function of the next jobs, some of these jobs, to work abreast, and to end."""
CHUNK = 1 << 30
"""The bytes that are broadcast at a time: older MPIs count in 32 bits."""


class Crew:
    """The ranks of a communicator.

    comm: communicator of mpi4py.
    rank, size: of this rank among how many.
    place: this rank in words.
    local: which of its host's ranks this one is, from 0; by the launcher, or else by the names of the hosts.
    threads: how many threads each rank may use by default: ranks that may use the same cores share them.
    chained: whether sums go from rank to rank, as the variable NPSNN_CHAIN says on rank 0.
    owed: how many answers each rank still owes to rank 0.
    """

    def __init__(self, comm: Any) -> None:
        """Meet the others; every rank does so at the same time."""
        from mpi4py import MPI

        self.comm, self._mpi, self._lock = comm, MPI, threading.RLock()
        self.rank, self.size = int(comm.rank), int(comm.size)
        host = socket.gethostname()
        self.place = f"rank {self.rank} of {self.size} on {host}"
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        all_cores = self.gathered(((host, cores), available_cores()))
        sharing = [where for where, _ in all_cores]
        told = local_rank()
        self.local = [name for name, _ in sharing[: self.rank]].count(host) if told is None else told
        self.threads = [max(1, count // sharing.count(where)) for where, count in all_cores]
        self.owed = [0] * self.size
        self.chained = self.gathered(os.environ.get(SWITCH) == "1")[0]
        self._busy = self._abandoned = False

    @property
    def busy(self) -> bool:
        """Whether the other ranks are at work together with this one: who asks then works alone."""
        return self._busy or self._abandoned

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have the others be busy in the block."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def abandon(self) -> None:
        """Leave the others to what they are about: nobody waits for it, and this rank works alone to its end."""
        self._abandoned = True

    def block(self, jobs: int, rank: int | None = None) -> range:
        """The consecutive jobs of a rank, this one's by default. Blocks lie in the order of the ranks."""
        return block(jobs, self.rank if rank is None else rank, self.size)

    def begun(self, begin: Callable[[Any], Any]) -> Any:
        """A request of the communicator, begun."""
        with self._lock:
            return begin(self.comm)

    def tested(self, request: Any) -> bool:
        """Whether a request is done."""
        with self._lock:
            return bool(request.Test())

    def wait(self, request: Any) -> None:
        """Wait until a request is done."""
        pauses = naps()
        while True:
            with self._lock:
                start = perf_counter()
                if request.Test():
                    return
                moving = perf_counter() - start > MOVING
            pauses = naps() if moving else pauses
            sleep(next(pauses))

    def _finish(self, begin: Callable[[], Any]) -> None:
        """Begin a request, and wait until it is done."""
        self.wait(self.begun(lambda comm: begin()))

    def send(self, value: Any, to: int, tag: int) -> None:
        """Send a value, pickled, to a rank."""
        content = pickle.dumps(value, 5)
        self._finish(lambda: self.comm.Isend([content, self._mpi.BYTE], to, tag))

    def received(self, source: int, tag: int) -> Any:
        """The next value that a rank sends; `npsnn.interrupts.heed` ends the waiting, as it ends other work."""
        status, content = self._mpi.Status(), bytearray()
        for nap in naps():
            with self._lock:
                if self.comm.Iprobe(source, tag, status):
                    break
            sleep(nap)
            heed()
        content = bytearray(status.Get_count(self._mpi.BYTE))
        self._finish(lambda: self.comm.Irecv([content, self._mpi.BYTE], source, tag))
        return pickle.loads(content)

    def broadcast(self, content: bytes | bytearray) -> None:
        """Give all ranks what rank 0 has, of a length that all know; the others' is written to."""
        with memoryview(content) as whole:
            for start in range(0, len(whole), CHUNK):
                part = whole[start : start + CHUNK]
                self._finish(lambda part=part: self.comm.Ibcast([part, self._mpi.BYTE], 0))  # type: ignore[misc]

    def gathered(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order; every rank asks at the same time."""
        mine = letter(value)
        sizes = np.empty(self.size, np.int64)
        self._finish(lambda: self.comm.Iallgather(np.array([len(mine)], np.int64), sizes))
        every = np.empty(sizes.sum(), np.uint8)
        self._finish(lambda: self.comm.Iallgatherv(mine, [every, sizes]))
        return [pickle.loads(part.data) for part in np.split(every, np.cumsum(sizes)[:-1])]

    def summed(self, rows: np.ndarray, jobs: int) -> np.ndarray:
        """The sum of all rows in the order of the jobs, bit by bit that of one process; never a sum of MPI's own.

        rows: of the jobs of this rank's block, (block, size); all ranks have one size and one dtype.
        jobs: the number of all rows.
        Each rank adds up one piece of all rows, and then all ranks get all pieces (`Exchange`); or the sum goes from
        rank to rank (`Chain`).
        """
        if self.chained:
            return Chain(self.size, rows.shape[1], rows.itemsize).sum(self, rows)
        plan, rank = Exchange(self.size, jobs, rows.shape[1]), self.rank
        given, taken = plan.packed(rows, rank), np.empty(plan.taken(rank).sum(), rows.dtype)
        self._finish(lambda: self.comm.Ialltoallv([given, plan.given(rank)], [taken, plan.taken(rank)]))
        piece, flat = plan.folded(rows, taken, rank), np.empty(plan.size, rows.dtype)
        self._finish(lambda: self.comm.Iallgatherv(piece, [flat, plan.widths]))
        return flat

    def fail(self, error: BaseException) -> NoReturn:
        """End all ranks with a line about an error that cannot be met."""
        if os.environ.get("NPSNN_DEBUG"):
            traceback.print_exception(error)
        said = " ".join(f"{self.place}: {type(error).__name__}: {error}".split())
        sys.stderr.write(f"Error: {said}\n")  # nobody else could: the program ends here
        sys.stderr.flush()
        self.abort(1)
        raise error

    def abort(self, code: int) -> None:
        """End all ranks at once."""
        with self._lock:
            self.comm.Abort(code)


def portable(error: BaseException) -> BaseException:
    """The error if it can be sent, or else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
