"""Ctrl-C and SIGTERM: how a command ends by them."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NoReturn

import click

GRACE = 1.0
"""Seconds within which another signal is the same request: `timeout` sends two, and fingers are quick."""


_came: list["Stopped"] = []
"""The signal that asked the command at work to end, once one has."""


class Stopped(KeyboardInterrupt):
    """A signal that asks the command to end; code: the exit code that says so, at: when it came."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code, self.at = 128 + number, monotonic()


def behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error stands for: itself, or one that a module in C met while it was loaded; else None."""
    if isinstance(error, ImportError | SystemError) and _came:
        return _came[0]
    return error if isinstance(error, KeyboardInterrupt) else None


@contextmanager
def handled() -> Iterator[None]:
    """Have SIGINT and SIGTERM raise Stopped; who asks again after a second is obeyed at once.

    Signals that whoever started the command has ignored stay ignored. Only the main thread can have handlers.
    """
    _came.clear()

    def handle(number: int, frame: object) -> None:
        if not _came:
            _came.append(Stopped(number))
            raise _came[0]
        if monotonic() - _came[0].at > GRACE:
            os._exit(128 + number)  # results that are finished lie on the disk, and processes end with their pipes

    replaced = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before: dict[signal.Signals, object] = {}
    try:
        for number, usual in replaced.items():
            if signal.getsignal(number) is usual:
                before[number] = signal.signal(number, handle)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def leave(stop: KeyboardInterrupt, kept: str) -> NoReturn:
    """End with the signal's exit code, 130 for Ctrl-C, and one line on what was kept and how to go on."""
    line = "\n" if sys.stderr.isatty() else ""  # after the ^C that a terminal shows
    click.echo(f"{line}Stopped: {kept}", err=True)
    sys.exit(getattr(stop, "code", 128 + signal.SIGINT))
