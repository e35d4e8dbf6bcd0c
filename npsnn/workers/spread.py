"""Jobs over the ranks of an MPI job, handed out in bunches to whoever is free."""

import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from types import TracebackType
from typing import Any, Self, TypeVar

from npsnn.interrupts import Cancelled, cancelled_where, noted
from npsnn.workers.crew import ANSWER, BUNCH, FUNCTION, ORDER, Crew
from npsnn.workers.processes import Processes
from npsnn.workers.threads import INTERRUPT, PATIENCE
from npsnn.workers.unit import CPU, Unit

T = TypeVar("T")

AHEAD = 4
"""How many jobs for each thread may be handed out before the first of them is combined."""


class Ranks:
    """Workers over all ranks: what `Processes` is over one. Results are the same, bit by bit.

    Jobs whose function cannot be pickled stay here, and so do those that this rank's threads can do at a time.
    """

    def __init__(self, crew: Crew, each: list[int], worth: float, unit: Unit = CPU) -> None:
        """Start nothing yet.

        crew: the ranks.
        each: number of threads of each rank.
        worth: as for `Processes`, for work that stays here.
        unit: what every rank computes on.
        """
        self.crew, self.each, self.unit = crew, each, unit
        self.ranks = crew.size
        self.threads, self.local = sum(self.each), Processes(self.each[0], worth)

    def __enter__(self) -> Self:
        self.local.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.local.__exit__(kind, error, trace)

    def reduce(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine(result) in that order, one at a time."""
        sent = None
        if jobs > self.each[0] and not self.crew.busy:
            with suppress(pickle.PicklingError, AttributeError, TypeError):
                sent = pickle.dumps(f)
        if sent is None:
            self.local.reduce(f, arguments, jobs, combine)
            return
        with self.crew.at_work():
            _Spread(self, f, sent, arguments, jobs, combine).work()

    def together(self, f: Callable[..., T], arguments: Callable[[int], tuple[Any, ...]], parts: int) -> list[T]:
        """The results of parts that meet, on this rank's threads."""
        return self.local.together(f, arguments, parts)


class _Spread:
    """One list of jobs over all ranks. A thread here stands for each other rank, and waits for its answers."""

    def __init__(
        self,
        ranks: Ranks,
        f: Callable[..., Any],
        sent: bytes,
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[Any], None],
    ) -> None:
        self.ranks, self.f, self.sent, self.arguments = ranks, f, sent, arguments
        self.jobs, self.combine = jobs, combine
        self.next = self.turn = 0
        self.told = set[int]()
        self.waiting: dict[int, list[Any]] = {}
        self.errors: dict[int, BaseException] = {}
        self.turned = threading.Condition()

    def work(self) -> None:
        """Do all jobs; raises the first error in their order, or an interrupt, which leaves answers owed."""
        others = [
            threading.Thread(target=self._of, args=(rank,), daemon=True) for rank in range(1, self.ranks.crew.size)
        ]
        self.ranks.local.worth = 0.0
        with noted(self._interrupt):
            for thread in others:
                thread.start()
            self._through(self._here, self.ranks.each[0])
            for thread in others:
                while thread.is_alive():
                    thread.join(PATIENCE)
        if self.errors:
            raise self.errors[min(self.errors)]

    def _interrupt(self, error: BaseException) -> None:
        self.errors.setdefault(INTERRUPT, error)

    def _of(self, rank: int) -> None:
        """The thread that stands for a rank."""
        threads = self.ranks.each[rank]
        self.ranks.unit.use()  # arrays that come from there go to this thread's GPU
        with cancelled_where(lambda: INTERRUPT in self.errors):
            self._through(lambda some: self._there(rank, some), threads)

    def _through(self, compute: Callable[[range], list[Any]], size: int) -> None:
        """Take bunches of so many jobs, and deliver their results, until there are no more or somebody has failed."""
        while (some := self._taken(size)) is not None:
            try:
                self._deliver(some.start, compute(some))
            except Cancelled:
                break
            except BaseException as error:
                self.errors[some.start if isinstance(error, Exception) else INTERRUPT] = error
        with self.turned:
            self.turned.notify_all()

    def _taken(self, size: int) -> range | None:
        """The next jobs, once not too many wait for earlier ones; None where there are no more."""
        with self.turned:
            while not self.errors and self.next - self.turn > AHEAD * self.ranks.threads:
                self.turned.wait(PATIENCE)
            if self.errors or self.next >= self.jobs:
                return None
            some = range(self.next, min(self.next + size, self.jobs))
            self.next = some.stop
            return some

    def _here(self, some: range) -> list[Any]:
        results: list[Any] = []
        self.ranks.local.reduce(
            self.f, lambda i: self.arguments(some[i]), len(some), lambda result: results.append(deepcopy(result))
        )
        return results

    def _there(self, rank: int, some: range) -> list[Any]:
        crew = self.ranks.crew
        while crew.owed[rank]:  # of work that an interrupt ended
            crew.received(rank, ANSWER)
            crew.owed[rank] -= 1
        if rank not in self.told:
            crew.send((FUNCTION, (self.sent, self.ranks.each[rank], self.ranks.unit)), rank, ORDER)
            self.told.add(rank)
        crew.send((BUNCH, [self.arguments(i) for i in some]), rank, ORDER)
        crew.owed[rank] += 1
        done, answer = crew.received(rank, ANSWER)
        crew.owed[rank] -= 1
        if not done:
            raise answer
        found: list[Any] = answer
        return found

    def _deliver(self, start: int, results: list[Any]) -> None:
        with self.turned:
            self.waiting[start] = results
            while self.turn in self.waiting:
                done = self.waiting.pop(self.turn)
                for result in done:
                    self.combine(result)
                self.turn += len(done)
            self.turned.notify_all()
