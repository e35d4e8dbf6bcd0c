"""Tables of the kinds of values that a run is made of: what a saved file may name, and nothing else.

    LOSSES = Table("loss")
    loss = LOSSES.enter

    @loss("cross-entropy")
    @dataclass(frozen=True)
    class CrossEntropy: ...

An entry has two names: the one that people type, "cross-entropy", and the one that files hold, "CrossEntropy", which is
the name of the class and belongs to one entry of all tables. Files hold values as `{"type": "CrossEntropy", ...}` with
a key for each field. No file is ever executed or unpickled, and no file names a module.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from math import isfinite, isnan
from numbers import Integral, Real
from pkgutil import iter_modules
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from npsnn.words import nearest, plain_word

T = TypeVar("T")
E = TypeVar("E", bound=Callable[..., Any])

_TYPES: dict[str, Any] = {}
"""Every entry of every table, by the name that files hold."""
_TABLES: dict[str, "Table[Any]"] = {}
"""The table of every such name."""
PLAIN = (bool, int, float, str, NoneType)
WORD = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
PLUGIN = "or a plugin's by --plugin FILE.py"


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
        is no plain word; TypeError for a class that is no dataclass, and for what lacks what its kind is asked for.
        """
        if name is not None and not isinstance(name, str):
            return self._entered(name, None)
        return lambda entry: self._entered(entry, name)

    def _entered(self, entry: E, name: str | None) -> E:
        own = entry.__name__
        if isinstance(entry, type) and not is_dataclass(entry):
            raise TypeError(
                f"{own} must be a dataclass to be {self.one}: put @dataclass(frozen=True) below @{self.kind}"
            )
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
            if value is entry or _twins(type(value), entry):
                return name
        raise ValueError(self._missing(value))

    def check(self, value: Any) -> None:
        """Raise ValueError unless a file can hold the value, with all that is in it, as one of this table's."""
        self.decode(self.encode(value))

    def encode(self, value: Any) -> dict[str, Any]:
        """The value as JSON; raises ValueError, with the line that mends it, for what is in no table."""
        if _TABLES.get(_type_of(value)) is not self:
            raise ValueError(self._missing(value))
        try:
            return _encoded(value, f"this {self.kind}")  # type: ignore[no-any-return]
        except RecursionError:
            raise ValueError(f"{_type_of(value)} is nested too deeply to be saved") from None

    def decode(self, document: Any) -> Any:
        """The value that `encode` made JSON of; raises ValueError, naming what is wrong."""
        if not isinstance(document, dict) or not isinstance(document.get("type"), str):
            raise ValueError(f"{self.one} must be an object with a type, got {document!r:.100}")
        self.of_type(document["type"])
        try:
            return _decoded(document, f"this {self.kind}")
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
        if _TABLES.get(name) is not self or not _twins(type(value), _TYPES[name]):
            raise ValueError(self._missing(value))
        return name

    def _missing(self, value: Any) -> str:
        name = _type_of(value)
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


def _same(one: Any, other: Any) -> bool:
    """Whether two entries are the same definition: a module may be read twice."""
    return _twins(one, other) or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _twins(one: Any, other: Any) -> bool:
    """Whether two entries are one, or one definition in a file that was read as two modules: imported and a plugin."""
    if one is other or getattr(one, "__qualname__", one) != getattr(other, "__qualname__", other):
        return one is other
    file = _file(one)
    return one.__module__ != other.__module__ and file is not None and file == _file(other)


def _file(entry: Any) -> str | None:
    """The file of the module of an entry, if it has one."""
    file = getattr(sys.modules.get(entry.__module__), "__file__", None)
    return file and os.path.realpath(file)


def _type_of(value: Any) -> str:
    """The name by which files would hold the value."""
    return value.__name__ if callable(value) and hasattr(value, "__name__") else type(value).__name__


def _encoded(value: Any, where: str) -> Any:
    """The value as JSON; where: its place, in messages."""
    if isinstance(value, PLAIN):
        return _encoded_float(value, where) if isinstance(value, float) else value
    if isinstance(value, Integral | Real):  # NumPy's
        return int(value) if isinstance(value, Integral) else _encoded_float(float(value), where)
    if isinstance(value, tuple | list):
        return [_encoded(v, where) for v in value]
    name = _type_of(value)
    entry = _TYPES.get(name)
    if entry is None or not (value is entry or _twins(type(value), entry)):
        ours = is_dataclass(value) or callable(value)
        mend = "enter it by the decorator of its kind" if ours else "give plain values"
        raise ValueError(f"{where}: {name} is in no table, and could not be saved: {mend}")
    if isinstance(value, type):
        raise ValueError(f"{where}: {name} must be a value, as {name}(), got the class")
    options = () if value is entry else (f.name for f in fields(value) if f.init)
    return {"type": name} | {option: _encoded(getattr(value, option), f"{name}.{option}") for option in options}


def _encoded_float(value: float, where: str) -> Any:
    if isnan(value):
        raise ValueError(f"{where}: a NaN could not be saved")
    return float(value) if isfinite(value) else {"number": repr(float(value))}


def _decoded(document: Any, where: str) -> Any:
    """The value of JSON; where: its place, in messages."""
    if isinstance(document, list):
        return tuple(_decoded(v, where) for v in document)
    if not isinstance(document, dict):
        if isinstance(document, float) and isnan(document):
            raise ValueError(f"{where} must be a number, got NaN")
        return document
    if document.keys() == {"number"} and document["number"] in ("inf", "-inf"):
        return float(document["number"])
    name = document.get("type")
    entry = _TYPES.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ValueError(f"{where}: unknown type {name!r:.100}, expected a known one, {PLUGIN}{nearest(name, _TYPES)}")
    return _made(entry, name, {k: _decoded(v, f"{name}.{k}") for k, v in document.items() if k != "type"})


def _made(entry: Any, name: Any, values: dict[str, Any]) -> Any:
    """The entry of that name with the values as its options."""
    if not isinstance(entry, type):
        if values:
            raise ValueError(f"{name} has no options, got {_listed(values)}")
        return entry
    known = [f.name for f in fields(entry) if f.init]
    if odd := [k for k in values if k not in known]:
        raise ValueError(f"{name} has no option {_listed(odd)}{nearest(odd[0], known)}")
    for option, kind in _kinds(entry).items():
        if option in values and not _fits(values[option], kind):
            kind_name = kind.__name__ if isinstance(kind, type) else kind
            raise ValueError(f"{name}.{option} must be of the type {kind_name}, got {values[option]!r:.100}")
    try:
        return entry(**values)
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def _listed(names: Iterable[str]) -> str:
    return f"{', '.join(sorted(names)):.100}"


def _kinds(entry: type) -> dict[str, Any]:
    """The declared types of an entry's fields; none where a name in them is unknown when the program runs."""
    try:
        return get_type_hints(entry)
    except (NameError, TypeError, AttributeError):
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a field declared as `kind` may have the value, as far as plain types and entries can tell it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, k) for k in inner)
    if origin is tuple:
        endless = inner[1:] == (Ellipsis,)
        kinds = inner[:1] * len(value) if endless and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(kinds) == len(value) and all(map(_fits, value, kinds))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (bool, int, str, NoneType):
        return type(value) is kind
    if not isinstance(kind, type) or kind in (Any, object, tuple):
        return True
    plain = isinstance(value, (*PLAIN, tuple))
    return not plain and (getattr(kind, "_is_protocol", False) or isinstance(value, kind))
