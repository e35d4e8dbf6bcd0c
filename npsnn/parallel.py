"""Micro-batches on worker threads, which use all cores; `npsnn.processes` adds processes to them."""

import ctypes
import os
import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Threads that work through a list of jobs, with BLAS held to one thread meanwhile; the caller is one of them.

    Results are combined in the order of the jobs, whichever thread made them and when: sums of floating-point
    numbers come out bit-identical for any number of threads. At most about one finished result a thread is kept
    waiting, so memory does not grow with the number of jobs.
    """

    def __init__(self, threads: int | None = None) -> None:
        """threads: None for all cores. Raises ValueError for less than one."""
        self.threads = available_cores() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        self._queues: list[SimpleQueue[_Fold[Any] | None]] = [SimpleQueue() for _ in range(self.threads - 1)]
        self._limits: Any = None

    def __enter__(self) -> Self:
        # One call for all the work: setting the limits costs more than a step of a small network.
        self._limits = self._limited()
        for queue in self._queues:
            threading.Thread(target=_serve, args=(queue,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in self._queues:
            queue.put(None)
        self._limits.restore_original_limits()
        self._limits = None

    def _limited(self) -> Any:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError as error:
            # a GPU's work is the calling thread's alone, and none of it the CPU's BLAS's
            if self.threads > 1:
                message = "several threads need threadpoolctl, to hold BLAS to one each: pip install threadpoolctl"
                raise ValueError(f"{message}, or set threads to 1") from error
            return _Unlimited()
        return threadpool_limits(1, "blas")

    def fold(self, f: Callable[[int], T], jobs: int, combine: Callable[[T], None]) -> None:
        """Call f(0) ... f(jobs - 1) on the threads, and combine(result) one at a time in that order.

        The first exception, in the order of the jobs, is raised here once all threads have stopped.
        """
        if self._limits is None:
            raise RuntimeError("Workers work inside a with statement only")
        job = _Fold(f, jobs, combine, ahead=self.threads)
        for queue in self._queues:
            queue.put(job)
        try:
            job.work()
        finally:
            for _ in self._queues:
                job.finished.get()
        if job.errors:
            raise job.errors[min(job.errors)]

    def map(self, f: Callable[[int], T], jobs: int) -> list[T]:
        """[f(0), ..., f(jobs - 1)]."""
        results: list[T] = []
        self.fold(f, jobs, results.append)
        return results

    def in_step(self, f: Callable[[int, Callable[[Any], Any]], T], parts: int) -> list[T]:
        """[f(0, total), ..., f(parts - 1, total)], a thread each, no more of which work at a time than there are here.

        total(x) is the sum, in the order of the parts, of what all of them give their calls of it, for which they wait
        for one another: all must call it equally often. So this too comes out bit-identical for any number of threads.
        An exception in one part ends all; of several the first, in the order of the parts, is raised.
        """
        if self._limits is None:
            raise RuntimeError("Workers work inside a with statement only")
        step = _InStep(f, parts, self.threads)
        others = [threading.Thread(target=step.work, args=(i,), daemon=True) for i in range(1, parts)]
        try:
            for thread in others:
                thread.start()
            step.work(0)
        except BaseException:  # an interrupt, or no more threads: those that wait would wait for ever
            step.met.abort()
            raise
        finally:
            for thread in others:
                if thread.ident is not None:
                    thread.join()
        if step.errors:
            caused = {i: e for i, e in step.errors.items() if not isinstance(e, threading.BrokenBarrierError)}
            raise caused[min(caused)]
        return [step.results[i] for i in range(parts)]


class _InStep(Generic[T]):
    """One function on several threads that meet to add up what they have."""

    def __init__(self, f: Callable[[int, Callable[[Any], Any]], T], parts: int, threads: int) -> None:
        self.f, self.working, self.met = f, threading.Semaphore(threads), threading.Barrier(parts)
        # Two, in turns: nobody can be two meetings ahead of one who still reads.
        self.brought: tuple[list[Any], list[Any]] = [None] * parts, [None] * parts
        self.results: dict[int, T] = {}
        self.errors: dict[int, BaseException] = {}

    def work(self, part: int) -> None:
        meetings = count()

        def total(x: Any) -> Any:
            brought = self.brought[next(meetings) % 2]
            brought[part] = x
            self.working.release()
            try:
                self.met.wait()
            finally:
                self.working.acquire()
            return sum(brought[1:], start=brought[0])

        with self.working:
            try:
                self.results[part] = self.f(part, total)
            except BaseException as error:  # raised again by the caller; the others would wait for ever
                self.errors[part] = error
                self.met.abort()


class _Unlimited:
    """Leaves BLAS as it is."""

    def restore_original_limits(self) -> None:
        return


def _serve(queue: "SimpleQueue[_Fold[Any] | None]") -> None:
    while (job := queue.get()) is not None:
        job.work()
        job.finished.put(None)


class _Fold(Generic[T]):
    """One list of jobs, worked through by several threads."""

    def __init__(self, f: Callable[[int], T], jobs: int, combine: Callable[[T], None], ahead: int) -> None:
        self.f, self.jobs, self.combine, self.ahead = f, jobs, combine, ahead
        self.numbers = count()
        self.turn = 0
        self.waiting: dict[int, T] = {}
        self.turned = threading.Condition()
        self.errors: dict[int, BaseException] = {}
        self.finished: SimpleQueue[None] = SimpleQueue()

    def work(self) -> None:
        while not self.errors and (i := next(self.numbers)) < self.jobs:
            try:
                self._deliver(i, self.f(i))
            except BaseException as error:  # raised again by the caller; a lost thread would stop every other
                self.errors[i] = error
                with self.turned:
                    self.turned.notify_all()

    def _deliver(self, i: int, result: T) -> None:
        with self.turned:
            self.turned.wait_for(lambda: i <= self.turn + self.ahead or self.errors)
            self.waiting[i] = result
            while self.turn in self.waiting:
                self.combine(self.waiting.pop(self.turn))
                self.turn += 1
            self.turned.notify_all()


ALLOCATOR = {"TRIM_THRESHOLD": (-1, 1 << 30), "TOP_PAD": (-2, 64 << 20), "MMAP_MAX": (-4, 0)}
"""mallopt's parameters by number, and their values: how many bytes of freed memory glibc keeps, by how many it grows,
and that no array is mapped apart, which would be returned as soon as it is freed.

In the environment they are MALLOC_TRIM_THRESHOLD_ and so on.
"""


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next array rather than return it to the system page by page.

    Fresh arrays cost page faults otherwise. Does nothing without glibc, or where NPSNN_MALLOC=0 is set.
    """
    if os.environ.get("NPSNN_MALLOC") == "0":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter, value in ALLOCATOR.values():
            mallopt(parameter, value)


def micro_batches(examples: int, size: int) -> list[slice]:
    """Slices of `size` examples, the last of them perhaps shorter."""
    return [slice(i, min(i + size, examples)) for i in range(0, examples, size)]
