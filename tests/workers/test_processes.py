"""Work in other processes: the results of calls, errors that come through, and nothing left behind."""

import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from npsnn.workers import processes
from npsnn.workers.processes import Processes


def spread(workers: Processes, f: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> list[Any]:
    """The results, in order, as they are when they are combined."""
    found: list[Any] = []
    workers.spread(
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
            for found, job in zip(spread(workers, np.multiply, jobs[:count]), jobs[:count], strict=True):
                assert found.dtype == np.float32 and np.array_equal(found, np.multiply(*job))
        assert len(workers._others) == threads - 1
        assert spread(workers, math.gcd, [(12, 18), (7, 21), (4, 9)]) == [6, 7, 1]


def test_each_further_thread_is_another_process() -> None:
    with Processes(3) as workers:
        found = spread(workers, os.getpid, [()] * 6)
        assert found[0] == os.getpid() and len(set(found[:3])) == 3 and found[3:] == found[:3]
        assert found[1:3] == [other.process.pid for other in workers._others]


@pytest.mark.slow
def test_arrays_may_outgrow_the_memory_that_is_shared() -> None:
    rng = np.random.default_rng(1)
    with Processes(2) as workers:
        for size in (10, 1000, 300_000, 5):
            arrays = [rng.standard_normal(size) for _ in range(4)]
            jobs = [(np.stack([a, a]).T, a[::-1, None]) for a in arrays]  # and may lie in memory in any order
            for (x, y), found in zip(jobs, spread(workers, np.subtract, jobs), strict=True):
                assert np.array_equal(found, x - y)


def test_what_a_function_brings_along_stays() -> None:
    ones = np.ones(50)
    with Processes(2) as workers:
        jobs = [(np.full(50, float(i)),) for i in range(8)]
        found = spread(workers, partial(np.add, ones), jobs)
        assert [x.tolist() for x in found] == [[1.0 + i] * 50 for i in range(8)]
        assert [x.tolist() for x in spread(workers, partial(np.add, 2 * ones), jobs[:2])] == [[2.0] * 50, [3.0] * 50]


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_an_exception_comes_through_and_the_next_work_is_done(failing: int) -> None:
    jobs = [(4.0,)] * 5
    jobs[failing] = (-1.0,)
    with Processes(3) as workers:
        with pytest.raises(ValueError, match=r"math domain error|nonnegative") as caught:
            spread(workers, math.sqrt, jobs)
        # of three jobs the first is this process's own
        assert [note.count("Traceback") for note in getattr(caught.value, "__notes__", [])] == [1] * (failing % 3 > 0)
        assert spread(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


def test_an_exception_in_combine_ends_the_work() -> None:
    with Processes(2) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.spread(math.sqrt, lambda i: (4.0,), 4, lambda x: 1 / 0)
        assert spread(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_process_that_has_ended_is_told_of_and_replaced(when: str) -> None:
    with Processes(2) as workers:
        spread(workers, os.getpid, [(), ()])
        other = workers._others[0].process
        if when == "before":
            other.kill()
            other.wait()
        with pytest.raises(ChildProcessError, match="exit code -9: try 1 thread"):
            spread(workers, os.kill, [(os.getpid(), 0), (other.pid, signal.SIGKILL)])
        assert spread(workers, math.sqrt, [(9.0,), (16.0,)]) == [3.0, 4.0]


def test_what_another_process_is() -> None:
    """One thread of BLAS, deaf to interrupts, which are for the one that asks, and with this one's modules."""
    with Processes(2) as workers:
        blas = [p["num_threads"] for p in spread(workers, threadpool_info, [(), ()])[1] if p["user_api"] == "blas"]
        assert blas and set(blas) == {1}
        here, there = spread(workers, signal.pthread_sigmask, [(signal.SIG_BLOCK, ())] * 2)
        assert there - here == {signal.SIGINT, signal.SIGTERM}
        path = spread(workers, eval, [("__import__('sys').path",)] * 2)[1]
        assert path == [*sys.path, str(Path(processes.__file__).parents[2])]


def test_the_processes_end_with_the_work() -> None:
    with Processes(3) as workers:
        spread(workers, math.sqrt, [(4.0,)] * 3)
        others = [other.process for other in workers._others]
        assert [other.poll() for other in others] == [None, None]
    assert all(other.poll() is not None for other in others)


def test_without_a_program_to_start_threads_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with Processes(2) as workers:
        assert spread(workers, lambda: os.getpid(), [()] * 3) == [os.getpid()] * 3
    monkeypatch.setenv("NPSNN_DEBUG", "1")
    with pytest.warns(UserWarning, match=r"no sys.executable to start processes: threads do their work"):
        workers = Processes(2)
    with workers:
        assert spread(workers, lambda: os.getpid(), [()] * 3) == [os.getpid()] * 3


LACKING = """
import math, sys
from npsnn.workers.processes import Processes
with Processes(3) as workers:
    found = []
    workers.spread(math.sqrt, lambda i: (float(i * i),), 6, found.append)
sys.exit(0 if found == [0, 1, 2, 3, 4, 5] else 9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_the_processes_do_without_standard_streams(closed: str) -> None:
    """What they share must not lie under the numbers 0 to 2, which are other files' in the other process."""
    command = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", LACKING]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_a_system_that_refuses_a_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **options: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    before = len(list(Path("/dev/fd").iterdir()))
    with Processes(2) as workers, pytest.raises(OSError, match=r"refuses another process \(Resource .*\): try fewer"):
        spread(workers, math.sqrt, [(4.0,), (9.0,)])
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.slow
def test_memory_is_shared_by_a_file_where_the_system_has_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(name: str) -> int:
        raise PermissionError("forbidden in this sandbox")

    monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Processes(2) as workers:
        assert spread(workers, math.sqrt, [(4.0,), (9.0,)]) == [2.0, 3.0]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with Processes(2) as workers, pytest.raises(OSError, match="missing"):
        spread(workers, math.sqrt, [(4.0,), (9.0,)])


KILLED = """
import math, os, signal
from npsnn.workers.processes import Processes
with Processes(3) as workers:
    workers.spread(math.sqrt, lambda i: (4.0,), 3, print)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_the_processes_do_not_survive_the_one_that_asks() -> None:
    """They hold its standard error open, which would otherwise be waited for."""
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL and done.stderr == ""
