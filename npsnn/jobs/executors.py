"""Executors by name: who does jobs that are independent of one another."""

import importlib
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from npsnn.validate import check_choice, check_count

KINDS = ("processes", "threads", "mpi")
ADDRESSES = ("tcp://", "tls://")
"""How the address of a scheduler of Dask begins, which may stand in the place of a name."""
PATIENCE = 10
"""Seconds to wait for a scheduler of Dask."""


class Serial(Executor):
    """An executor that does each job when it is submitted, in this thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(kind: str = "processes", jobs: int = 1) -> Iterator[Executor]:
    """An executor for the block; where the block fails, jobs that wait are cancelled and processes are ended.

    kind: "processes", "threads", "mpi" for the ranks that a launcher started, of which rank 0 hands out the jobs, or
        the address of a scheduler of Dask such as "tcp://alpha:8786".
    jobs: number of jobs at a time; one is done in this process. Ranks and Dask decide by themselves.
    Raises ValueError for another kind or number, and where the library or the launcher is missing, OSError where no
    scheduler answers.
    """
    if not is_address(kind):
        check_choice("executor", kind, KINDS)
    check_count("jobs", jobs)
    with _of_ranks() if kind == "mpi" else _of_dask(kind) if is_address(kind) else _own(kind, jobs) as made:
        yield made


def is_address(kind: str) -> bool:
    """Whether an executor's name is the address of a scheduler of Dask."""
    return kind.startswith(ADDRESSES)


def is_lost(error: BaseException) -> bool:
    """Whether an error says that a worker was killed, and not what a job raised."""
    dask = sys.modules.get("distributed")
    return isinstance(error, (BrokenExecutor, *((dask.KilledWorker,) if dask else ())))


@contextmanager
def _own(kind: str, jobs: int) -> Iterator[Executor]:
    if jobs == 1:
        made: Executor = Serial()
    elif kind == "threads":
        made = ThreadPoolExecutor(jobs)
    else:  # spawned: a forked process would share the locks of threads that it does not have
        made = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)
    try:
        yield made
    except BaseException:
        made.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children() if isinstance(made, ProcessPoolExecutor) else ():
            child.terminate()
        raise
    made.shutdown()


def _begin() -> None:
    """Leave Ctrl-C to the process that gave the jobs, and warn as it does: in a line, and not of overflows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", RuntimeWarning)  # a training that diverges says so itself
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"


@contextmanager
def _of_ranks() -> Iterator[Executor]:
    """All ranks but this one, as a pool of mpi4py."""
    from npsnn.workers import ranks

    crew = ranks.idle()
    if crew is None:
        raise ValueError("executor mpi does jobs on the ranks of a launcher: put mpiexec -n 3 before the command")
    pool = importlib.import_module("mpi4py.futures").MPICommExecutor(crew.comm, 0)
    with crew.at_work():
        ranks.abreast(crew, _work_in_pool, b"")
        made: Executor = pool.__enter__()
        try:
            yield made
        except Exception:  # jobs that have begun end by themselves
            made.shutdown(cancel_futures=True)
            raise
        except BaseException:
            crew.abandon()
            raise
        made.shutdown()


def _work_in_pool(crew: Any, given: bytes) -> None:
    """Do the jobs of rank 0's pool until it is shut down."""
    with importlib.import_module("mpi4py.futures").MPICommExecutor(crew.comm, 0):
        pass


@contextmanager
def _of_dask(address: str) -> Iterator[Executor]:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise ValueError(f"executor {address} needs Dask, which is not installed: pip install 'npsnn[dask]'") from None
    with distributed.Client(address, timeout=PATIENCE) as client:
        made: Executor = client.get_executor(pure=False)
        try:
            yield made
        except BaseException:
            made.shutdown(wait=False)  # which cancels what waits
            raise
