"""Threads whose work nobody waits for any more: they end soon, and no result is lost."""

import os
import signal
import threading
from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest

from npsnn.interrupts import Cancelled, heed
from npsnn.workers.base import gathered
from npsnn.workers.threads import Threads

THREADS = [1, 2, 3, 7]


def pass_until(over: threading.Event) -> None:
    """What a long attack on one micro-batch does: pass after pass."""
    for _ in range(5_000):
        if over.wait(1e-3):
            return
        heed()
    raise TimeoutError("nobody ended this job")


def interrupt_once(condition: threading.Event) -> threading.Thread:
    """Ctrl-C, as soon as the condition holds."""
    thread = threading.Thread(target=lambda: condition.wait(10) and os.kill(os.getpid(), signal.SIGINT))
    thread.start()
    return thread


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """The usual handler of Ctrl-C, which jobs in the background of a shell lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.usefixtures("_ctrl_c")
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("threads", THREADS)
def test_an_interrupt_ends_jobs_at_their_next_pass(threads: int, together: bool) -> None:
    begun, never = threading.Event(), threading.Event()

    def job(i: int, total: Any = None) -> None:
        begun.set()
        pass_until(never)

    with Threads(threads) as workers:
        signalling = interrupt_once(begun)
        with pytest.raises(KeyboardInterrupt):
            workers.together(lambda i, total: job(i, total), lambda i: (i,), 3) if together else gathered(
                workers, job, 20
            )
        signalling.join()
        assert gathered(workers, lambda i: i, 3) == [0, 1, 2], "the threads are there for the next work"


@pytest.mark.usefixtures("_ctrl_c")
def test_an_interrupt_while_the_caller_waits_for_others_ends_them() -> None:
    caller, begun, never, ended = threading.get_ident(), threading.Event(), threading.Event(), []

    def job(i: int) -> None:
        if threading.get_ident() == caller:
            begun.wait(10)
            return
        begun.set()
        try:
            pass_until(never)
        finally:
            ended.append(i)

    with Threads(2) as workers:
        signalling = interrupt_once(begun)
        with pytest.raises(KeyboardInterrupt):
            gathered(workers, job, 2)
        assert len(ended) == 1, "no thread goes on behind the interrupt"
        signalling.join()


def test_an_error_ends_later_jobs_and_waits_for_earlier_ones() -> None:
    later, never, ended = threading.Event(), threading.Event(), []

    def job(i: int) -> None:
        if i == 0:
            later.wait(10)
            sleep(0.05)
            heed()
            raise KeyError(0)
        if i == 1:
            later.wait(10)
            raise KeyError(1)
        later.set()
        with pytest.raises(Cancelled):
            pass_until(never)
        ended.append(i)

    with Threads(3) as workers, pytest.raises(KeyError) as caught:
        gathered(workers, job, 3)
    assert caught.value.args == (0,), "the first in the order of the jobs, whichever came first"
    assert ended == [2]
