"""Micro-batches in other processes: for steps of many small array operations.

Threads of one process hold Python's lock between any two array operations, and the smaller these are, the more they
wait for one another (docs/performance.md). A process has a lock of its own.
"""

import json
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from npsnn.host import keep_freed_memory, one_blas_thread
from npsnn.interrupts import SIGNALS, uninterrupted
from npsnn.parallel import Workers

T = TypeVar("T")

ALIGNMENT = 64
"""The bytes of a cache line, at the beginning of which each array in shared memory lies."""
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from npsnn.processes import serve; serve()"
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
                self._others.append(_Process(room=2 * _size(arguments(0))))
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
        theirs = its_in, _shared(room), its_out, _shared(room)
        self.out = _Channel(os.fdopen(our_out, "wb"), theirs[1])
        self.into = _Channel(os.fdopen(our_in, "rb"), theirs[3])
        self.asked: Any = None
        path = [*map(str, sys.path), str(Path(__file__).parent.parent)]  # last, where the others no longer lead here
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
        """Have f(*arguments) called; f itself is sent where it is not the one of the last time."""
        try:
            # by itself, so that its arrays, which are to stay, do not lie in the shared memory
            self.out.put((None if f is self.asked else pickle.dumps(f), arguments))
        except BrokenPipeError:
            raise self._ended() from None
        self.asked = f

    def answer(self) -> Any:
        """What the call returned; raises what it raised."""
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


class _Channel:
    """One direction: pickles through a pipe, and the arrays in them through shared memory, where they have room."""

    def __init__(self, file: IO[bytes], shared: int) -> None:
        """shared: the memory's file descriptor, of which a copy is kept."""
        self.file = file
        self.memory = memoryview(mmap.mmap(shared, 0))

    def put(self, value: Any) -> None:
        places: list[tuple[int, int]] = []
        end = 0

        def in_band(buffer: pickle.PickleBuffer) -> bool:
            """Whether the array has to be pickled with the rest."""
            nonlocal end
            with buffer.raw() as raw:
                start, stop = end, end + raw.nbytes
                if stop > len(self.memory):
                    return True
                self.memory[start:stop] = raw
            places.append((start, stop))
            end = -(-stop // ALIGNMENT) * ALIGNMENT
            return False

        pickle.dump((pickle.dumps(value, 5, buffer_callback=in_band), places), self.file)
        self.file.flush()

    def get(self) -> Any:
        """What was put; its arrays can be read until the next is. Raises EOFError where the other side has ended."""
        data, places = pickle.load(self.file)
        return pickle.loads(data, buffers=[self.memory[start:stop].toreadonly() for start, stop in places])


def _size(value: Any) -> int:
    """The bytes of the arrays in it, in shared memory."""
    sizes: list[int] = []
    pickle.dumps(value, 5, buffer_callback=lambda buffer: sizes.append(buffer.raw().nbytes + ALIGNMENT))
    return sum(sizes)


def _pipe() -> tuple[int, int]:
    into, out = os.pipe()
    return _beyond_standard(into), _beyond_standard(out)


def _beyond_standard(descriptor: int) -> int:
    """The same open file under a number from 3: a process that lacks standard input is given 0 for its next file.

    Another process has files of its own under 0 to 2.
    """
    if descriptor > 2:
        return descriptor
    import fcntl  # here, since it is POSIX's alone

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _shared(size: int) -> int:
    """The file descriptor of so many bytes of memory that can be shared, or a page of it."""
    try:
        descriptor = os.memfd_create("npsnn")
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    descriptor = _beyond_standard(descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(bytes(max(size, mmap.PAGESIZE)))  # now, where a full disk is an error: later it would be a signal
    return descriptor


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
    into, out = _Channel(os.fdopen(requests, "rb"), shared_in), _Channel(os.fdopen(answers, "wb"), shared_out)
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
