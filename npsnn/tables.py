"""Tables of the kinds of values that a run is made of: what a saved file may name, and nothing else.

    LOSSES = Table("loss")
    loss = LOSSES.enter

    @loss("cross-entropy")
    @dataclass(frozen=True)
    class CrossEntropy: ...

A class that is no dataclass is made a frozen one. A type checker knows its fields by the line alone.

An entry has two names: the one that people type, "cross-entropy", and the one that files hold, "CrossEntropy", which is
the name of the class and belongs to one entry of all tables. Files hold values as `{"type": "CrossEntropy", ...}` with
a key for each field. No file is ever executed or unpickled, and no file names a module.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from inspect import get_annotations
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, overload

from npsnn.documents import PLUGIN, decoded, encoded, twins, type_of
from npsnn.words import nearest, plain_word

T = TypeVar("T")
E = TypeVar("E", bound=Callable[..., Any])

_TYPES: dict[str, Any] = {}
"""Every entry of every table, by the name that files hold."""
_TABLES: dict[str, "Table[Any]"] = {}
"""The table of every such name."""
WORD = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")


class Table(Mapping[str, T], Generic[T]):
    """The entries of one kind, by the names that people type; an entry is a frozen dataclass, or a function."""

    def __init__(self, kind: str, decorator: str, check: Callable[[Any, str], None] = lambda entry, name: None) -> None:
        """Make an empty table.

        kind: kind of the entries, in messages, as "loss".
        decorator: import line of the decorator that enters a class, for messages.
        check: is called with each entry, and the name that people type, and raises where they cannot be entered.
        """
        self.kind, self.decorator, self._check = kind, decorator, check
        self.one = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        self._entries: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """The entry that people call `name`; raises KeyError, as any mapping."""
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Table of every {self.kind}: {', '.join(self)}>"

    @overload
    def enter(self, name: E) -> E: ...
    @overload
    def enter(self, name: str | None = None) -> Callable[[E], E]: ...
    def enter(self, name: Any = None) -> Any:
        """Enter the class or function below: `@loss`, or `@loss("cross-entropy")`.

        name: name that people type; by default the name of the class.
        Raises ValueError where another entry has one of its names, or one that people take for it, and for a name that
        is no plain word; TypeError for a class that is no dataclass and has an `__init__` of its own, and for what
        lacks what its kind is asked for.
        """
        if name is not None and not isinstance(name, str):
            return self._entered(name, None)
        return lambda entry: self._entered(entry, name)

    def _entered(self, entry: E, name: str | None) -> E:
        own = entry.__name__
        if isinstance(entry, type) and not _is_dataclass(entry):
            if "__init__" in vars(entry):
                raise TypeError(f"{own} must be a dataclass to be {self.one}: declare its fields, without an __init__")
            dataclass(frozen=True)(entry)  # the same class, made one
        typed = own if name is None else name
        if not WORD.fullmatch(typed):
            word = "a word of letters, digits and hyphens that begins with a letter"
            raise ValueError(f'the name of {self.one} must be {word}, as @{self.kind}("mine"), got {typed!r:.80}')
        alike = next((known for known in self._entries if plain_word(known) == plain_word(typed)), typed)
        for where, taken, other in ((self.kind, self._entries.get(alike), alike), ("type", _TYPES.get(own), own)):
            if taken is not None and not (_same(taken, entry) and _TABLES.get(own) is self):
                raise ValueError(f"there is another {where} {other}: rename yours")
        self._check(entry, typed)
        self._entries[typed] = entry  # type: ignore[assignment]
        _TYPES[own], _TABLES[own] = entry, self
        return entry

    def named(self, name: Any) -> T:
        """The entry that people call `name`; raises ValueError, naming the nearest and all."""
        if isinstance(name, str) and name in self._entries:
            return self._entries[name]
        raise ValueError(f"unknown {self.kind} {name!r:.100}, expected one of {', '.join(self)}{nearest(name, self)}")

    def name_of(self, value: Any) -> str:
        """The name that people have for an entry, or for the class of a value; raises ValueError where it has none."""
        for name, entry in self._entries.items():
            if value is entry or twins(type(value), entry):
                return name
        raise ValueError(self._missing(value))

    def holds(self, value: Any) -> bool:
        """Whether the value is a function that is an entry, or of the class of an entry; no class is."""
        name = type_of(value)
        if isinstance(value, type) or _TABLES.get(name) is not self:
            return False
        return value is _TYPES[name] or twins(type(value), _TYPES[name])

    def check(self, value: Any) -> None:
        """Raise ValueError unless a file can hold the value, with all that is in it, as one of this table's."""
        self.decode(self.encode(value))

    def encode(self, value: Any) -> dict[str, Any]:
        """The value as JSON; raises ValueError, with the line that mends it, for what is in no table."""
        if _TABLES.get(type_of(value)) is not self:
            raise ValueError(self._missing(value))
        try:
            return encoded(value, f"this {self.kind}", _TYPES)  # type: ignore[no-any-return]
        except RecursionError:
            raise ValueError(f"{type_of(value)} is nested too deeply to be saved") from None

    def decode(self, document: Any) -> Any:
        """The value that `encode` made JSON of; raises ValueError, naming what is wrong."""
        if not isinstance(document, dict) or not isinstance(document.get("type"), str):
            raise ValueError(f"{self.one} must be an object with a type, got {document!r:.100}")
        self.of_type(document["type"])
        try:
            return decoded(document, f"this {self.kind}", _TYPES)
        except RecursionError:
            raise ValueError(f"{document['type']} is nested too deeply to be read") from None

    def of_type(self, name: Any) -> T:
        """The entry that files call `name`; raises ValueError, naming the nearest and all."""
        if isinstance(name, str) and _TABLES.get(name) is self:
            return _TYPES[name]  # type: ignore[no-any-return]
        types = sorted(known for known, table in _TABLES.items() if table is self)
        expected = f"expected one of {', '.join(types) or '(none)'}, {PLUGIN}"
        raise ValueError(f"unknown {self.kind} {name!r:.100}, {expected}{nearest(name, types)}")

    def type_of(self, value: Any) -> str:
        """The name by which files hold the value's class; raises ValueError, with the line that mends it, for none."""
        name = type(value).__name__
        if _TABLES.get(name) is not self or not twins(type(value), _TYPES[name]):
            raise ValueError(self._missing(value))
        return name

    def _missing(self, value: Any) -> str:
        name = type_of(value)
        return (
            f"{name} is in no table of every {self.kind}, and could not be saved: "
            f"put @{self.kind} above it ({self.decorator})"
        )


def named(table: Mapping[str, Any], name: Any, what: str) -> Any:
    """The value of that name in a table; a value of the table is returned as it is.

    table: values by name.
    name: the name, or a value.
    what: kind of the values, for messages.
    Raises ValueError, naming the nearest name and all, for an unknown one.
    """
    if not isinstance(name, str) and any(name is value for value in table.values()):
        return name
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {what} {name!r}, expected one of {', '.join(table)}{nearest(name, table)}")
    return table[name]


def every_entry() -> list[Any]:
    """The entries of all tables."""
    return list(_TYPES.values())


def import_all(package: str, path: Iterable[str]) -> None:
    """Import every module of a package: a file that enters something in a table needs no other file to name it.

    package: name of the package, `__name__` in its `__init__.py`.
    path: folders of the package, `__path__` there.
    """
    for module in iter_modules(path):
        import_module(f"{package}.{module.name}")


def _is_dataclass(kind: type) -> bool:
    """Whether a class is a dataclass, or inherits from one and declares no field that would be none of its fields."""
    if "__dataclass_fields__" in vars(kind) or not is_dataclass(kind):
        return is_dataclass(kind)
    try:
        return all("ClassVar" in str(declared) for declared in get_annotations(kind).values())
    except NameError:  # a type that only type checkers import
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two entries are the same definition: a module may be read twice."""
    return twins(one, other) or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
