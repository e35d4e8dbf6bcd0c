"""What computes the parts of something: threads, processes and, one day, ranks of several machines."""

from collections.abc import Callable
from copy import deepcopy
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")

Total = Callable[[Any], Any]
"""The sum, in the order of the parts, of what all parts give their calls of it; each waits there for the others."""


class Workers(Protocol):
    """The protocol of everything that works through jobs, inside of a with statement.

    Results do not depend on how many work, and on who does which job: they are combined in the order of the jobs.

    threads: how many work at a time, over all ranks.
    ranks: among how many ranks the results of a job are shared.
    """

    threads: int
    ranks: int

    def reduce(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine(result) one at a time in that order.

        f: what to compute; processes get it once, as long as it is the same object.
        arguments: the arguments of a job, by its number.
        jobs: the number of jobs.
        combine: takes one result; it must copy the arrays that it keeps, whose memory may be used again.
        """

    def together(self, f: Callable[..., T], arguments: Callable[[int], tuple[Any, ...]], parts: int) -> list[T]:
        """The results of f(*arguments(i), total) for each part, which meet in `total`: see `Total`.

        All parts must call total equally often.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def gathered(workers: Workers, f: Callable[[int], T], jobs: int) -> list[T]:
    """[f(0), ..., f(jobs - 1)], of results that are no arrays."""
    results: list[T] = []
    workers.reduce(f, lambda i: (i,), jobs, results.append)
    return results


def each_slice(
    workers: Workers,
    f: Callable[..., Any],
    arguments: Callable[[slice], tuple[Any, ...]],
    slices: list[slice],
    progress: Callable[[int], None] | None = None,
    note: Callable[[slice, Any], None] | None = None,
) -> list[Any]:
    """f(*arguments(s)) of each slice of some examples, in order.

    progress: is told how many examples were done.
    note: is given each slice with its result, in order, as soon as the results before it are there.
    """
    results: list[Any] = []

    def collect(result: Any) -> None:
        done = slices[len(results)]
        results.append(deepcopy(result))  # its arrays may lie in memory that another process shares
        if note:
            note(done, results[-1])
        if progress:
            progress(done.stop - done.start)

    workers.reduce(f, lambda i: arguments(slices[i]), len(slices), collect)
    return results


def micro_batches(examples: int, size: int) -> list[slice]:
    """Slices of `size` examples, the last of them perhaps shorter."""
    return [slice(i, min(i + size, examples)) for i in range(0, examples, size)]
