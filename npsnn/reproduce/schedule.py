"""The graph of jobs, done by any executor: what is done is skipped, what is begun goes on, what failed is said.

with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
    for event in schedule.run(jobs, place, executor): print(event)
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from npsnn.reproduce.jobs import Job, with_needs
from npsnn.reproduce.perform import Place, perform

DONE, FAILED, LEFT = "done", "failed", "not run"


@dataclass(frozen=True)
class Event:
    """What became of a job.

    job: the job.
    state: "done", "failed" or "not run".
    why: why it failed, or which job that it needs has.
    earlier: whether it was done before this program began.
    """

    job: Job
    state: str
    why: str = ""
    earlier: bool = False


class Serial(Executor):
    """An executor that does each job when it is submitted, in this thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run(jobs: Iterable[Job], place: Place, executor: Executor) -> Iterator[Event]:
    """Do the jobs and all that they need; yields what became of each as it is known.

    A job begins when those that it needs are done, in the order of `jobs` as far as the executor allows. A job of which
    one has failed is not run. Where the caller stops, jobs that wait are cancelled.

    jobs: what is wanted.
    place: folder, data and threads.
    executor: any executor whose workers see the folder.
    Raises ChildProcessError where a worker was killed; what it had begun goes on in the next try.
    """
    waiting, ended = [], dict[str, str]()
    for job in with_needs(jobs):
        if place.records.holds(job):
            ended[job.key] = DONE
            yield Event(job, DONE, earlier=True)
        else:
            waiting.append(job)
    running: dict[Future[str], Job] = {}
    try:
        while waiting or running:
            ready = next((job for job in waiting if all(n.key in ended for n in job.needs)), None)
            if ready is not None:
                waiting.remove(ready)
                if odd := [n.key for n in ready.needs if ended[n.key] != DONE]:
                    ended[ready.key] = LEFT
                    yield Event(ready, LEFT, f"{odd[0]} is not done")
                    continue
                running[executor.submit(perform, ready, place)] = ready
                if not isinstance(executor, Serial):
                    continue  # more may be ready; a serial executor has done this one already
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, why = running.pop(future), future.result()
                ended[job.key] = FAILED if why else DONE
                yield Event(job, ended[job.key], why)
    except BrokenProcessPool as error:
        raise ChildProcessError("a process was killed; the same command goes on where it was") from error
    finally:
        for future in running:
            future.cancel()
