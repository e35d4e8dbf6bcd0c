"""Files of JSON lines that grow: each line is written whole or not at all, by any number of processes at once."""

import json
import os
import stat
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from npsnn.files import writing
from npsnn.files.json_files import each_line
from npsnn.interrupts import uninterrupted

try:
    import fcntl
except ImportError:  # Windows: its single write to the end of a file is whole as well
    fcntl = None  # type: ignore[assignment]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a JSON document as a line; a torn last line, left by a crash, is ended first.

    path: of the file.
    record: the document.
    Raises OSError, naming the file, where the line cannot be written; the file then is as long as before.
    """
    line = json.dumps(record).encode() + b"\n"
    with uninterrupted(), writing(path):
        descriptor = os.open(path, _FLAGS, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no plain file")
            with suppress(OSError):  # a file system without locks
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            _append_whole(descriptor, line)
        finally:
            os.close(descriptor)


def _append_whole(descriptor: int, line: bytes) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size:
        os.lseek(descriptor, size - 1, os.SEEK_SET)
        line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
    left = line
    try:
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def read(path: Path, since: int = 0) -> list[dict[str, Any]]:
    """The documents of a file, none where there is no file; lines that are no JSON objects are skipped with a warning.

    path: of the file.
    since: how many bytes at its beginning are passed over, of whole lines.
    Raises OSError where the file cannot be read, ValueError where it is too large.
    """
    records, torn = [], []
    for number, record in enumerate(each_line(path, since), start=1):
        if record is None:
            torn.append(number)
        else:
            records.append(record)
    if torn:
        more = f" (so are {len(torn) - 1:,} more)" if torn[1:] else ""
        warnings.warn(f"{path}, line {torn[0]}, is no JSON object and is skipped: a crash tore it{more}", stacklevel=2)
    return records
