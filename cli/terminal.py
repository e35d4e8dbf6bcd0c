"""Standard output and error, whatever they are: closed, full, of few characters, or a terminal of few columns."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Self, TextIO

import click

BROKEN_PIPE = 128 + getattr(signal, "SIGPIPE", 13)
"""The exit code of a command whose reader has gone, such as `head`: what a shell reports of one ended by SIGPIPE."""

CONTROLS = {i: f"\\x{i:02x}" for i in (*range(32), *range(127, 160)) if chr(i) not in "\n\t"}
"""Characters that a terminal would obey: they may come from a file or a server, and are shown instead."""

BETWEEN_DRAWINGS = 0.1
"""Seconds from one drawing of a bar to the next."""


_quiet: list[bool] = []
"""Not empty where the command at work was asked to be quiet."""


def quieten() -> None:
    """Print no progress and no notes on standard error, until the command ends."""
    _quiet.append(True)


def is_quiet() -> bool:
    """Whether the command at work prints no progress and no notes."""
    return bool(_quiet)


class Output:
    """A standard stream for text: what it cannot encode is escaped, and a bar steps aside for what is written."""

    def __init__(self, stream: TextIO, dispensable: bool) -> None:
        """dispensable: go on in silence where nothing can be written any more, as where nobody reads the progress."""
        self.stream, self.dispensable = stream, dispensable
        self.encoding, self.errors, self.mode = stream.encoding, "backslashreplace", "w"
        self.terminal = is_terminal(stream)

    def write(self, text: str) -> int:
        """Write the text as far as the stream's characters go. Raises OSError, SystemExit where the reader has gone."""
        bar = Bar.shown if self.terminal and text else None
        if bar:
            bar.clear()
        self._try(text.translate(CONTROLS))
        if bar and text.endswith("\n"):
            bar.draw()
        return len(text)

    def draw(self, text: str) -> None:
        """Write the text as it is, such as a bar, and flush."""
        self._try(text)
        self.flush()

    def flush(self) -> None:
        self._try("", flush=True)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def closed(self) -> bool:
        return self.stream.closed

    def writable(self) -> bool:
        return True

    def _try(self, text: str, flush: bool = False) -> None:
        try:
            try:
                if text:  # click writes nothing to see what kind of stream it is, and takes any answer
                    self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.encoding or "ascii"
                self.stream.write(text.encode(encoding, self.errors).decode(encoding))
            if flush:
                self.stream.flush()
        except OSError as error:
            _silence(self.stream)
            if self.dispensable:
                return
            if isinstance(error, BrokenPipeError):
                sys.exit(BROKEN_PIPE)
            raise OSError(f"standard output cannot be written: {error.strerror or error}") from error


def _silence(stream: TextIO) -> None:
    """Let what the stream still holds go nowhere: Python would try again at its end, and complain."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Have `Output` for standard output and error, and three standard files that are open."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  (os.devnull is no path on Windows)
        sys.stdout, sys.stderr = (
            Output(nowhere if stream is None or stream.closed else stream, dispensable)
            for stream, dispensable in zip(before, (False, True), strict=True)
        )
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            _quiet.clear()


def _open_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: the next file would get the number, and the output.

    That of standard error belongs to the libraries in C as well.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether people see the stream on a terminal that can take back what it shows."""
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def width(err: bool = False) -> int | None:
    """The columns of the terminal that standard output, or error, is; None where it is none: lines may be long there.

    The variable COLUMNS takes precedence.
    """
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns):
        return int(columns)
    stream = sys.stderr if err else sys.stdout
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):
        return None


def say(text: str, err: bool = False, indent: int = 0) -> None:
    """Print a sentence, over several lines where the terminal is narrower; indent: of those after the first.

    A quiet command says nothing on standard error but warnings.
    """
    if err and _quiet and not text.startswith("warning:"):
        return
    columns = width(err)
    click.echo(click.wrap_text(text, columns, subsequent_indent=" " * indent) if columns else text, err=err)


class Bar:
    """A line below the text that shows how much is done; nothing where standard error is no terminal."""

    shown: "Bar | None" = None

    def __init__(self, label: str, length: float) -> None:
        self.label, self.length, self.done = label, length, 0.0
        self.start = self.last = monotonic()
        self.before = 0.0
        self.line = ""

    def __enter__(self) -> Self:
        if isinstance(sys.stderr, Output) and sys.stderr.terminal and not _quiet:
            Bar.shown = self
            self.draw()
        return self

    def restart(self, label: str, length: int) -> None:
        """Begin anew, for other work."""
        self.label, self.length, self.done, self.start = label, length, 0.0, monotonic()
        self.before = 0.0
        if Bar.shown is self:
            self.draw()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if Bar.shown is self:
            self.clear()
            Bar.shown = None

    def say(self, label: str) -> None:
        """Go on under another label."""
        self.label = label
        if Bar.shown is self:
            self.draw()

    def update(self, more: float) -> None:
        """Count `more` as done."""
        self.done += more
        if Bar.shown is self and monotonic() - self.last > BETWEEN_DRAWINGS:
            self.draw()

    def skip(self, more: float) -> None:
        """Count `more` as done before, in no time."""
        self.before += more
        self.update(more)

    def clear(self) -> None:
        if self.line and isinstance(sys.stderr, Output):
            sys.stderr.draw(f"\r{' ' * len(self.line)}\r")
            self.line = ""

    def draw(self) -> None:
        line, self.last = self._text((width(err=True) or 80) - 1), monotonic()
        if line != self.line and isinstance(sys.stderr, Output):
            sys.stderr.draw(f"\r{line:<{len(self.line)}}")
            self.line = line

    def _text(self, columns: int) -> str:
        """The bar in so many columns: the last stays empty, or some terminals would go on to the next line."""
        if not self.length:
            return self.label[:columns]
        part = min(1.0, self.done / self.length)
        new = part - self.before / self.length
        seconds = round((monotonic() - self.start) * (1 - part) / new) if new > 0 else 0
        left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left" if new > 0 and part < 1 else ""
        room = min(36, columns - len(self.label) - 24)
        drawn = f"[{'#' * round(part * room):-<{room}}]  " if room >= 5 else ""
        return f"{self.label}  {drawn}{part:4.0%}  {left}".rstrip()[: max(columns, 0)]
