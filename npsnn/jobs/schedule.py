"""Jobs done by any executor: what is done is skipped, what is begun goes on, what failed is said.

with executors.executor("processes", 2) as executor:
    for event in schedule.run(jobs, is_done, perform, executor): print(event)
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from npsnn.jobs.executors import Serial, is_lost
from npsnn.workers import pool

KILLED = "a process was killed, or could not start, as where a program does this outside of if __name__ == '__main__'"
DONE, FAILED, LEFT = "done", "failed", "not run"


class Job(Protocol):
    """What is to be done once."""

    @property
    def key(self) -> str:
        """The name by which what is done is found again; two jobs have one only where they are equal."""
        ...

    @property
    def needs(self) -> Sequence[Any]:
        """The jobs that must be done before."""
        ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Event(Generic[J]):
    """What became of a job.

    job: the job.
    state: "done", "failed" or "not run".
    why: why it failed, or which job that it needs has.
    earlier: whether it was done before this program began.
    """

    job: J
    state: str
    why: str = ""
    earlier: bool = False


class _Work(Generic[J]):
    """A job and what does it. Another process that reads its pickle first loads the plugins of this one."""

    def __init__(self, do: Callable[[J], str], job: J) -> None:
        self.do, self.job = do, job

    def __call__(self) -> str:
        return self.do(self.job)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (dict(pool.FIRST), pickle.dumps((self.do, self.job)))


def _arrived(first: Mapping[str, Any], sent: bytes) -> "_Work[Any]":
    """The work that another process has sent, once the calls are made that must come before."""
    for name, call in first.items():
        if pool.FIRST.get(name) != call:
            f, arguments = call
            f(*arguments)
            pool.FIRST[name] = call
    return _Work(*pickle.loads(sent))


def with_needs(jobs: Iterable[J]) -> list[J]:
    """The jobs and all that they need, each once, every one after those that it needs."""
    found: dict[str, J] = {}

    def add(job: J) -> Iterator[J]:
        if job.key not in found:
            for needed in job.needs:
                yield from add(needed)
            found[job.key] = job
            yield job

    return [job for wanted in jobs for job in add(wanted)]


def run(
    jobs: Iterable[J], is_done: Callable[[J], bool], do: Callable[[J], str], executor: Executor
) -> Iterator[Event[J]]:
    """Do the jobs and all that they need; yields what became of each as it is known.

    A job begins when those that it needs are done, in the order of `jobs` as far as the executor allows. A job of which
    one has failed is not run. Where the caller stops, jobs that wait are cancelled.

    jobs: what is wanted.
    is_done: whether a job was done before.
    do: does a job whose needs are done, and returns "" or why it failed; it goes on with a job that was stopped.
    executor: any executor whose workers see the files that `do` reads and writes.
    Raises ChildProcessError where a worker was killed; what it had begun goes on in the next try.
    """
    waiting, ended = [], dict[str, str]()
    for job in with_needs(jobs):
        if is_done(job):
            ended[job.key] = DONE
            yield Event(job, DONE, earlier=True)
        else:
            waiting.append(job)
    running: dict[Future[str], J] = {}
    try:
        while waiting or running:
            ready = next((job for job in waiting if all(n.key in ended for n in job.needs)), None)
            if ready is not None:
                waiting.remove(ready)
                if odd := [n.key for n in ready.needs if ended[n.key] != DONE]:
                    ended[ready.key] = LEFT
                    yield Event(ready, LEFT, f"{odd[0]} is not done")
                    continue
                running[executor.submit(_Work(do, ready))] = ready
                if not isinstance(executor, Serial):
                    continue  # more may be ready; a serial executor has done this one already
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, why = running.pop(future), _result(future)
                ended[job.key] = FAILED if why else DONE
                yield Event(job, ended[job.key], why)
    finally:
        for future in running:
            future.cancel()


def _result(future: "Future[str]") -> str:
    """What a job returned; raises ChildProcessError where its worker was killed, and else what the job raised."""
    try:
        return future.result()
    except Exception as error:
        if is_lost(error):
            raise ChildProcessError(f"{KILLED}; the same command goes on where it was") from error
        raise
