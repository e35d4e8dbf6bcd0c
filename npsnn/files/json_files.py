"""JSON documents and files of JSON lines: written by one writer, read within a limit, refused where readers differ."""

import json
from collections.abc import Iterator
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

from npsnn.files import excerpt, read_bytes, write_atomic

JSON_LIMIT = 1 << 20
LINES_LIMIT = 16 << 20
"""The bytes that a JSON document and a file of JSON lines may have: a hundred times what the largest run needs."""

DEPTH = 100
"""How deep lists and objects of a JSON document may lie in one another: a block of a residual network takes two."""


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document that `read_json` reads; ValueError, naming the file, for a NaN or what is no JSON in it."""
    try:
        text = json.dumps(document, indent=2, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} must hold JSON: {error}") from error
    write_atomic(path, (text + "\n").encode())


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """A JSON document a line."""
    write_atomic(path, "".join(json.dumps(r) + "\n" for r in records).encode())


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):  # 1e400 would be written again as Infinity
        raise ValueError(f"it holds {excerpt(text)}, which is no number of JSON in double precision")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise ValueError(f"it holds {excerpt(repr(name))} twice in one object")
        document[name] = value
    return document


def parse_json(content: bytes | str, name: str) -> dict[str, Any]:
    """The JSON object in the content of a file.

    Documents whose meaning readers disagree about are refused: a name twice in one object, a number beyond a double.

    content: of the file.
    name: of the file, for messages.
    Raises ValueError, naming the file, where it holds no such object.
    """
    try:
        document = json.loads(content, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{name} must hold a JSON object, got {type(document).__name__}")
    _check_depth(document, name)
    return document


def _check_depth(document: Any, name: str) -> None:
    """Raise ValueError where objects and lists lie deeper in one another than recursion can follow."""
    level = [document]
    for _ in range(DEPTH):
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return
    raise ValueError(f"{name} must not hold lists and objects more than {DEPTH} deep in one another")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; OSError where it cannot be read, ValueError, naming it, where it holds none."""
    return parse_json(read_bytes(path, JSON_LIMIT), str(path))


def each_line(path: Path, since: int = 0) -> Iterator[dict[str, Any] | None]:
    """The document in each line of a file, None for a line that is no JSON object; nothing where there is no file.

    since: how many bytes at its beginning are passed over.
    """
    for line in BytesIO(read_bytes(path, LINES_LIMIT)[since:] if path.exists() else b""):
        try:
            record = json.loads(line)  # with NaN: a training that goes astray is recorded as it was
        except (ValueError, RecursionError):
            record = None
        yield record if isinstance(record, dict) else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a file, none where there is no file; ValueError names a line that is no JSON object."""
    records = []
    for number, record in enumerate(each_line(path), start=1):
        if record is None:
            raise ValueError(f"{path}, line {number}, is no JSON object: mend the file or remove it")
        records.append(record)
    return records
