"""Classes that are in a table for one test alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from npsnn import tables


@contextmanager
def entered(enter: Callable[[Any], Any], *entries: Any) -> Iterator[None]:
    """Enter classes or functions in a table, and take them out again; one that is there already stays."""
    new = [entry for entry in entries if tables._TYPES.get(entry.__name__) is not entry]
    try:
        for entry in new:
            enter(entry)
        yield
    finally:
        for entry in new:
            table = tables._TABLES.pop(entry.__name__, None)
            tables._TYPES.pop(entry.__name__, None)
            for name in [n for n, e in table._entries.items() if e is entry] if table else ():
                del table._entries[name]
