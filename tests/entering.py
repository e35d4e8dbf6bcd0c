"""Classes that are in a table for one test alone."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from npsnn import tables
from npsnn.data import own


@contextmanager
def entered(enter: Callable[[Any], Any], *entries: Any) -> Iterator[None]:
    """Enter classes or functions in a table, and take them out again; one that is there already stays."""
    new = [entry for entry in entries if tables._TYPES.get(entry.__name__) is not entry]
    try:
        for entry in new:
            enter(entry)
        yield
    finally:
        _taken_out(new)


@contextmanager
def kept_out() -> Iterator[None]:
    """Take out of the tables after the block all that the block entered, but for entries of npsnn's own modules.

    Such a module is imported once: its entries would be gone for good. Data sets that the block registered go as well.
    """
    before, loaders = set(tables._TYPES), dict(own.LOADERS)
    try:
        yield
    finally:
        own.LOADERS.clear()
        own.LOADERS.update(loaders)
        new = [entry for name, entry in tables._TYPES.items() if name not in before]
        _taken_out([entry for entry in new if not str(entry.__module__).startswith("npsnn.")])


@contextmanager
def loaded(path: Path) -> Iterator[ModuleType]:
    """A user's module, whose classes are in the tables as long as the block lasts."""
    module = ModuleType(f"loaded_{path.stem}")
    sys.modules[module.__name__] = module
    try:
        with kept_out():
            exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), module.__dict__)
            yield module
    finally:
        del sys.modules[module.__name__]


def _taken_out(entries: list[Any]) -> None:
    for entry in entries:
        table = tables._TABLES.pop(entry.__name__, None)
        tables._TYPES.pop(entry.__name__, None)
        for name in [n for n, e in table._entries.items() if e is entry] if table else ():
            del table._entries[name]


@cache
def taken_out(module: ModuleType) -> tuple[tuple[tables.Table[Any], str, Any], ...]:
    """Take what a module has entered out of the tables again; each entry with its table and the name people type."""
    every = {id(table): table for table in tables._TABLES.values()}.values()
    found = [(t, name, e) for t in every for name, e in t._entries.items() if e.__module__ == module.__name__]
    _taken_out([entry for _, _, entry in found])
    return tuple(found)


@contextmanager
def put_back(module: ModuleType) -> Iterator[None]:
    """What a module has entered is in the tables in this block, and else not."""
    for table, name, entry in taken_out(module):
        table.enter(name)(entry)
    try:
        yield
    finally:
        taken_out.cache_clear()
        taken_out(module)
