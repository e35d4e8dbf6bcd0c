"""Where data lies, how a file's content is read, and how a file is replaced whole or not at all."""

import contextlib
import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO


def data_folder(data_dir: Path | str | None = None) -> Path:
    """The folder that holds the data sets: the argument, else $NPSNN_DATA, else npsnn in the user's cache folder."""
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if named := os.environ.get("NPSNN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "npsnn"


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


def check_digest(content: bytes, expected: str, name: str, remedy: str) -> str:
    """The SHA-256 (hex) of the content; ValueError with both digests, shortened, and the remedy if not as expected."""
    digest = sha256(content).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{name} has the wrong content: expected SHA-256 {expected[:12]}..., got {digest[:12]}...: {remedy}"
        )
    return digest


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
