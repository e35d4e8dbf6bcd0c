"""The other processes: each a Python that calls what it is asked to, and a pool of those that wait for work."""

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from npsnn.host import keep_freed_memory, one_blas_thread
from npsnn.interrupts import SIGNALS
from npsnn.workers.memory import Channel, beyond_standard, shared

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from npsnn.workers.pool import serve; serve()"
"""What another process runs: its modules are those of this one, whatever this one's program is."""
FIRST: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
"""Calls, by a name for each, that another process makes before those it is asked for."""
SPARE = 8
"""The most processes that wait in the pool: a process holds the memory of its last work."""


class UnknownError(Exception):
    """The other process cannot read the function that it is sent: it has no such module, or no such name in it."""


class Process:
    """Another Python that calls what it is asked to."""

    def __init__(self, room: int) -> None:
        """Start it.

        room: bytes of the arrays of a job that have place in shared memory, in each direction; what is more goes
            through the pipe.
        """
        self.room = room
        (its_in, our_out), (our_in, its_out) = _pipe(), _pipe()
        theirs = its_in, shared(2 * room), its_out, shared(2 * room)
        self.out = Channel(os.fdopen(our_out, "wb"), theirs[1])
        self.into = Channel(os.fdopen(our_in, "rb", buffering=0), theirs[3])
        self.asked: Any = None
        self.told: dict[str, Any] = {}
        self.path = paths()
        command = [sys.executable, "-c", START, json.dumps(self.path), json.dumps(theirs)]
        try:
            with _blocked():
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=theirs)
        except OSError as error:
            self.into.file.close()
            self.out.file.close()
            raise OSError(f"the system refuses another process ({error.strerror}): try fewer threads") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def is_ready(self, f: Callable[..., Any]) -> bool:
        """Whether the next jobs would be of f, and there is no call of FIRST to make before."""
        return self.asked is f and all(self.told.get(name) is call for name, call in FIRST.items())

    def prepare(self, f: Callable[..., Any], sent: bytes) -> None:
        """Have the next jobs be of f, and before them the calls of FIRST that this process has not made.

        sent: f as a pickle, by itself, so that its arrays, which are to stay, do not lie in the shared memory.
        """
        for name, call in FIRST.items():
            if self.told.get(name) is not call:
                self._put("first", pickle.dumps(call))
                self.told[name] = call
        self._put("function", sent)
        self.asked = f

    def ask(self, arguments: tuple[Any, ...]) -> None:
        """Have the function called with these arguments; two jobs may wait for their answers to be used."""
        self._put("job", arguments)

    def _put(self, kind: str, content: Any) -> None:
        try:
            self.out.put((kind, content))
        except BrokenPipeError:
            raise self._ended() from None

    def answer(self) -> Any:
        """What the call returned; raises what it raised."""
        try:
            done, result = self.into.get()
        except EOFError:  # nothing, or the first part of an answer
            raise self._ended() from None
        if not done:
            raise result
        return result

    def _ended(self) -> ChildProcessError:
        code = self.process.wait()
        return ChildProcessError(f"a process that computes for this one ended with exit code {code}: try 1 thread")

    def end(self) -> None:
        """End it, whatever it is about: it has nothing that could be lost."""
        self.process.kill()
        self.process.wait()
        self.into.file.close()
        with suppress(BrokenPipeError):  # what it was not yet sent
            self.out.file.close()


def paths() -> list[str]:
    """Where modules are looked for: this project last, where the others no longer lead here."""
    return [*map(str, sys.path), str(Path(__file__).parents[2])]


def _pipe() -> tuple[int, int]:
    into, out = os.pipe()
    return beyond_standard(into), beyond_standard(out)


@contextmanager
def _blocked() -> Iterator[None]:
    """Have a process that is started in the block get no interrupts, which are for the one that asks, from its birth.

    It inherits what signals are blocked; those that come to this process meanwhile are heard after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve() -> None:
    """The other process: calls and answers until there is nothing more to read."""
    import numpy  # noqa: F401  (so that its BLAS is there when it is held to one thread)

    requests, shared_in, answers, shared_out = json.loads(sys.argv[2])
    warnings.simplefilter("ignore", RuntimeWarning)  # the one that asks sees the result
    keep_freed_memory()
    into, out = (
        Channel(os.fdopen(requests, "rb", buffering=0), shared_in),
        Channel(os.fdopen(answers, "wb"), shared_out),
    )
    f: Callable[..., Any] = raising(UnknownError("no function was sent"))
    with one_blas_thread(), suppress(BrokenPipeError, EOFError):
        while True:
            kind, content = into.get()
            if kind == "job":
                with one_blas_thread():  # again, for a library that came with what was read since
                    answer = _called(f, content)
                out.put(answer)
            elif kind == "function":
                f = read_function(content)
            else:
                _first(*pickle.loads(content))


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises the error, whatever it is called with."""

    def f(*arguments: Any) -> None:
        raise error

    return f


def _first(call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Make a call whose error shows in what depends on it: in a function that this process does not know then."""
    with suppress(Exception):
        call(*arguments)


def read_function(sent: bytes) -> Callable[..., Any]:
    """The function that was sent; one that raises UnknownError where this process cannot read it."""
    try:
        found: Callable[..., Any] = pickle.loads(sent)
        return found
    except Exception as error:
        return raising(UnknownError(f"{type(error).__name__}: {error}"))


def _called(f: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether f(*arguments) returned, and what it returned or raised."""
    try:
        return True, f(*arguments)
    except Exception as error:
        error.add_note(f"In another process:\n{traceback.format_exc()}")  # a traceback itself cannot be sent
        return False, error


class _Pool:
    """Processes that wait for work; they end with this one."""

    def __init__(self) -> None:
        self.lock, self.waiting, self.owner = threading.Lock(), list[Process](), os.getpid()

    def _mine(self) -> None:
        """A fork has its parent's processes in its list, but not their ears: forget them."""
        if self.owner != os.getpid():
            self.waiting, self.owner = [], os.getpid()

    def taken(self, room: int) -> Process:
        with self.lock:
            self._mine()
            found = [p for p in self.waiting if p.process.poll() is None and p.path == paths()]
            for process in [p for p in self.waiting if p not in found]:
                process.end()
            large = [p for p in found if p.room >= room]
            if large:
                found.remove(large[0])
            self.waiting = found
        return large[0] if large else Process(room)

    def give(self, processes: list[Process]) -> None:
        with self.lock:
            self._mine()
            self.waiting += processes
            for process in self.waiting[:-SPARE]:
                process.end()
            del self.waiting[:-SPARE]

    def end(self) -> None:
        """End all that wait."""
        with self.lock:
            self._mine()
            while self.waiting:
                self.waiting.pop().end()


_POOL = _Pool()
atexit.register(_POOL.end)


def taken(room: int) -> Process:
    """A process with so much shared memory: one that waits, or a new one; raises OSError where there can be none."""
    return _POOL.taken(room)


def waiting() -> bool:
    """Whether a process waits in the pool."""
    return bool(_POOL.waiting) and _POOL.owner == os.getpid()


def give(processes: list[Process]) -> None:
    """Let idle processes wait for other work, and forget them in this list."""
    _POOL.give(processes)
    processes.clear()
