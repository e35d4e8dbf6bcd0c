"""Work in other processes: the results of calls, errors that come through, and nothing left behind."""

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from npsnn.workers import pool
from npsnn.workers.processes import Processes


@pytest.fixture
def _empty_pool() -> None:
    """No process that waits from earlier work."""
    pool._POOL.end()


def reduced(workers: Processes, f: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> list[Any]:
    """The results, in order, as they are when they are combined."""
    found: list[Any] = []
    workers.reduce(
        f, lambda i: jobs[i], len(jobs), lambda x: found.append(x.copy() if isinstance(x, np.ndarray) else x)
    )
    return found


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_those_of_calls_and_in_order(threads: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, n + 1)).astype(np.float32) for n in range(7)]
    jobs = [(a, np.float32(i)) for i, a in enumerate(arrays)]
    with Processes(threads) as workers:
        for count in (0, 1, 5, 7):
            for found, job in zip(reduced(workers, np.multiply, jobs[:count]), jobs[:count], strict=True):
                assert found.dtype == np.float32 and np.array_equal(found, np.multiply(*job))
        assert len(workers._others) == threads - 1
        assert reduced(workers, math.gcd, [(12, 18), (7, 21), (4, 9)]) == [6, 7, 1]


def test_each_further_thread_is_another_process() -> None:
    with Processes(3) as workers:
        found = reduced(workers, os.getpid, [()] * 6)
        others = [other.process.pid for other in workers._others]
        assert found[:3] == [os.getpid(), *others] and set(found) == {os.getpid(), *others}


@pytest.mark.slow
def test_arrays_may_outgrow_the_memory_that_is_shared() -> None:
    rng = np.random.default_rng(1)
    with Processes(2) as workers:
        for size in (10, 1000, 300_000, 5):
            arrays = [rng.standard_normal(size) for _ in range(4)]
            jobs = [(np.stack([a, a]).T, a[::-1, None]) for a in arrays]  # and may lie in memory in any order
            for (x, y), found in zip(jobs, reduced(workers, np.subtract, jobs), strict=True):
                assert np.array_equal(found, x - y)


def test_what_a_function_brings_along_stays() -> None:
    ones = np.ones(50)
    with Processes(2) as workers:
        jobs = [(np.full(50, float(i)),) for i in range(8)]
        found = reduced(workers, partial(np.add, ones), jobs)
        assert [x.tolist() for x in found] == [[1.0 + i] * 50 for i in range(8)]
        assert [x.tolist() for x in reduced(workers, partial(np.add, 2 * ones), jobs[:2])] == [[2.0] * 50, [3.0] * 50]


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_an_exception_comes_through_and_the_next_work_is_done(failing: int) -> None:
    jobs = [(4.0,)] * 5
    jobs[failing] = (-1.0,)
    with Processes(3) as workers:
        with pytest.raises(ValueError, match=r"math domain error|nonnegative") as caught:
            reduced(workers, math.sqrt, jobs)
        notes = [note.count("Traceback") for note in getattr(caught.value, "__notes__", [])]
        # the first job is this process's own, the next two are the others', and the rest are of whoever is free
        assert notes in ([[]], [[1]], [[], [1]])[(failing > 0) + (failing > 2)]
        assert reduced(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


def test_an_exception_in_combine_ends_the_work() -> None:
    with Processes(2) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.reduce(math.sqrt, lambda i: (4.0,), 4, lambda x: 1 / 0)
        assert reduced(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_process_that_has_ended_is_told_of_and_replaced(when: str) -> None:
    with Processes(2) as workers:
        reduced(workers, os.getpid, [(), ()])
        other = workers._others[0].process
        if when == "before":
            other.kill()
            other.wait()
        with pytest.raises(ChildProcessError, match="exit code -9: try 1 thread"):
            reduced(workers, os.kill, [(os.getpid(), 0), (other.pid, signal.SIGKILL)])
        assert reduced(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


def test_what_another_process_is() -> None:
    """One thread of BLAS, deaf to interrupts, which are for the one that asks, and with this one's modules."""
    with Processes(2) as workers:
        blas = [p["num_threads"] for p in reduced(workers, threadpool_info, [(), ()])[1] if p["user_api"] == "blas"]
        assert blas and set(blas) == {1}
        here, there = reduced(workers, signal.pthread_sigmask, [(signal.SIG_BLOCK, ())] * 2)
        assert there - here == {signal.SIGINT, signal.SIGTERM}
        path = reduced(workers, eval, [("__import__('sys').path",)] * 2)[1]
        assert path == [*sys.path, str(Path(pool.__file__).parents[2])]


@pytest.mark.usefixtures("_empty_pool")
def test_the_processes_wait_in_a_pool_for_the_next_work() -> None:
    with Processes(3) as workers:
        reduced(workers, math.sqrt, [(4.0,)] * 3)
        others = {other.process.pid for other in workers._others}
    assert pool.waiting()
    with Processes(3) as workers:
        assert reduced(workers, math.sqrt, [(9.0,)] * 3) == [3.0] * 3
        assert {other.process.pid for other in workers._others} == others
        reduced(workers, math.sqrt, [(9.0,)] * 3)
    pool._POOL.end()
    assert not pool.waiting()


@pytest.mark.slow
def test_a_process_with_too_little_memory_is_not_taken() -> None:
    large = np.ones(50_000)
    with Processes(2) as workers:
        reduced(workers, math.sqrt, [(4.0,)] * 2)
    with Processes(2) as workers:
        assert reduced(workers, np.sum, [(large,)] * 2) == [50_000.0] * 2
        assert workers._others[0].room >= large.nbytes


@pytest.mark.usefixtures("_empty_pool")
def test_a_failure_leaves_no_process_in_the_pool_that_others_could_mistake() -> None:
    with pytest.raises(ZeroDivisionError), Processes(2) as workers:
        workers.reduce(math.sqrt, lambda i: (4.0,), 9, lambda x: 1 / 0)
    with Processes(2) as workers:
        assert reduced(workers, math.sqrt, [(float(i * i),) for i in range(9)]) == list(range(9))


def unpicklable() -> Callable[[int], int]:
    return lambda i: i * i


def test_what_cannot_be_pickled_is_done_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    with Processes(2) as workers:
        assert reduced(workers, unpicklable(), [(i,) for i in range(5)]) == [0, 1, 4, 9, 16]
        assert not workers._others
        monkeypatch.setenv("NPSNN_DEBUG", "1")
        with pytest.warns(UserWarning, match="cannot be sent to another process .*: threads do its work"):
            reduced(workers, unpicklable(), [(i,) for i in range(5)])


class Local:
    """A class that another process looks for in a module that it does not have."""

    def __call__(self, i: int) -> int:
        return 2 * i


@pytest.mark.parametrize("jobs", [2, 3, 4, 9])
def test_what_another_process_does_not_find_is_done_by_threads(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Local, "__module__", "here_alone")
    monkeypatch.setitem(sys.modules, "here_alone", sys.modules[__name__])
    monkeypatch.setenv("NPSNN_DEBUG", "1")
    with Processes(3) as workers:
        with pytest.warns(UserWarning, match=r"cannot find .*ModuleNotFoundError.*: threads do its work"):
            assert reduced(workers, Local(), [(i,) for i in range(jobs)]) == [2 * i for i in range(jobs)]
        assert reduced(workers, math.sqrt, [(float(i * i),) for i in range(jobs)]) == list(range(jobs))


@pytest.mark.usefixtures("_empty_pool")
def test_little_work_starts_no_process() -> None:
    with Processes(2, worth=60.0) as workers:
        assert reduced(workers, math.sqrt, [(float(i * i),) for i in range(9)]) == list(range(9))
        assert not workers._others
    with Processes(2, worth=1e-12) as workers:
        assert reduced(workers, math.sqrt, [(float(i * i),) for i in range(9)]) == list(range(9))
        assert workers._others


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [(0.0, 0.1), (0.1, 0.0)])
def test_results_are_in_order_whoever_is_slow(seconds: tuple[float, float]) -> None:
    with Processes(2) as workers:
        reduced(workers, math.sqrt, [(0.0,)] * 2)
        wanted = [seconds[i % 2] + i / 1000 for i in range(8)]
        start = "__import__('time').sleep({0}) or {0}".format
        assert reduced(workers, eval, [(start(s),) for s in wanted]) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("long", [0, 1, 2])
def test_an_interrupt_ends_the_jobs_of_all(long: int) -> None:
    """The long job is this process's own, or another's that this one waits for."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    job = "__import__('npsnn.interrupts').interrupts.heed() or __import__('time').sleep(0.01)"
    jobs = [(f"[{job} for _ in range({6000 if i == long else 0})]",) for i in range(4)]
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with Processes(2) as workers:
            reduced(workers, math.sqrt, [(0.0,)] * 2)
            other = workers._others[0].process
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                reduced(workers, eval, jobs)
            assert other.poll() is not None and not workers._others
            assert reduced(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_empty_pool")
def test_without_a_program_to_start_threads_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with Processes(2) as workers:
        assert reduced(workers, lambda: os.getpid(), [()] * 3) == [os.getpid()] * 3
    monkeypatch.setenv("NPSNN_DEBUG", "1")
    with pytest.warns(UserWarning, match=r"no sys.executable to start processes: threads do their work"):
        workers = Processes(2)
    with workers:
        assert reduced(workers, lambda: os.getpid(), [()] * 3) == [os.getpid()] * 3


LACKING = """
import math, sys
from npsnn.workers.processes import Processes
with Processes(3) as workers:
    found = []
    workers.reduce(math.sqrt, lambda i: (float(i * i),), 6, found.append)
sys.exit(0 if found == [0, 1, 2, 3, 4, 5] else 9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_the_processes_do_without_standard_streams(closed: str) -> None:
    """What they share must not lie under the numbers 0 to 2, which are other files' in the other process."""
    command = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", LACKING]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.usefixtures("_empty_pool")
def test_a_system_that_refuses_a_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **options: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    before = len(list(Path("/dev/fd").iterdir()))
    with Processes(2) as workers, pytest.raises(OSError, match=r"refuses another process \(Resource .*\): try fewer"):
        reduced(workers, math.sqrt, [(4.0,), (9.0,)])
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.slow
@pytest.mark.usefixtures("_empty_pool")
def test_memory_is_shared_by_a_file_where_the_system_has_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(name: str) -> int:
        raise PermissionError("forbidden in this sandbox")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Processes(2) as workers:
        assert reduced(workers, math.sqrt, [(4.0,), (9.0,)]) == [2.0, 3.0]
    pool._POOL.end()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with Processes(2) as workers, pytest.raises(OSError, match="missing"):
        reduced(workers, math.sqrt, [(4.0,), (9.0,)])


KILLED = """
import math, os, signal
from npsnn.workers.processes import Processes
with Processes(3) as workers:
    workers.reduce(math.sqrt, lambda i: (4.0,), 3, print)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_the_processes_do_not_survive_the_one_that_asks() -> None:
    """They hold its standard error open, which would otherwise be waited for."""
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL and done.stderr == ""
