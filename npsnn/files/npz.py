"""Arrays in .npz files: equal contents give equal bytes, and nothing is read whose size is not known before.

An .npz file is a zip archive of .npy files. Only archives as `write_npz` writes them are read: stored without
compression, each member a plain .npy file of numbers or text. Files of users may be compressed, within a limit. Nothing
in them is unpickled or evaluated.
"""

import re
import zipfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npsnn.files import reading

SMALL, DEFLATED = 1 << 27, 100
"""The bytes that any compressed file may unpack to, and how many for each of its bytes: images save less."""
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufU][1-9][0-9]{0,6})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)


def write_npz(file: BinaryIO, **arrays: np.ndarray) -> None:
    """Write named arrays as an .npz file; an interrupt and a full disk raise what they always raise."""
    try:
        np.savez(file, allow_pickle=False, **arrays)
    except ValueError as error:
        # what zipfile says, in the place of the true error, where that came while it had a handle open
        if isinstance(error.__context__, KeyboardInterrupt | OSError | MemoryError):
            raise error.__context__ from None
        raise


def read_npz(
    path: Path, what: str, limit: int, wanted: Callable[[str], bool] = lambda name: True, packed: bool = False
) -> dict[str, np.ndarray]:
    """The wanted arrays of an .npz file; the sizes of all arrays are checked before one is read.

    path: of the file.
    what: the kind of file, for messages.
    limit: the bytes that the file may have.
    wanted: whether the array of a name is read.
    packed: whether the file is a user's, which may be compressed, up to 100 times; the limit then holds for the arrays
        as well.
    Raises OSError where the file cannot be opened, ValueError, naming it, where it is too large, damaged, or of another
    kind than `write_npz` writes.
    """
    with reading(path, limit) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = _members(archive, file.seek(0, 2), limit if packed else 0)
                return {name: _array(archive, members[name]) for name in members if wanted(name)}
        except Exception as error:  # a damaged archive can raise nearly anything
            reason = str(error) or type(error).__name__
            kind = what if packed else f"{what} of npsnn"
            raise ValueError(f"{path} is damaged or no {kind}: {reason}") from error


def _members(archive: zipfile.ZipFile, size: int, unpacked: int) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive of `size` bytes by the names of their arrays, once none can surprise.

    unpacked: the bytes that the members of a compressed archive may have; 0 where none may be compressed.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in members:
            raise ValueError(f"its member {info.filename!r} is no .npy file, or there are two of the name")
        stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
        if not stored and not (unpacked and info.compress_type == zipfile.ZIP_DEFLATED):
            way = "in a way that NumPy never takes" if unpacked else "which npsnn never does"
            raise ValueError(f"its member {info.filename!r} is compressed, {way}")
        if not 0 <= info.header_offset < size:
            raise ValueError(f"its member {info.filename!r} lies outside of the file")
        members[name] = info
    # Each byte of the file belongs to one member at most: else a small file could hold many large ones.
    claimed, most = sum(info.file_size for info in members.values()), size
    if unpacked:
        most = min(unpacked, max(SMALL, DEFLATED * size))
    if claimed > most:
        may = "may have" if unpacked else "has"
        raise ValueError(f"its members claim {claimed:,} bytes, more than the {most:,} that it {may}")
    return members


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        prefix = member.read(10)
        if prefix[:8] != b"\x93NUMPY\x01\x00":
            raise ValueError(f"its member {info.filename!r} is no .npy file of version 1")
        header = member.read(int.from_bytes(prefix[8:], "little"))
        dtype, in_columns, shape = _form(header, info.filename)
        length = info.file_size - len(prefix) - len(header)
        if prod(shape) * dtype.itemsize != length:
            raise ValueError(f"its member {info.filename!r} must have {dtype} {shape}, got {length:,} bytes")
        array = np.empty(prod(shape), dtype)
        content, start = array.view(np.uint8), 0
        while block := member.read(1 << 20):
            content[start : start + len(block)] = np.frombuffer(block, np.uint8)
            start += len(block)
    if start != length:
        raise ValueError(f"its member {info.filename!r} ends after {start:,} of {length:,} bytes")
    return array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)


def _form(header: bytes, name: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """The type, the order (whether it is column by column) and the shape in the header of a .npy file."""
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ValueError(f"its member {name!r} holds no array of numbers or text")
    dtype, order, sizes = found.groups()
    shape = tuple(int(part) for part in sizes.replace(b" ", b"").split(b",") if part)
    return np.dtype(dtype.decode()), order == b"True", shape
