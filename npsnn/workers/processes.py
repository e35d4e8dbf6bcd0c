"""Micro-batches in other processes: for steps of many small array operations.

Threads of one process hold Python's lock between any two array operations, and the smaller these are, the more they
wait for one another (docs/performance.md). A process has a lock of its own.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from npsnn.host import keep_freed_memory, one_blas_thread
from npsnn.interrupts import SIGNALS, uninterrupted
from npsnn.workers.memory import Channel, beyond_standard, shared, size
from npsnn.workers.threads import Workers

T = TypeVar("T")

FIRST: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
"""Calls, by a name for each, that another process makes before those it is asked for."""

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from npsnn.workers.processes import serve; serve()"
"""What another process runs: its modules are those of this one, whatever this one's program is."""


class Processes(Workers):
    """Workers with `spread`, a `fold` that uses a process for each further thread. Results are the same, bit by bit.

    The processes start when they are first needed, and live as long as the with statement. What they are given and give
    back is pickled, but for its arrays, which lie in shared memory: results share it, so `combine` must keep copies.
    Where there is no POSIX system, or no program of Python to start, `spread` uses threads; with NPSNN_DEBUG set a
    warning says so.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads)
        self._others: list[_Process] = []
        self._possible = os.name == "posix" and bool(sys.executable)
        if not self._possible and self.threads > 1 and os.environ.get("NPSNN_DEBUG"):
            missing = "a POSIX system" if os.name != "posix" else "sys.executable"
            warnings.warn(f"there is no {missing} to start processes: threads do their work", stacklevel=3)

    def spread(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine(result) in that order.

        An exception is raised here as in `fold`; ChildProcessError where a process has ended.
        """
        count = min(self.threads, jobs) if self._possible else 1
        if count <= 1 or not self._open:
            self.fold(lambda i: f(*arguments(i)), jobs, combine)
            return
        while len(self._others) < count - 1:
            with uninterrupted():  # one that is not among the others would be ended by nobody
                self._others.append(_Process(room=2 * size(arguments(0))))
        try:
            with one_blas_thread():
                for first in range(0, jobs, count):
                    busy = list(zip(range(first + 1, min(first + count, jobs)), self._others, strict=False))
                    for i, other in busy:
                        other.ask(f, arguments(i))
                    combine(f(*arguments(first)))
                    for _, other in busy:
                        combine(other.answer())
        except BaseException:  # some may still have an answer that nobody will ask for
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        super().__exit__(kind, error, trace)

    def _end(self) -> None:
        for other in self._others:
            other.end()
        self._others.clear()


class _Process:
    """Another Python that calls what it is asked to."""

    def __init__(self, room: int) -> None:
        """room: the bytes of arrays that each direction has shared memory for; what is more goes through the pipe."""
        (its_in, our_out), (our_in, its_out) = _pipe(), _pipe()
        theirs = its_in, shared(room), its_out, shared(room)
        self.out = Channel(os.fdopen(our_out, "wb"), theirs[1])
        self.into = Channel(os.fdopen(our_in, "rb"), theirs[3])
        self.asked: Any = None
        self.told: dict[str, Any] = {}
        self.unheard = 0
        path = [*map(str, sys.path), str(Path(__file__).parents[2])]  # last, where the others no longer lead here
        command = [sys.executable, "-c", START, json.dumps(path), json.dumps(theirs)]
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

    def ask(self, f: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have f(*arguments) called, and before it the calls of FIRST that this process has not made."""
        for name, call in FIRST.items():
            if self.told.get(name) is not call:
                self._send(*call)
                self.told[name] = call
                self.unheard += 1
        self._send(f, arguments)

    def _send(self, f: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have f(*arguments) called; f itself is sent where it is not the one of the last time."""
        try:
            # by itself, so that its arrays, which are to stay, do not lie in the shared memory
            self.out.put((None if f is self.asked else pickle.dumps(f), arguments))
        except BrokenPipeError:
            raise self._ended() from None
        self.asked = f

    def answer(self) -> Any:
        """What the call returned; raises what it raised, or a call of FIRST before it."""
        while self.unheard:
            self.unheard -= 1
            self._receive()
        return self._receive()

    def _receive(self) -> Any:
        try:
            done, result = self.into.get()
        except (EOFError, pickle.UnpicklingError):  # nothing, or the first part of an answer
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
    import numpy  # noqa: F401  (so that its BLAS is there when Workers holds it to one thread)

    requests, shared_in, answers, shared_out = json.loads(sys.argv[2])
    warnings.simplefilter("ignore", RuntimeWarning)  # the one that asks sees the result
    keep_freed_memory()
    into, out = Channel(os.fdopen(requests, "rb"), shared_in), Channel(os.fdopen(answers, "wb"), shared_out)
    f: Any = None
    with one_blas_thread():
        while True:
            try:
                new, arguments = into.get()
                f = f if new is None else pickle.loads(new)
            except EOFError:
                return
            try:
                out.put(_called(f, arguments))
            except BrokenPipeError:
                return


def _called(f: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether f(*arguments) returned, and what it returned or raised."""
    try:
        return True, f(*arguments)
    except Exception as error:
        error.add_note(f"In another process:\n{traceback.format_exc()}")  # a traceback itself cannot be sent
        return False, error
