"""Download one file, and keep it only if its content is the expected one."""

import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from npsnn.data.folder import Progress
from npsnn.files import check_digest, replacing, unpack

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


class _Encrypted(HTTPRedirectHandler):
    """Goes where the server points, but never from an encrypted connection to an open one."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise URLError(f"the server points to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(url: str, limit: int) -> Iterator[tuple[bytes, int | None]]:
    """The blocks of the body, each with the announced length of the whole."""
    with build_opener(_Encrypted).open(url, timeout=TIMEOUT) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if total is not None and total > limit:
            raise ConnectionError(f"the server announces {total:,} bytes, the file has at most {limit:,}")
        received = 0
        while block := response.read(BLOCK):
            received += len(block)
            if received > limit:
                raise ConnectionError(f"the server sends more than {limit:,} bytes, which the file has at most")
            yield block, total
        if total is not None and received < total:
            raise ConnectionError(f"the connection closed after {received} of {total} bytes")


def _blocks(url: str, folder: Path, limit: int) -> Iterator[tuple[bytes, int | None]]:
    """What `_receive` gives, with every failure of the network as an OSError that says what to do."""
    try:
        yield from _receive(url, limit)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
            reason = f"the server answered {error.code} {error.reason}"
        else:
            reason = str(getattr(error, "reason", error))
        raise OSError(f"cannot download {url} ({reason}): try again, or put the files into {folder}") from error


def download(
    url: str, target: Path, sha256: str, limit: int, progress: Progress | None = None, as_is: bool = False
) -> None:
    """Download a file, which appears only once it is whole and verified, and then replaces an older one.

    url: its address.
    target: the path of the file.
    sha256: of the content, after unpacking where the target's name ends in .gz.
    limit: the bytes that the file may have, and its content.
    progress: called with the bytes so far and the bytes in all, or None where their number is unknown.
    as_is: whether sha256 is of the file itself, packed or not.
    Raises OSError where the network or the disk fails, ValueError where the content is damaged or another one.
    """
    with replacing(target) as file:
        received = 0
        for block, total in _blocks(url, target.parent, limit):
            file.write(block)
            received += len(block)
            if progress is not None:
                progress(received, total)
        file.flush()
        # Messages name the address, since the temporary file is gone when they are read.
        remedy = f"try again later, or put the files into {target.parent}"
        with Path(file.name).open("rb") as written:
            packed = target.suffix == ".gz" and not as_is
            check_digest(unpack(written.read(), True, url, limit) if packed else written, sha256, url, remedy)
