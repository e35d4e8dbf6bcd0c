"""Download one file, and keep it only if its content is the expected one."""

from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from npsnn.files import check_digest, replacing, unpack

Progress = Callable[[int, int | None], None]
"""Told the bytes received so far and, where the server says, the bytes in all."""

BLOCK = 1 << 16
LIMIT = 1 << 26
TIMEOUT = 30.0  # seconds without a byte


def _receive(url: str) -> Iterator[tuple[bytes, int | None]]:
    """The blocks of the body, each with the announced length of the whole."""
    with urlopen(url, timeout=TIMEOUT) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        received = 0
        while block := response.read(BLOCK):
            received += len(block)
            yield block, total
        if total is not None and received < total:
            raise ConnectionError(f"the connection closed after {received} of {total} bytes")


def _blocks(url: str, folder: Path) -> Iterator[tuple[bytes, int | None]]:
    """What `_receive` gives, with every failure of the network as an OSError that says what to do."""
    try:
        yield from _receive(url)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
            reason = f"the server answered {error.code} {error.reason}"
        else:
            reason = str(getattr(error, "reason", error))
        raise OSError(f"cannot download {url} ({reason}): try again, or put the files into {folder}") from error


def download(url: str, target: Path, sha256: str, progress: Progress | None = None, as_is: bool = False) -> None:
    """Download to `target`, which appears only once it is whole and verified, and replaces an older file.

    sha256: of the content, after unpacking where the target's name ends in .gz, unless it is to be taken `as_is`.
    Raises OSError where the network or the disk fails, ValueError where the content is damaged or another one.
    """
    with replacing(target) as file:
        received = 0
        for block, total in _blocks(url, target.parent):
            file.write(block)
            received += len(block)
            if progress is not None:
                progress(received, total)
        file.flush()
        # Messages name the address, since the temporary file is gone when they are read.
        remedy = f"try again later, or put the files into {target.parent}"
        with Path(file.name).open("rb") as written:
            packed = target.suffix == ".gz" and not as_is
            check_digest(unpack(written.read(), True, url, LIMIT) if packed else written, sha256, url, remedy)
