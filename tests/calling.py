"""Calling the command line in a test."""

from collections.abc import Callable
from dataclasses import dataclass


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
