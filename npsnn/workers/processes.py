"""Jobs in other processes: for many small array operations.

Threads of one process hold Python's lock between any two array operations, and the smaller these are, the more they
wait for one another (docs/performance.md). A process has a lock of its own.
"""

import os
import pickle
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from select import select
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from npsnn.host import one_blas_thread
from npsnn.interrupts import Cancelled, cancelled_where, noted, uninterrupted
from npsnn.workers import pool
from npsnn.workers.memory import size
from npsnn.workers.pool import Process, UnknownError
from npsnn.workers.threads import PATIENCE, Threads

T = TypeVar("T")

AHEAD = 16
"""The most results of this process that wait for earlier ones: another process takes a while to start."""


class Processes(Threads):
    """Threads whose `reduce` uses a process in the place of each further thread. Results are the same, bit by bit.

    The processes start when they are first needed, and go to a pool at the end of the with statement, which the next
    one takes them from. Jobs and results are pickled, but for their arrays, which lie in shared memory: `combine` must
    copy what it keeps. Threads do the work of a function that cannot be pickled, or that the other process cannot find;
    so they do where there is no POSIX system, or no program of Python to start. With NPSNN_DEBUG set a warning says so.
    """

    def __init__(self, threads: int | None = None, worth: float = 0.0) -> None:
        """Start nothing yet.

        threads: how many work, this process among them; None for all cores.
        worth: seconds of work in one `reduce` from which it starts processes; the first job tells. Threads do less.
        Raises ValueError where `check_threads` does.
        """
        super().__init__(threads)
        self.worth = worth
        self._others: list[Process] = []
        self._possible = os.name == "posix" and bool(sys.executable)
        if not self._possible and self.threads > 1:
            missing = "a POSIX system" if os.name != "posix" else "sys.executable"
            _debug(f"there is no {missing} to start processes: threads do their work")

    def reduce(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine(result) in that order.

        An exception in a job is raised here; ChildProcessError where a process has ended. An interrupt ends all jobs.
        """
        self._check_open()
        count = min(self.threads, jobs) if self._possible else 1
        if count > 1 and self.worth and not self._others and not pool.waiting():
            start = perf_counter()
            super().reduce(f, arguments, 1, combine)
            if (perf_counter() - start) * (jobs - 1) < self.worth:
                count = 1
            arguments, jobs = partial(_later, arguments), jobs - 1
            count = min(count, jobs)
        if count <= 1 or not self._others_for(f, arguments, count - 1):
            super().reduce(f, arguments, jobs, combine)
            return
        sharing = _Sharing(f, arguments, jobs, combine, self._others[: count - 1])
        try:
            with one_blas_thread(), noted(sharing.interrupt), cancelled_where(lambda: bool(sharing.interrupts)):
                sharing.work()
        except Cancelled:
            pass
        except UnknownError as error:  # none of its jobs was done there
            sharing.forget()
            _debug(f"another process cannot find {f!r:.80} ({error}): threads do its work")
            done = sharing.turn
            super().reduce(f, lambda i: arguments(done + i), jobs - done, combine)
        except BaseException:  # some may still have an answer that nobody will ask for
            self._end()
            raise
        if sharing.interrupts:
            self._end()
            raise sharing.interrupts[0]

    def _others_for(self, f: Callable[..., Any], arguments: Callable[[int], tuple[Any, ...]], count: int) -> bool:
        """Have `count` other processes that f is sent to; False where f cannot be sent."""
        if len(self._others) >= count and all(other.is_ready(f) for other in self._others[:count]):
            return True
        try:
            sent = pickle.dumps(f)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            _debug(f"{f!r:.80} cannot be sent to another process ({error}): threads do its work")
            return False
        room = 2 * size(arguments(0))
        try:
            while len(self._others) < count:
                with uninterrupted():  # one that is not among the others would be ended by nobody
                    self._others.append(pool.taken(room))
            for other in self._others[:count]:
                other.prepare(f, sent)
        except BaseException:
            self._end()
            raise
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            pool.give(self._others)
        self._end()
        super().__exit__(kind, error, trace)

    def _end(self) -> None:
        for other in self._others:
            other.end()
        self._others.clear()


class _Sharing:
    """One list of jobs, shared out among this process and others.

    Another process has two jobs at a time, as long as there are many: one to do, and the next, lest it waits.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[Any], None],
        others: list[Process],
    ) -> None:
        self.f, self.arguments, self.jobs, self.combine, self.others = f, arguments, jobs, combine, others
        self.asked = dict[int, Process]()
        """The jobs of others whose results are not combined."""
        self.next = self.turn = 0
        self.mine: dict[int, Any] = {}
        self.interrupts: list[BaseException] = []

    def interrupt(self, error: BaseException) -> None:
        """End all jobs; called amid anything that the main thread does."""
        self.interrupts.append(error)

    def work(self) -> None:
        """Do the earliest job here while the others do the next ones, until all results are combined."""
        while self.turn < self.jobs and not self.interrupts:
            own = self.next if self.next < self.jobs and len(self.mine) < AHEAD else None
            self.next += own is not None
            self._ask()
            if own is not None:
                self.mine[own] = self.f(*self.arguments(own))
            self._combine(wait=own is None)

    def _ask(self) -> None:
        """Give jobs to the others."""
        for load in range(2):
            for other in self.others:
                left = self.jobs - self.next
                if left <= load * len(self.others) or list(self.asked.values()).count(other) != load:
                    continue
                arguments = self.arguments(self.next)
                if load and size(arguments) > other.room:
                    return  # through a pipe that is full, while the other waits with a long answer in the way back
                other.ask(arguments)
                self.asked[self.next] = other
                self.next += 1

    def _combine(self, wait: bool) -> None:
        """Combine the results that are there, in their order; wait: for the first of them."""
        while self.turn < self.jobs and not self.interrupts:
            if self.turn in self.mine:
                self.combine(self.mine.pop(self.turn))
            elif self.turn in self.asked and self._answered(self.asked[self.turn], wait):
                self.combine(self.asked.pop(self.turn).answer())
            else:
                return
            self.turn += 1
            wait = False

    def forget(self) -> None:
        """Take the answers that nobody uses, so that the others are ready for other work."""
        for other in self.asked.values():
            with suppress(UnknownError):
                other.answer()

    def _answered(self, other: Process, wait: bool) -> bool:
        """Whether the other process has begun its answer; wait: until it has, or an interrupt comes."""
        while not select([other.into.file], [], [], PATIENCE if wait else 0)[0]:
            if not wait or self.interrupts:
                return False
        return True


def _later(arguments: Callable[[int], tuple[Any, ...]], i: int) -> tuple[Any, ...]:
    """The arguments of the job after number i."""
    return arguments(i + 1)


def _debug(text: str) -> None:
    if os.environ.get("NPSNN_DEBUG"):
        warnings.warn(text, stacklevel=4)
