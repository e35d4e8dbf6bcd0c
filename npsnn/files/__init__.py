"""Files: written whole or not at all, read within a stated limit, and told apart by their digests."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import tempfile
import zlib
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from npsnn.files.gunzip import gunzip

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind, and lets nobody remove a file that is open
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.npsnn-[0-9a-f]{16}\.tmp")
"""The name of a file that is being written, or whose writer was killed."""

LONGEST_MESSAGE = 1000

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}
_OF_THE_DISK = _FULL | {errno.EIO, errno.EROFS}


def _unwritable(path: Path, error: OSError) -> OSError:
    """The error of writing `path` for people: of the same class and number, with the file's name and the way on."""
    way_on = "free some space there, or choose another folder" if error.errno in _FULL else "choose another place"
    named = type(error)(f"cannot write {path} ({error.strerror or error}): {way_on}")
    named.errno = error.errno
    return named


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system in the block into errors that name the file.

    path: of the file that is to be written.
    """
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def lock(descriptor: int) -> bool:
    """Claim an open file until it is closed; False where another process or thread has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _new_beside(path: Path) -> BinaryIO:
    """A new file beside `path`, locked, of a name that nobody can guess."""
    while True:
        # Not `tempfile`: its files are private to the user, and a data folder may be shared.
        file = path.with_name(f".npsnn-{secrets.token_hex(8)}.tmp").open("xb")
        with contextlib.suppress(OSError):  # a file system without locks: nobody will take the file for a stale one
            if not lock(file.fileno()) or not os.fstat(file.fileno()).st_nlink:
                file.close()
                continue  # somebody who sweeps saw the file before it was locked
        return file


def _sweep(folder: Path) -> None:
    """Remove what killed writers left in the folder: temporary files that nobody has locked."""
    with contextlib.suppress(OSError):  # a folder that may be written need not be readable
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name):
                with contextlib.suppress(OSError):  # another sweep was faster, or the file is not ours
                    _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system offers it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends well, and vanishes otherwise.

    The folder is made if need be, and cleared of what killed writers left in it.
    Raises OSError, naming the file and the way on, where the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        file = _new_beside(path)
    temporary = Path(file.name)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:  # Windows renames no open file; elsewhere the lock is held until the name is right
                file.close()
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        # what the block itself raises, about other files or about the network, stays what it is
        if error.filename == str(temporary) or (error.filename is None and error.errno in _OF_THE_DISK):
            raise _unwritable(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    path: of the file.
    content: all of it.
    Raises as `replacing`.
    """
    with replacing(path) as file:
        file.write(content)


def check_writable(path: Path) -> None:
    """Raise OSError, naming the file, where it cannot be written: before there is anything that could be lost."""
    folder = next(folder for folder in path.parents if folder.exists())
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        with tempfile.TemporaryFile(dir=folder):
            pass


BEGINNING = 4096
"""The bytes in which a file that npsnn writes for people says so."""


def check_replaceable(path: Path, name: str, mark: str) -> None:
    """Raise ValueError where a file would be replaced that does not say that npsnn wrote it.

    path: of the file, which need not be there.
    name: of the argument, in messages.
    mark: what the beginning of such a file holds where npsnn has written it.
    """
    if path.is_file():
        with path.open("rb") as file:
            if mark.encode() not in file.read(BEGINNING):
                raise ValueError(
                    f"{name} would replace {path}, which does not say that npsnn wrote it: choose another name"
                )


@contextlib.contextmanager
def reading(path: Path, limit: int) -> Iterator[BufferedReader]:
    """A file to read.

    path: of the file.
    limit: the bytes that it may have.
    Raises OSError where the file cannot be opened, ValueError where it is larger or no plain file: to open a pipe could
    take for ever.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise ValueError(f"{path} must be a plain file, got a pipe")
    with path.open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > limit:
            raise ValueError(f"{path} must have at most {limit:,} bytes, got {size:,}")
        yield file


def read_bytes(path: Path, limit: int, pipes: bool = False) -> bytes:
    """The content of a file.

    path: of the file.
    limit: the bytes that it may have.
    pipes: whether the file may be a pipe, such as a shell makes.
    Raises as `reading`.
    """
    with path.open("rb") if pipes else reading(path, limit) as file:
        content = file.read(min(os.fstat(file.fileno()).st_size or limit, limit) + 1)
    if len(content) > limit:  # a pipe or a device
        raise ValueError(f"{path} must have at most {limit:,} bytes, got more")
    return content


@contextlib.contextmanager
def blamed(name: object) -> Iterator[None]:
    """Errors about the content of a file become ValueErrors that begin with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {excerpt(error)}") from error


def excerpt(text: object) -> str:
    """The text, or its beginning where it is very long: a message may quote a file that is one long line."""
    whole = str(text)
    return whole if len(whole) <= LONGEST_MESSAGE else f"{whole[:LONGEST_MESSAGE]} ..."


def unpack(raw: bytes, gzipped: bool, name: str, limit: int) -> bytes:
    """The content of a plain or gzip file.

    raw: the bytes of the file.
    gzipped: whether it must be a gzip file.
    name: of the file, for messages.
    limit: the bytes that the content may have.
    Raises ValueError where the content is empty or larger, and where the file is not a whole and sound gzip file
    although `gzipped`.
    """
    if not raw:
        raise ValueError(f"{name} is empty")
    if gzipped and raw[:2] != b"\x1f\x8b":
        raise ValueError(f"{name} is not a gzip file: expected it to begin with bytes 1f 8b, got {raw[:2].hex(' ')}")
    if not gzipped:
        return raw
    try:
        return b"".join(gunzip(BytesIO(raw), limit))
    except EOFError:
        raise ValueError(f"{name} is a truncated gzip file: its end is missing after {len(raw)} bytes") from None
    except zlib.error as error:
        raise ValueError(f"{name} is a damaged gzip file: {error}") from None
    except ValueError:
        raise ValueError(f"{name} must hold at most {limit:,} bytes, got more") from None


def read_content(path: Path, limit: int) -> bytes:
    """The content of a file, unpacked if its name ends in .gz.

    path: of the file.
    limit: the bytes that the content may have.
    Raises OSError where the file cannot be read, and otherwise as `unpack`.
    """
    return unpack(read_bytes(path, limit), path.suffix == ".gz", str(path), limit)


def check_digest(
    content: bytes | BufferedReader,
    expected: str,
    name: str,
    remedy: str,
    algorithm: Literal["sha256", "md5"] = "sha256",
) -> str:
    """The digest (hex) of a content.

    content: bytes, or an open file, of which the rest is read.
    expected: the digest that it must have.
    name: of the file, for messages.
    remedy: what to do about a wrong digest, for messages.
    algorithm: of the digest.
    Raises ValueError with both digests, shortened, and the remedy where the digest is another.
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
