"""CUDA graphs of the double: while a stream is captured every operation is noted, and what would wait is refused.

A launch does the noted operations again, on the same arrays and with the same numbers: a number of the host that
differs between two runs, and is no data, gives wrong results then, as on a GPU. A GPU only notes during a capture, so
what the double computed meanwhile is taken back at the end: old arrays get their contents back, new ones hold NaN.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

_state = threading.local()
_streams = count(1)
_watched: list["Kernel"] | None = None


@dataclass(frozen=True)
class Kernel:
    """A kernel that a GPU would start.

    read, written: bytes that it must move, each number once, however often it meets a number.
    flops: multiplications and additions of a product of matrices; those of other kernels are not counted.
    """

    name: str
    read: int
    written: int
    flops: int = 0

    @staticmethod
    def of(name: str, read: Any, written: Any) -> "Kernel":
        """Of the arrays in these lists; what is no array counts nothing."""
        return Kernel(name, *(sum(map(moved, _arrays(values))) for values in (read, written)))


def moved(array: np.ndarray) -> int:
    """Bytes of the numbers in an array, each once: windows that overlap are one image."""
    if not array.size:
        return 0
    steps = [(abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if s and n > 1]
    span = sum(s * (n - 1) for s, n in steps) + array.itemsize
    return min(prod(n for _, n in steps) * array.itemsize, span)


@contextmanager
def launches() -> Iterator[list[Kernel]]:
    """The kernels that are started meanwhile: a view starts none, a fused function one, a graph none."""
    global _watched
    before, _watched = _watched, []
    try:
        yield _watched
    finally:
        _watched = before


def refuse(what: str) -> None:
    """Raise RuntimeError while a stream is captured, as CuPy does for what needs the host."""
    if _capture() is not None:
        raise RuntimeError(f"the current stream is capturing, so {what} is not allowed")


def noted(
    compute: Callable[[], Any],
    arguments: Any,
    targets: Iterable[np.ndarray] = (),
    kernel: Callable[[list[np.ndarray]], Kernel] | None = None,
) -> Any:
    """What compute() gives, noted for the graph unless it is only views of the arguments.

    compute: reads NumPy arrays, and writes to the targets or to new ones.
    arguments: the NumPy arrays that it reads, in whatever lists.
    targets: the arrays that it writes to.
    kernel: says what a GPU starts, from the new arrays; None where it starts nothing.
    """
    capture, targets = _capture(), list(targets)
    if capture is not None:
        capture.before += [(target, target.copy()) for target in targets]
    result = compute()
    given = list(_arrays(arguments))
    new = [r for r in _arrays(result) if not any(np.may_share_memory(r, a) for a in given)]
    if not new and not targets:
        return result
    if kernel is not None and _watched is not None:
        _watched.append(kernel(new))
    if capture is not None:
        capture.new += new

        def again() -> None:
            for old, fresh in zip(_arrays(result), _arrays(compute()), strict=True):
                if any(old is n for n in new):
                    old[...] = fresh

        capture.operations.append(again)
    return result


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _arrays(v)


class Capture:
    """What was noted since `begin_capture`."""

    def __init__(self) -> None:
        self.operations: list[Callable[[], None]] = []
        self.before: list[tuple[np.ndarray, np.ndarray]] = []
        self.new: list[np.ndarray] = []

    def take_back(self) -> None:
        for target, content in reversed(self.before):
            target[...] = content
        for array in self.new:
            array[...] = np.nan if array.dtype.kind in "fc" else 1


def _capture() -> Capture | None:
    return getattr(_state, "capture", None)


class Graph:
    """The noted operations."""

    def __init__(self, operations: list[Callable[[], None]]) -> None:
        self.operations = operations

    def launch(self, stream: Any = None) -> None:
        refuse("the launch of another graph")
        for again in self.operations:
            again()

    def upload(self, stream: Any = None) -> None:
        return


class Stream:
    """`with stream:` makes it this thread's current one; only the current one can be captured."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr, self.before = 0 if null else next(_streams), [NULL if not null else self]

    def __enter__(self) -> "Stream":
        self.before.append(current())
        _state.stream = self
        return self

    def __exit__(self, *error: object) -> None:
        _state.stream = self.before.pop()

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert current() is self and _capture() is None
        _state.capture = Capture()

    def end_capture(self) -> Graph:
        capture = _capture()
        if capture is None:
            raise RuntimeError("cudaErrorIllegalState: the stream is not capturing")
        _state.capture = None
        capture.take_back()
        return Graph(capture.operations)

    def is_capturing(self) -> bool:
        return _capture() is not None

    def synchronize(self) -> None:
        refuse("waiting for the stream")


NULL: Any = None
NULL = Stream(null=True)


def current() -> Stream:
    stream: Stream = getattr(_state, "stream", NULL)
    return stream


class MemoryPool:
    """A pool that counts nothing."""

    def __init__(self, allocator: Any = None) -> None:
        self.allocator = allocator

    def malloc(self, size: int) -> Any:
        raise AssertionError("the double takes its memory from NumPy")

    def free_all_blocks(self) -> None:
        return

    def used_bytes(self) -> int:
        return 0

    total_bytes = used_bytes


class Event:
    """A point in the order of work: here everything is done at once."""

    def record(self, stream: Any = None) -> None:
        refuse("the record of an event")

    def synchronize(self) -> None:
        refuse("waiting for an event")


def names() -> SimpleNamespace:
    """What `cupy.cuda` has of this."""
    return SimpleNamespace(
        Stream=Stream,
        Graph=Graph,
        MemoryPool=MemoryPool,
        Event=Event,
        alloc_pinned_memory=bytearray,
        get_current_stream=current,
        using_allocator=lambda malloc=None: nullcontext(),
    )
