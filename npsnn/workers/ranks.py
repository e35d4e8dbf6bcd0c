"""Ranks of an MPI job: rank 0 runs the program and leads, the others do what it asks for.

    mpiexec -n 4 npsnn attack --pgd

Rank 0 alone reads and writes files and prints, so that nothing of a program has to know of ranks. Jobs go to whoever
is free, in bunches, and their results are combined in the order of the jobs: they are those of one process. A training
works abreast instead (`npsnn.train.replicas`).
"""

import atexit
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, NoReturn

from npsnn.backend import own_gpu
from npsnn.interrupts import SIGNALS
from npsnn.workers.base import Workers
from npsnn.workers.crew import ABREAST, ANSWER, BUNCH, END, FUNCTION, ORDER, Crew, portable
from npsnn.workers.launched import world
from npsnn.workers.pool import raising, read_function
from npsnn.workers.processes import Processes
from npsnn.workers.spread import Ranks
from npsnn.workers.threads import Threads
from npsnn.workers.unit import Unit, shared

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
    own_gpu(crew.local)
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


def at_work(threads: int | None, device: str = "cpu") -> list[int]:
    """The number of threads of each rank, this one first; none without other ranks.

    threads: how many are asked for. A GPU has one.
    device: what all ranks compute on.
    """
    asked = threads if device == "cpu" else 1
    return [count if asked is None else asked for count in (_crew[0].threads if _crew else [])]


def workers(threads: int | None, worth: float, device: str = "cpu") -> Workers:
    """Those who work through jobs: the threads and processes of all ranks that are idle, or of this one alone.

    threads, worth: of each rank, as for `Processes`.
    device: "cpu", or "cuda" for a thread of each rank with its GPU. A GPU that is not the rank's own works alone.
    """
    crew, unit = idle(), shared(device)
    if crew is not None and unit is not None:
        return Ranks(crew, at_work(threads, device), worth, unit)
    return Processes(share(threads), worth) if device == "cpu" else Threads(1)


def _serve(crew: Crew) -> NoReturn:
    """Do what rank 0 orders until it says that there is no more."""
    for number in SIGNALS:  # they are for rank 0, with which this one ends
        signal.signal(number, signal.SIG_IGN)
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # rank 0 sees the results
            _obey(crew, stack)
    except BaseException as error:  # what could not be said to rank 0
        crew.fail(error)
    sys.exit(0)


def _obey(crew: Crew, stack: ExitStack) -> None:
    f: Callable[..., Any] = read_function(b"")
    local: Workers | None = None
    while True:
        kind, content = crew.received(0, ORDER)
        if kind == END:
            return
        if kind == FUNCTION:
            sent, threads, unit = content
            stack.close()
            f, local = _readied(sent, unit), stack.enter_context(Processes(threads))
        elif kind == BUNCH:
            assert local is not None, "the function of jobs comes before them"
            crew.send(_answer(crew, local, f, content), 0, ANSWER)
        else:
            sent = bytearray(content)
            crew.broadcast(sent)
            work, given = pickle.loads(sent)
            work(crew, given)


def _readied(sent: bytes, unit: Unit) -> Callable[..., Any]:
    """The function that was sent, where this rank computes from now on; one that raises the error where it cannot."""
    try:
        unit.use()
    except Exception as error:
        return raising(error)
    return read_function(sent)


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
