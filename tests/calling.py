"""Calling the command line in a test, and what happens meanwhile."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def error_line(self, code: int) -> str:
        """The one line of error of a command that ended with `code` and printed no result."""
        assert self.code == code, self
        assert self.out == "", self
        # click puts a hint on the usage before the error
        lines = [line for line in self.err.splitlines() if line and not line.startswith(("Usage:", "Try "))]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: "), self.err
        return lines[0]


Npsnn = Callable[..., Outcome]
"""npsnn("train", "--epochs", 1) -> its outcome."""

ABOUT = {"run", "checkpoint", "epoch", "parameters", "dataset", "conv", "threads", "environment", "limit", "other_data"}
ABOUT |= {"caveats"}
"""What every record of a run says of the run and of how it was measured."""


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file in a folder, by its path there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, where: object, name: str, call: int, number: int) -> None:
    """Have the signal come in the given call, from 1, of where.name."""
    called, calls = getattr(where, name), []

    def signalled(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(number)
        return called(*args, **kwargs)

    if signal.getsignal(number) is signal.SIG_IGN:  # as in the background of a shell
        signal.signal(number, signal.default_int_handler)
    monkeypatch.setattr(where, name, signalled)


def start(*args: object) -> "subprocess.Popen[str]":
    """Start `npsnn *args` in a process and a session of its own, which heeds SIGINT."""
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    program = [sys.executable, "-m", "npsnn.cli", *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(program, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed, start_new_session=True)


def wait_for(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    """Wait until ready() or the end of the process."""
    while process.poll() is None and not ready():
        time.sleep(0.01)
