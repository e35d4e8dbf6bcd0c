"""Values as JSON, by the names of their classes and fields, and back: no document does more than make values."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import isfinite, isnan
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from npsnn.words import kind_name, nearest

PLAIN = (bool, int, float, str, NoneType)
PLUGIN = "or a plugin's by --plugin FILE.py"


def twins(one: Any, other: Any) -> bool:
    """Whether two entries are one, or one definition in a file that was read as two modules: imported and a plugin."""
    if one is other or getattr(one, "__qualname__", one) != getattr(other, "__qualname__", other):
        return one is other
    file = _file(one)
    return one.__module__ != other.__module__ and file is not None and file == _file(other)


def _file(entry: Any) -> str | None:
    """The file of the module of an entry, if it has one."""
    file = getattr(sys.modules.get(entry.__module__), "__file__", None)
    return file and os.path.realpath(file)


def type_of(value: Any) -> str:
    """The name by which files would hold the value."""
    return value.__name__ if callable(value) and hasattr(value, "__name__") else type(value).__name__


def encoded(value: Any, where: str, types: Mapping[str, Any]) -> Any:
    """The value as JSON.

    where: the place of the value, in messages.
    types: every entry of every table, by the name that files hold.
    Raises ValueError, with the line that mends it, for a value of which nothing in `types` is the class.
    """
    if isinstance(value, PLAIN):
        return _encoded_float(value, where) if isinstance(value, float) else value
    if isinstance(value, Integral | Real):  # NumPy's
        return int(value) if isinstance(value, Integral) else _encoded_float(float(value), where)
    if isinstance(value, tuple | list):
        return [encoded(v, where, types) for v in value]
    name = type_of(value)
    entry = types.get(name)
    if entry is None or not (value is entry or twins(type(value), entry)):
        ours = is_dataclass(value) or callable(value)
        mend = "enter it by the decorator of its kind" if ours else "give plain values"
        raise ValueError(f"{where}: {name} is in no table, and could not be saved: {mend}")
    if isinstance(value, type):
        raise ValueError(f"{where}: {name} must be a value, as {name}(), got the class")
    options = () if value is entry else (f.name for f in fields(value) if f.init)
    return {"type": name} | {option: encoded(getattr(value, option), f"{name}.{option}", types) for option in options}


def _encoded_float(value: float, where: str) -> Any:
    if isnan(value):
        raise ValueError(f"{where}: a NaN could not be saved")
    return float(value) if isfinite(value) else {"number": repr(float(value))}


def decoded(document: Any, where: str, types: Mapping[str, Any]) -> Any:
    """The value of JSON.

    where: the place of the value, in messages.
    types: as in `encoded`.
    Raises ValueError, naming what is wrong.
    """
    if isinstance(document, list):
        return tuple(decoded(v, where, types) for v in document)
    if not isinstance(document, dict):
        if isinstance(document, float) and isnan(document):
            raise ValueError(f"{where} must be a number, got NaN")
        return document
    if document.keys() == {"number"} and document["number"] in ("inf", "-inf"):
        return float(document["number"])
    name = document.get("type")
    entry = types.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ValueError(f"{where}: unknown type {name!r:.100}, expected a known one, {PLUGIN}{nearest(name, types)}")
    return _made(entry, name, {k: decoded(v, f"{name}.{k}", types) for k, v in document.items() if k != "type"})


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
            raise ValueError(f"{name}.{option} must be of the type {kind_name(kind)}, got {values[option]!r:.100}")
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
