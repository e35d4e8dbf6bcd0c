"""Executors by name: who does the jobs of a reproduction."""

import importlib
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

from npsnn.reproduce.schedule import Serial
from npsnn.validate import check_choice, check_count

KINDS = ("processes", "threads", "mpi")


@contextmanager
def executor(kind: str = "processes", jobs: int = 1) -> Iterator[Executor]:
    """An executor for the block; where the block fails, jobs that wait are cancelled and processes are ended.

    kind: "processes", "threads", or "mpi" for mpi4py's, whose number of workers the launcher decides.
    jobs: number of jobs at a time; one is done in this process.
    Raises ValueError for another kind or number, and where mpi4py is missing.
    """
    check_choice("executor", kind, KINDS)
    check_count("jobs", jobs)
    made = _mpi() if kind == "mpi" else _own(kind, jobs)
    try:
        yield made
    except BaseException:
        made.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children() if isinstance(made, ProcessPoolExecutor) else ():
            child.terminate()
        raise
    made.shutdown()


def _own(kind: str, jobs: int) -> Executor:
    if jobs == 1:
        return Serial()
    if kind == "threads":
        return ThreadPoolExecutor(jobs)
    # spawned: a forked process would share the locks of threads that it does not have
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _ignore_interrupts)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that gave the jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _mpi() -> Executor:
    try:
        futures = importlib.import_module("mpi4py.futures")
    except ImportError:
        raise ValueError("executor mpi needs mpi4py, which is not installed: pip install mpi4py, or --jobs N") from None
    found: Executor = futures.MPIPoolExecutor()
    return found
