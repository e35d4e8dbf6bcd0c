"""Where data lies, how a file's content is read, and how a file is replaced whole or not at all."""

import contextlib
import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np


def data_folder(data_dir: Path | str | None = None) -> Path:
    """The folder that holds the data sets: the argument, else $NPSNN_DATA, else npsnn in the user's cache folder."""
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if named := os.environ.get("NPSNN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "npsnn"


def write_npz(file: BinaryIO, **arrays: np.ndarray) -> None:
    """The arrays as an .npz file; an interrupt stays one."""
    try:
        np.savez(file, allow_pickle=False, **arrays)
    except ValueError as error:
        # what zipfile says, in the place of the interrupt, where that came while it had a handle open
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def unpack(raw: bytes, gzipped: bool, name: str) -> bytes:
    """The content of a plain or gzip file, given its bytes; `name` is for the messages.

    Raises ValueError where it is empty, or is not a whole and sound gzip file although `gzipped`.
    """
    if not raw:
        raise ValueError(f"{name} is empty")
    if not gzipped:
        return raw
    if raw[:2] != b"\x1f\x8b":
        raise ValueError(f"{name} is not a gzip file: expected it to begin with bytes 1f 8b, got {raw[:2].hex(' ')}")
    try:
        return gzip.decompress(raw)
    except EOFError:
        raise ValueError(f"{name} is a truncated gzip file: its end is missing after {len(raw)} bytes") from None
    except (OSError, zlib.error) as error:
        raise ValueError(f"{name} is a damaged gzip file: {error}") from None


def read_content(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in .gz; OSError where it cannot be read, else as `unpack`."""
    return unpack(path.read_bytes(), path.suffix == ".gz", str(path))


def check_digest(
    content: bytes | BufferedReader,
    expected: str,
    name: str,
    remedy: str,
    algorithm: Literal["sha256", "md5"] = "sha256",
) -> str:
    """The digest (hex) of the content, or of the rest of an open file.

    Raises ValueError with both digests, shortened, and the remedy if it is not as expected.
    """
    if isinstance(content, bytes):
        digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    else:
        digest = hashlib.file_digest(content, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if digest != expected:
        kind = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
        raise ValueError(
            f"{name} has the wrong content: expected {kind} {expected[:12]}..., got {digest[:12]}...: {remedy}"
        )
    return digest


def not_there(name: str, folder: Path, missing: Iterable[str], some: bool, holds: str) -> FileNotFoundError:
    """The error for a set of which `missing` files are not in the folder, or, unless `some` are, none; says what to do.

    holds: what a folder that has them holds.
    """
    what = f"is incomplete in {folder} (no {', '.join(missing)})" if some else f"is not in {folder}"
    return FileNotFoundError(
        f"{name} {what}: run 'npsnn data fetch {name}', or pass --data-dir or set NPSNN_DATA to a folder that "
        f"holds {holds}"
    )


def state(found: int, all_of_them: int) -> str:
    """ "missing", "incomplete" or "present", by how many of a set's files are there."""
    return {0: "missing", all_of_them: "present"}.get(found, "incomplete")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends well, and vanishes when it does not.

    The folder is made if need be. Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: its files are private to the user, and a data folder may be shared.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
