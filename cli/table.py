"""Tables that fit the terminal."""

import textwrap
from itertools import zip_longest

import click

from npsnn.cli.terminal import is_quiet, width

REST = -1
"""The width of a last column of text that takes what is left of the line."""

LEAST = 24
"""The fewest columns for it."""


class Table:
    """Rows under a header, printed one at a time as they come; numbers to the right.

    A terminal that is too narrow first gets one space between columns instead of two, then without the optional
    columns, as many as need be; text goes on below. Where there is no terminal a row is one line, however long.
    """

    def __init__(self, columns: dict[str, int], err: bool = False, optional: tuple[str, ...] = ()) -> None:
        """columns: header -> width, negative for text, which stands to the left. optional: the first one goes first."""
        self.err, self.columns = err, columns
        self.shown, self.gap = list(columns), 2
        self.room = width(err)
        for name in (None, *optional):
            if self.room is None or self._total() <= self.room:
                break
            self.gap = 1
            self.shown = [column for column in self.shown if column != name]
        self.row(*columns)

    def _total(self) -> int:
        """The columns that a row takes."""
        widths = (LEAST if self.columns[name] == REST else abs(self.columns[name]) for name in self.shown)
        return sum(widths) + self.gap * (len(self.shown) - 1)

    def row(self, *cells: object) -> None:
        """Print a row: a cell for each column, shown or not; a quiet command prints none on standard error."""
        if self.err and is_quiet():
            return
        of_column = dict(zip(self.columns, map(str, cells), strict=True))
        for line in zip_longest(*(self._lines(of_column[name], self.columns[name]) for name in self.shown)):
            padded = (
                f"{cell or '':<{-columns}}" if columns < 0 else f"{cell or '':>{columns}}"
                for cell, columns in zip(line, (self.columns[name] for name in self.shown), strict=True)
            )
            click.echo((" " * self.gap).join(padded).rstrip(), err=self.err)

    def _lines(self, cell: str, columns: int) -> list[str]:
        """The lines of one cell; text alone has several."""
        if self.room is None or columns > 0:
            return [cell]
        room = self.room - self._total() + LEAST if columns == REST else -columns
        return textwrap.wrap(cell, max(room, LEAST if columns == REST else 1), break_on_hyphens=False) or [""]
