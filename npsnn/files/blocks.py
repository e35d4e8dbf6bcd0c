"""Files of compressed blocks that grow: whatever ends their writer, a block is there whole or not at all.

A block is a JSON object with arrays. Its bytes are a mark, the lengths of its two parts, a digest of both, the object,
and the arrays one after the other, compressed. Nothing in a file is unpickled or evaluated.
"""

import hashlib
import json
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np

from npsnn.files import lock, writing
from npsnn.files.json_files import parse_json
from npsnn.interrupts import uninterrupted

MARK = b"npb1"
_NUMBERS = re.compile("[<>|][biuf][1-9][0-9]?")
_BEGIN = struct.Struct("<4sIQ16s")
LEVEL = 1
"""Of zlib: level 6 takes four times the time for a tenth of the size (images that were attacked)."""
HEAD_LIMIT, LIMIT = 1 << 22, 1 << 32
"""The bytes that the object of a block may have, and its arrays."""
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class TakenError(ValueError):
    """Somebody is at work on the file."""


class Blocks:
    """A file of blocks, which is this object's alone as long as it is open.

    path: of the file.
    heads: the object of each block, in order.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, made if need be, and cut off a block at its end whose writer was killed.

        Raises OSError, naming the file, where it cannot be written, `TakenError` where somebody has it open, and
        ValueError for a file that holds something else.
        """
        self.path, self.heads = path, list[dict[str, Any]]()
        self._places: list[tuple[int, int]] = []
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, _FLAGS, 0o666)
        self._closing = finalize(self, os.close, self._file)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise ValueError(f"{path} must be a plain file")
            # a file that another has finished with may have lost its name before it was locked
            if not _locked(self._file) or not os.fstat(self._file).st_nlink:
                raise TakenError(f"{path} is in use, by another process or elsewhere in this one")
            self._end = self._read()
            if self._end < os.fstat(self._file).st_size:
                with writing(path):
                    os.ftruncate(self._file, self._end)
        except BaseException:
            self.close()
            raise

    def _read(self) -> int:
        """Note each block; where the last one ends that is whole."""
        size, at = os.fstat(self._file).st_size, 0
        while (begin := self._bytes(at, _BEGIN.size)) and len(begin) == _BEGIN.size:
            mark, head, packed, digest = _BEGIN.unpack(begin)
            end = at + _BEGIN.size + head + packed
            if mark != MARK or head > HEAD_LIMIT or end > size:
                break
            content = self._bytes(at + _BEGIN.size, head + packed)
            if _digest(content) != digest:
                break
            self.heads.append(parse_json(content[:head], f"a block of {self.path}"))
            self._places.append((at + _BEGIN.size + head, packed))
            at = end
        if not at and not MARK.startswith(self._bytes(0, len(MARK))):
            raise ValueError(f"{self.path} is damaged, or no file of blocks of npsnn")
        return at

    def _bytes(self, at: int, count: int) -> bytes:
        os.lseek(self._file, at, os.SEEK_SET)
        parts = []
        while count and (part := os.read(self._file, min(count, 1 << 24))):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def append(self, head: dict[str, Any], arrays: Sequence[np.ndarray] = (), to_disk: bool = False) -> None:
        """Add a block.

        head: its object, which cannot have the name "arrays".
        arrays: plain numbers.
        to_disk: whether to wait until the disk has it; what a killed process wrote is kept in any case.
        Raises OSError, naming the file, where it cannot be written; the file then is as long as before.
        """
        head = head | {"arrays": [[array.dtype.str, *array.shape] for array in arrays]}
        zipped = zlib.compressobj(LEVEL)
        packed = b"".join([*(zipped.compress(np.ascontiguousarray(array).data) for array in arrays), zipped.flush()])
        first = json.dumps(head).encode()
        begin = _BEGIN.pack(MARK, len(first), len(packed), _digest(first + packed))
        with uninterrupted(), writing(self.path):
            self._write(begin + first + packed, to_disk)
        self.heads.append(head)
        self._places.append((self._end - len(packed), len(packed)))

    def _write(self, content: bytes, to_disk: bool) -> None:
        left = memoryview(content)
        os.lseek(self._file, self._end, os.SEEK_SET)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            if to_disk:
                os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(content)

    def arrays(self, block: int) -> list[np.ndarray]:
        """The arrays of a block, by its number; ValueError, naming the file, where they are not as the block says."""
        try:
            forms = [_form(form) for form in self.heads[block]["arrays"]]
            sizes = [dtype.itemsize * prod(shape) for dtype, shape in forms]
            if sum(sizes) > LIMIT:
                raise ValueError(f"it must have at most {LIMIT:,} bytes")
            content = zlib.decompressobj().decompress(self._bytes(*self._places[block]), sum(sizes) + 1)
            if len(content) != sum(sizes):
                raise ValueError(f"it must have {sum(sizes):,} bytes, got {len(content):,}")
            starts = np.cumsum([0, *sizes]).tolist()
            return [
                np.frombuffer(content, dtype, prod(shape), start).reshape(shape)
                for (dtype, shape), start in zip(forms, starts, strict=False)
            ]
        except (ValueError, TypeError, KeyError, OverflowError, zlib.error) as error:
            raise ValueError(f"{self.path}, block {block}, is damaged: {error}") from error

    def close(self) -> None:
        """Leave the file to others."""
        self._closing()

    def remove(self) -> None:
        """Remove the file, and close it."""
        if os.name != "posix":  # Windows removes no file that is open
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()


def _locked(descriptor: int) -> bool:
    """Whether the file is this process's alone, or on a file system without locks."""
    try:
        return lock(descriptor)
    except OSError:
        return True


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _form(form: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of an array; ValueError for what is no array of numbers."""
    name, *shape = form
    if not _NUMBERS.fullmatch(str(name)) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"it must hold arrays of numbers, got {form!r:.100}")
    return np.dtype(name), tuple(shape)
