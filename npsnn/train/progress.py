"""One line of progress that is rewritten: in a notebook's output, or on a terminal; elsewhere a line for each epoch."""

import importlib
import os
import sys
from time import monotonic
from typing import Any

from npsnn.train.epochs import Epoch, Step

BETWEEN = 0.1
"""Seconds from one drawing to the next."""
BAR = 20
"""The characters of the bar."""


def notebook() -> bool:
    """Whether a kernel of a notebook runs this process; IPython is asked where it is loaded, and never imported."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Line:
    """The line; `show` draws each record of a training, `end` leaves the last words.

    epochs: of the whole training.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.drawn, self.at = epochs, "", -BETWEEN
        self.said = ""
        self.display: Any = importlib.import_module("IPython.display").display if notebook() else None
        self.handle: Any = None
        terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.rewritten = self.display is not None or terminal

    def show(self, record: Step | Epoch) -> None:
        """Draw where the training is, unless that was drawn a moment ago."""
        if isinstance(record, Epoch):
            read = f"validation {record.validation_accuracy:.1%}, {record.noisy_validation_accuracy:.1%} noisy"
            self.said = f"epoch {record.epoch}/{self.epochs}  loss {record.loss:.4g}, {read}"
            self._draw(self.said)
        elif self.rewritten and monotonic() - self.at > BETWEEN:
            done = (record.epoch - 1 + record.step / record.steps) / self.epochs
            bar = f"[{'#' * round(BAR * done):-<{BAR}}] {done:4.0%}"
            self._draw(f"epoch {record.epoch}/{self.epochs}  {bar}  loss {record.loss:.4g}")

    def end(self) -> None:
        """Leave the figures of the last epoch, and go on to a new line."""
        if self.rewritten and self.said:
            self._draw(self.said)
        if self.rewritten and self.display is None and self.drawn:
            _write("\n")

    def _draw(self, text: str) -> None:
        self.at = monotonic()
        if text == self.drawn:
            return
        if self.display is not None:
            document = {"text/plain": text}
            if self.handle is None:
                self.handle = self.display(document, raw=True, display_id=True)
            else:
                self.handle.update(document, raw=True)
        else:
            _write(f"\r{text:<{len(self.drawn)}}" if self.rewritten else f"{text}\n")
        self.drawn = text


def _write(text: str) -> None:
    """Write to standard error, where there is one: progress is worth no failure."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
    except (OSError, ValueError):
        pass
