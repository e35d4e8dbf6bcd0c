"""Ranks of an MPI job: rank 0 runs the program and leads, the others do what it asks for.

    mpiexec -n 4 npsnn attack --pgd

Rank 0 alone reads and writes files and prints, so that nothing of a program has to know of ranks. Jobs go to whoever
is free, in bunches, and their results are combined in the order of the jobs: they are those of one process. A training
works abreast instead (`npsnn.train.replicas`).
"""

import atexit
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from npsnn.interrupts import SIGNALS, Cancelled, cancelled_where, noted
from npsnn.workers.base import Workers
from npsnn.workers.crew import ANSWER, ORDER, Crew, portable
from npsnn.workers.launched import world
from npsnn.workers.pool import read_function
from npsnn.workers.processes import Processes
from npsnn.workers.threads import INTERRUPT, PATIENCE

T = TypeVar("T")

FUNCTION, BUNCH, ABREAST, END = "function", "bunch", "abreast", "end"
"""What rank 0 orders: the function of the next jobs, some of these jobs, to work abreast, and to end."""
AHEAD = 4
"""How many jobs for each thread may be handed out before the first of them is combined."""

_crew: list[Crew] = []
"""The ranks that this program leads; none without a launcher."""


def lead() -> None:
    """Lead the other ranks from now on, where a launcher started several; any other rank never returns from here.

    The command npsnn calls this. A program of your own calls it once, after its imports: rank 0 goes on, and what it
    trains, attacks and judges is spread over all ranks. The others end with rank 0.
    Raises ValueError where there is no MPI for these ranks, or not the launcher's.
    """
    comm = world()
    if comm is None or _crew:
        return
    crew = Crew(comm)
    if crew.rank:
        _serve(crew)
    _crew.append(crew)
    atexit.register(_dismiss_at_exit)


def dismiss(code: int = 1) -> None:
    """Let the other ranks end; at once, with this exit code, those that are amid something that nobody waits for."""
    if not _crew:
        return
    crew = _crew.pop()
    if crew.busy or any(crew.owed):
        sys.stdout.flush()
        sys.stderr.flush()
        crew.abort(code)
    for rank in range(1, crew.size):
        crew.send((END, None), rank, ORDER)


def _dismiss_at_exit() -> None:
    dismiss(1 if hasattr(sys, "last_value") else 0)


@contextmanager
def dismissed() -> Iterator[None]:
    """Let the other ranks end with the block, by whatever exit code it ends."""
    try:
        yield
    except SystemExit as stop:
        dismiss(stop.code if isinstance(stop.code, int) and stop.code else 1)
        raise
    finally:
        dismiss()


def idle() -> Crew | None:
    """The ranks that this one leads, unless there are none or they are busy."""
    return _crew[0] if _crew and not _crew[0].busy else None


def share(threads: int | None) -> int | None:
    """The threads of this rank: those that were asked for, or its share of the cores; None without other ranks."""
    return threads if threads is not None or not _crew else _crew[0].threads[0]


def at_work(threads: int | None) -> list[int]:
    """The number of threads of each rank, this one first, if so many are asked for; none without other ranks."""
    return [count if threads is None else threads for count in (_crew[0].threads if _crew else [])]


def workers(threads: int | None, worth: float) -> Workers:
    """Those who work through jobs: the threads and processes of all ranks that are idle, or of this one alone.

    threads, worth: of each rank, as for `Processes`.
    """
    crew = idle()
    return Processes(share(threads), worth) if crew is None else Ranks(crew, threads, worth)


class Ranks:
    """Workers over all ranks: what `Processes` is over one. Results are the same, bit by bit.

    Jobs whose function cannot be pickled stay here, and so do those that this rank's threads can do at a time.
    """

    def __init__(self, crew: Crew, threads: int | None, worth: float) -> None:
        self.crew, self.each = crew, at_work(threads)
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
            crew.send((FUNCTION, (self.sent, self.ranks.each[rank])), rank, ORDER)
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


def _serve(crew: Crew) -> NoReturn:
    """Do what rank 0 orders until it says that there is no more."""
    for number in SIGNALS:  # they are for rank 0, with which this one ends
        signal.signal(number, signal.SIG_IGN)
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # rank 0 sees the results
            _obey(crew, stack)
    except BaseException as error:  # what could not be said to rank 0
        if os.environ.get("NPSNN_DEBUG"):
            traceback.print_exc()
        said = " ".join(f"{crew.place}: {type(error).__name__}: {error}".split())
        print(f"Error: {said}", file=sys.stderr, flush=True)
        crew.abort(1)
    sys.exit(0)


def _obey(crew: Crew, stack: ExitStack) -> None:
    f: Callable[..., Any] = read_function(b"")
    local: Workers | None = None
    while True:
        kind, content = crew.received(0, ORDER)
        if kind == END:
            return
        if kind == FUNCTION:
            stack.close()
            f, local = read_function(content[0]), stack.enter_context(Processes(content[1]))
        elif kind == BUNCH:
            assert local is not None, "the function of jobs comes before them"
            crew.send(_answer(crew, local, f, content), 0, ANSWER)
        else:
            sent = bytearray(content)
            crew.broadcast(sent)
            work, given = pickle.loads(sent)
            work(crew, given)


def _answer(crew: Crew, local: Workers, f: Callable[..., Any], given: list[tuple[Any, ...]]) -> tuple[bool, Any]:
    """Whether all jobs of a bunch returned, and what they returned, or the error."""
    results: list[Any] = []
    try:
        local.reduce(f, lambda i: given[i], len(given), lambda result: results.append(deepcopy(result)))
        return True, results
    except Exception as error:
        return False, named(portable(error), crew)


def named(error: BaseException, crew: Crew) -> BaseException:
    """The error with the place where it came up, for people; what rank 0 raises needs no name."""
    if crew.rank:
        error.place = crew.place  # type: ignore[attr-defined]
    return error


def abreast(crew: Crew, work: Callable[[Crew, bytes], None], given: bytes) -> None:
    """Have all other ranks call work(crew, given), in which they meet this one."""
    sent = pickle.dumps((work, given), 5)
    for rank in range(1, crew.size):
        crew.send((ABREAST, len(sent)), rank, ORDER)
    crew.broadcast(sent)
