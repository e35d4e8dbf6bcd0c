"""Interrupts that come amid what must be done whole, and passes that heed them."""

import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from small_networks import convolutional, images

from npsnn.interrupts import Cancelled, cancelled_where, heed, noted, uninterrupted
from npsnn.layers.moments import EXPECTATION
from npsnn.objectives import cross_entropy


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """The usual handler of Ctrl-C, which jobs in the background of a shell lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler, "the handler was put back"


def test_an_interrupt_comes_at_the_end_of_what_must_be_whole() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("whole")
    assert done == ["whole"]


def test_an_error_is_not_hidden_by_an_interrupt_that_waits() -> None:
    with pytest.raises(KeyError), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise KeyError


def test_blocks_may_stand_in_one_another() -> None:
    inner: list[BaseException] = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        with noted(inner.append):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert len(inner) == 0, "the outer block has it already"


def test_a_thread_that_gets_no_signals_is_left_alone() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_each_pass_of_a_network_heeds(when: str) -> None:
    network, x = convolutional(), images(2)
    passes = [0]

    def objective(m: object, labels: object) -> object:
        passes[0] += 1
        return cross_entropy(m, labels)  # type: ignore[arg-type]

    labels = np.zeros(2, int)
    with pytest.raises(Cancelled), cancelled_where(lambda: when == "forward" or passes[0] > 0):
        network.loss_gradient(x, labels, EXPECTATION, objective)  # type: ignore[arg-type]
    assert passes[0] == (when == "backward")
    heed()
    network.loss_gradient(x, labels, EXPECTATION, cross_entropy)
