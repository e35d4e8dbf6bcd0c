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


class Stopped(KeyboardInterrupt):
    """A signal that asks the command to end; code: the exit code that says so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def handled() -> Iterator[None]:
    """Have SIGINT and SIGTERM raise Stopped; who asks again after a second is obeyed at once.

    Signals that whoever started the command has ignored stay ignored. Only the main thread can have handlers.
    """
    first: list[float] = []

    def handle(number: int, frame: object) -> None:
        if not first:
            first.append(monotonic())
            raise Stopped(number)
        if monotonic() - first[0] > GRACE:
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
