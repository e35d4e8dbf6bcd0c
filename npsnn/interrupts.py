"""Interrupts: work that nobody waits for any more ends soon, and what must be done whole is."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    # what `signal` wraps, whose enums take fifty microseconds of each step of a training to say that a function is none
    import _signal as handling  # type: ignore[import-not-found]
except ImportError:
    import signal as handling

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_here = threading.local()


class Cancelled(BaseException):
    """Ends a job whose result nobody waits for any more; never leaves the workers."""


@contextmanager
def cancelled_where(pointless: Callable[[], bool]) -> Iterator[None]:
    """Have `heed` end what this thread does in the block once pointless() is true."""
    before, _here.pointless = getattr(_here, "pointless", None), pointless
    try:
        yield
    finally:
        _here.pointless = before


def heed() -> None:
    """Raise Cancelled where the job of this thread has become pointless; each layer calls it in each pass."""
    pointless = getattr(_here, "pointless", None)
    if pointless is not None and pointless():
        raise Cancelled


@contextmanager
def noted(note: Callable[[BaseException], None]) -> Iterator[None]:
    """Give `note` what a signal's handler raises in the block, such as KeyboardInterrupt, instead of raising it there.

    An exception between any two instructions would leave locks held and files half written. Only the main thread has
    handlers called; in another the block is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in SIGNALS if callable(handler := handling.getsignal(number))}

    def handle(number: int, frame: object) -> None:
        try:
            handlers[signal.Signals(number)](number, frame)
        except BaseException as error:
            note(error)

    for number in handlers:
        handling.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            handling.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Raise an interrupt at the end of the block instead of in it: for a short one that must be done whole."""
    errors: list[BaseException] = []
    with noted(errors.append):
        yield
    if errors:
        raise errors[0]
