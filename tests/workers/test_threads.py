"""Jobs on threads: results in the order of the jobs, errors that come through, BLAS held and let go."""

import os
import sys
import threading
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from npsnn import host
from npsnn.host import available_cores
from npsnn.runs.environment import environment
from npsnn.workers.base import gathered, micro_batches
from npsnn.workers.threads import Threads

THREADS = [1, 2, 3, 7]


def blas_threads() -> list[int]:
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


@pytest.mark.parametrize("threads", THREADS)
def test_results_come_in_the_order_of_the_jobs(threads: int) -> None:
    delays = np.random.default_rng(threads).uniform(0, 2e-3, 40)

    def job(i: int) -> int:
        sleep(delays[i])
        return i

    with Threads(threads) as workers:
        assert gathered(workers, job, 40) == list(range(40))
        assert gathered(workers, job, 0) == []


@pytest.mark.parametrize("threads", THREADS)
def test_sums_do_not_depend_on_the_threads(threads: int) -> None:
    numbers = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(200)[::-1].clip(0, 30)
    total, combining = [0.0], threading.Lock()

    def combine(x: float) -> None:
        assert combining.acquire(blocking=False), "one result at a time"
        total[0] += x
        combining.release()

    with Threads(threads) as workers:
        workers.reduce(lambda i: float(numbers[i]), lambda i: (i,), len(numbers), combine)
    expected = 0.0
    for x in numbers:
        expected += float(x)
    assert total[0] == expected


@pytest.mark.parametrize("threads", THREADS)
def test_parts_together_add_up_what_they_have(threads: int) -> None:
    at_work, most = [0], [0]
    numbers = np.random.default_rng(0).standard_normal((3, 5)) * 10.0 ** np.arange(5)

    def part(i: int, total: Any) -> list[float]:
        found = []
        for round in range(3):
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            sleep(1e-3 * ((i + round) % 3))
            at_work[0] -= 1
            found.append(total(numbers[round, i]))
        return found

    with Threads(threads) as workers:
        found = workers.together(part, lambda i: (i,), 5)
        assert workers.together(lambda i, total: total(np.ones(2)).sum(), lambda i: (i,), 1) == [2]
    expected = [sum(row[1:], start=row[0]) for row in numbers]
    assert found == [expected] * 5
    assert most[0] <= threads


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_together_ends_all(failing: int) -> None:
    def part(i: int, total: Any) -> Any:
        if i == failing:
            raise KeyboardInterrupt("enough")
        return total(i)

    with Threads(2) as workers:
        with pytest.raises(KeyboardInterrupt, match="enough"):
            workers.together(part, lambda i: (i,), 4)
        assert workers.together(lambda i, total: total(i), lambda i: (i,), 4) == [6] * 4
    with pytest.raises(RuntimeError, match="inside a with statement"):
        Threads(2).together(part, lambda i: (i,), 1)


def test_too_few_threads_to_be_together_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait already must not wait for ever."""
    start, asked = threading.Thread.start, list[threading.Thread]()

    def refused(self: threading.Thread) -> None:
        asked.append(self)
        if len(asked) == 3:
            raise RuntimeError("can't start new thread")
        start(self)

    with Threads(1) as workers:
        monkeypatch.setattr(threading.Thread, "start", refused)
        with pytest.raises(OSError, match=r"the system refuses a thread.*can't start new thread.*: try fewer threads"):
            workers.together(lambda i, total: total(i), lambda i: (i,), 4)
    assert len(asked) == 3 and not any(thread.is_alive() for thread in asked)


def test_all_threads_work_and_the_caller_is_one_of_them() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def job(i: int) -> str:
        barrier.wait()
        return threading.current_thread().name

    with Threads(3) as workers:
        names = gathered(workers, job, 3)
    assert len(set(names)) == 3 and threading.current_thread().name in names


@pytest.mark.parametrize("threads", THREADS)
def test_the_first_exception_in_order_comes_through(threads: int) -> None:
    done: list[int] = []

    def job(i: int) -> int:
        sleep(0.01 if i == 3 else 0)
        if i >= 3:
            raise KeyError(i)
        return i

    with Threads(threads) as workers:
        with pytest.raises(KeyError) as caught:
            workers.reduce(job, lambda i: (i,), 50, done.append)
        assert caught.value.args == (3,)
        assert done == [0, 1, 2]
        assert gathered(workers, lambda i: i * i, 5) == [0, 1, 4, 9, 16], "the threads are there for the next work"


@pytest.mark.parametrize("threads", THREADS)
def test_an_exception_stops_the_work_early(threads: int) -> None:
    started: list[int] = []

    def job(i: int) -> None:
        started.append(i)
        raise RuntimeError("no")

    with Threads(threads) as workers, pytest.raises(RuntimeError, match="no"):
        gathered(workers, job, 1000)
    assert len(started) <= threads


@pytest.mark.parametrize("threads", THREADS)
def test_an_exception_in_combine_comes_through(threads: int) -> None:
    def combine(i: int) -> None:
        if i == 4:
            raise ZeroDivisionError

    with Threads(threads) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.reduce(lambda i: i, lambda i: (i,), 20, combine)
        assert gathered(workers, lambda i: i, 3) == [0, 1, 2]


class Counted:
    """A result that knows how many of its kind are alive."""

    alive, most, lock = 0, 0, threading.Lock()

    def __init__(self) -> None:
        with Counted.lock:
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        with Counted.lock:
            Counted.alive -= 1


def test_few_results_wait_for_a_slow_one() -> None:
    Counted.alive = Counted.most = 0
    threads = 3

    def job(i: int) -> Counted:
        sleep(0.1 if i == 0 else 0)
        return Counted()

    with Threads(threads) as workers:
        workers.reduce(job, lambda i: (i,), 200, lambda result: None)
    assert Counted.most <= 3 * threads


@pytest.mark.parametrize("threads", [0, -1])
def test_there_must_be_a_thread(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be >= 1, got {threads}"):
        Threads(threads)


def test_there_are_no_more_threads_than_a_machine_could_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"at most \d+, got 20000: this process may use \d+ core"):
        Threads(20_000)
    monkeypatch.setattr(host, "available_cores", lambda: 1024)
    assert Threads(1024).threads == 1024


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Every thread that the test starts: a count of all threads has those that an earlier test has let end as well."""
    start, threads = threading.Thread.start, list[threading.Thread]()

    def noted(self: threading.Thread) -> None:
        threads.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", noted)
    return threads


def test_there_are_no_more_threads_than_jobs(started: list[threading.Thread]) -> None:
    with Threads(200) as workers:
        assert not started
        assert gathered(workers, lambda i: len(started), 3) == [2, 2, 2]
        assert gathered(workers, lambda i: len(started), 1) == [2], "the threads are there for the next work"


def test_none_is_all_cores() -> None:
    assert Threads().threads == available_cores() >= 1


def test_blas_is_held_to_one_thread_and_let_go_again() -> None:
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        assert before and set(before) == {2}
        with Threads(2) as workers:
            assert blas_threads() == before
            assert [set(b) for b in gathered(workers, lambda i: blas_threads(), 4)] == [{1}] * 4
        assert blas_threads() == before
        with pytest.raises(RuntimeError), Threads(2):
            raise RuntimeError
        assert blas_threads() == before


def test_the_threads_end_with_the_work(started: list[threading.Thread]) -> None:
    for _ in range(5):
        with Threads(4) as workers:
            gathered(workers, lambda i: i, 8)
    for thread in started:
        thread.join(timeout=5)
    assert len(started) == 15 and not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize(("examples", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (12, 4), (5, 1)])
def test_micro_batches_cover_everything_once(examples: int, size: int) -> None:
    parts = micro_batches(examples, size)
    assert [i for s in parts for i in range(examples)[s]] == list(range(examples))
    assert all(s.stop - s.start == size for s in parts[:-1])
    assert all(s.stop <= examples for s in parts)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_only_the_cores_that_may_be_used_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 6})
    monkeypatch.setattr(host, "OWN_CONTROL_GROUPS", Path("/nowhere"))
    assert available_cores() == 3


def test_without_threadpoolctl_one_thread_works_and_several_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with Threads(1) as workers:
        assert gathered(workers, lambda i: 2 * i, 3) == [0, 2, 4]
    with pytest.raises(ValueError, match=r"several threads need threadpoolctl.* set threads to 1"), Threads(2):
        pass
    assert environment()["blas"] == []
