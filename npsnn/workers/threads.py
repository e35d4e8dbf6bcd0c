"""Jobs on the threads of this process."""

import threading
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import count
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

from npsnn.host import available_cores, check_threads, one_blas_thread
from npsnn.interrupts import Cancelled, cancelled_where, noted
from npsnn.workers.base import Total

T = TypeVar("T")

Across: TypeAlias = Callable[[list[Any]], list[Any]]
"""From what the parts of this process give in a meeting to what all parts give, in their order."""

INTERRUPT = -1
"""The place of an interrupt among the errors of jobs and parts, before all of theirs."""
PATIENCE = 0.1
"""Seconds that a thread waits at a time: not every system wakes a waiting thread for a signal."""


class Threads:
    """Threads that work through a list of jobs, with BLAS held to one thread as long as they work; the caller is one.

    Results are combined in the order of the jobs, whichever thread made them and when: sums of floating-point
    numbers come out bit-identical for any number of threads. At most about one finished result a thread is kept
    waiting, so memory does not grow with the number of jobs.
    """

    ranks = 1

    def __init__(self, threads: int | None = None) -> None:
        """threads: None for all cores. Raises ValueError where `check_threads` does."""
        self.threads = available_cores() if threads is None else threads
        check_threads(self.threads)
        self._queues: list[SimpleQueue[_Jobs[Any] | None]] = []
        self._open = False

    def __enter__(self) -> Self:
        # a GPU's work is the calling thread's alone, and none of it the CPU's BLAS's
        if self.threads > 1 and find_spec("threadpoolctl") is None:
            message = "several threads need threadpoolctl, to hold BLAS to one each: pip install threadpoolctl"
            raise ValueError(f"{message}, or set threads to 1")
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        while self._queues:
            self._queues.pop().put(None)

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("Workers work inside a with statement only")

    def _queues_for(self, jobs: int) -> "list[SimpleQueue[_Jobs[Any] | None]]":
        """The queues of as many further threads as there is work for; the threads start when first needed."""
        self._check_open()
        count = max(0, min(self.threads, jobs) - 1)
        while len(self._queues) < count:
            queue: SimpleQueue[_Jobs[Any] | None] = SimpleQueue()
            _start(threading.Thread(target=_serve, args=(queue,), daemon=True))
            self._queues.append(queue)
        return self._queues[:count]

    def reduce(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine(result) one at a time in that order.

        The first exception, in the order of the jobs, is raised here once all threads have stopped; later jobs are
        ended then, and by an interrupt all of them, at the next layer that a pass comes to.
        """
        queues = self._queues_for(jobs)
        job = _Jobs(lambda i: f(*arguments(i)), jobs, combine, ahead=self.threads)
        with one_blas_thread(), noted(job.interrupt):
            for queue in queues:
                queue.put(job)
            job.work()
            for _ in queues:
                while not job.finished.acquire(timeout=PATIENCE):
                    pass
        if job.errors:
            raise job.errors[min(job.errors)]

    def together(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        parts: int,
        across: Across | None = None,
    ) -> list[T]:
        """The results of f(*arguments(i), total), a thread each, no more of which work at a time than there are here.

        total(x) is the sum, in the order of the parts, of what all of them give their calls of it, for which they wait
        for one another: all must call it equally often. The sum is bit-identical for any number of threads.
        An exception in one part ends all; the first in the order of the parts is raised.
        across: brings what these parts gave together with what others elsewhere did; called once in each meeting.
        """
        self._check_open()
        step = _Together(lambda i, total: f(*arguments(i), total), parts, self.threads, across)
        others = [threading.Thread(target=step.work, args=(i,), daemon=True) for i in range(1, parts)]
        with one_blas_thread(), noted(step.interrupt):
            try:
                for thread in others:
                    _start(thread)
                step.work(0)
            except BaseException:  # no more threads: those that wait would wait for ever
                step.met.abort()
                raise
            finally:
                for thread in others:
                    while thread.is_alive():
                        thread.join(PATIENCE)
        if step.errors:
            caused = {i: e for i, e in step.errors.items() if not isinstance(e, threading.BrokenBarrierError)}
            raise caused[min(caused)]
        return [step.results[i] for i in range(parts)]


class _Together(Generic[T]):
    """One function on several threads that meet to add up what they have."""

    def __init__(self, f: Callable[[int, Total], T], parts: int, threads: int, across: Across | None = None) -> None:
        self.f, self.working, self.across = f, threading.Semaphore(threads), across
        self.met, self.meetings = threading.Barrier(parts, self._add_up if across else None), count()
        # Two, in turns: nobody can be two meetings ahead of one who still reads.
        self.brought: tuple[list[Any], list[Any]] = [None] * parts, [None] * parts
        self.sums: list[Any] = [None, None]
        self.results: dict[int, T] = {}
        self.errors: dict[int, BaseException] = {}

    def work(self, part: int) -> None:
        meetings = count()

        def total(x: Any) -> Any:
            turn = next(meetings) % 2
            self.brought[turn][part] = x
            self.working.release()
            try:
                self.met.wait()
            finally:
                self.working.acquire()
            if self.across is None:  # each for itself, all at once: few parts wait longer for one that does it for all
                return _sum(self.brought[turn])
            found = self.sums[turn]
            return found.copy() if self.met.parties > 1 and hasattr(found, "copy") else found  # others read it as well

        with self.working, cancelled_where(lambda: INTERRUPT in self.errors):
            try:
                self.results[part] = self.f(part, total)
            except Cancelled:
                self.met.abort()
            except BaseException as error:  # raised again by the caller; the others would wait for ever
                self.errors[part] = error
                self.met.abort()

    def _add_up(self) -> None:
        """Add up what the parts bring, and those that are elsewhere: a thread does so while all others wait."""
        assert self.across is not None, "nobody is elsewhere"
        turn = next(self.meetings) % 2
        self.sums[turn] = _sum(self.across(self.brought[turn]))

    def interrupt(self, error: BaseException) -> None:
        """End all parts; called amid anything that the main thread does, so it must not wait for a lock."""
        self.errors.setdefault(INTERRUPT, error)


def _sum(brought: list[Any]) -> Any:
    """The sum in the order of the parts."""
    return sum(brought[1:], start=brought[0])


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        now = threading.active_count()
        raise OSError(f"the system refuses a thread beside {now} others ({error}): try fewer threads") from error


def _serve(queue: "SimpleQueue[_Jobs[Any] | None]") -> None:
    while (job := queue.get()) is not None:
        job.work()
        job.finished.release()


class _Jobs(Generic[T]):
    """One list of jobs, worked through by several threads."""

    def __init__(self, f: Callable[[int], T], jobs: int, combine: Callable[[T], None], ahead: int) -> None:
        self.f, self.jobs, self.combine, self.ahead = f, jobs, combine, ahead
        self.numbers = count()
        self.turn = 0
        self.waiting: dict[int, T] = {}
        self.turned = threading.Condition()
        self.errors: dict[int, BaseException] = {}
        self.finished = threading.Semaphore(0)

    def work(self) -> None:
        while not self.errors and (i := next(self.numbers)) < self.jobs:
            try:
                with cancelled_where(partial(self._pointless, i)):
                    result = self.f(i)
                self._deliver(i, result)
            except Cancelled:
                break
            except BaseException as error:  # raised again by the caller; a lost thread would stop every other
                self.errors[i] = error
        with self.turned:
            self.turned.notify_all()

    def interrupt(self, error: BaseException) -> None:
        """End all jobs; called amid anything that the main thread does, so it must not wait for a lock."""
        self.errors.setdefault(INTERRUPT, error)

    def _pointless(self, i: int) -> bool:
        """Whether nobody waits for job i: an earlier one has failed, or all were interrupted."""
        return bool(self.errors) and min(self.errors) < i

    def _deliver(self, i: int, result: T) -> None:
        with self.turned:
            while not self.turned.wait_for(lambda: i <= self.turn + self.ahead or self.errors, PATIENCE):
                pass
            self.waiting[i] = result
            while self.turn in self.waiting:
                self.combine(self.waiting.pop(self.turn))
                self.turn += 1
            self.turned.notify_all()
