"""The wanted files in a .tar.gz, unpacked in memory within limits, whatever else is in it."""

import gzip
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK = 1 << 16
MEMBERS = 1000
"""How many members of an archive are looked at."""


class _Limited(gzip.GzipFile):
    """A gzip file that gives no more than `left` bytes, for a small one can unpack to more than the memory holds."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path, "rb")
        self.left = left

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.left -= len(block)
        if self.left < 0:
            raise ValueError("it unpacks to much more than was expected")
        return block

    def skip(self, size: int) -> None:
        while size > 0 and (block := self.read(min(size, BLOCK))):
            size -= len(block)


def members(path: Path, names: Mapping[str, str], limit: int, total: int) -> Iterator[tuple[str, bytes]]:
    """names[member] and the content of each of the members in `names`, in the archive's order; all others are skipped.

    limit: the bytes that a content may have. total: the bytes that the archive may unpack to.
    Headers of 512 bytes are read here, not by `tarfile`, which takes long names and the like into memory.
    Raises ValueError where one is missing, cut off, too long or no plain file, and what gzip, zlib and
    `tarfile.TarInfo` raise of damaged files.
    """
    wanted = dict(names)
    with _Limited(path, total) as unpacked:
        for _ in range(MEMBERS):
            if not any(header := unpacked.read(tarfile.BLOCKSIZE)):
                break
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            content = b""
            if member.name in wanted:
                if not member.isreg() or not 0 <= member.size <= limit:
                    raise ValueError(f"its {member.name} is no plain file of at most {limit} bytes")
                content = unpacked.read(member.size)
                if len(content) < member.size:
                    raise ValueError(f"it ends inside of {member.name}")
                yield wanted.pop(member.name), content
            unpacked.skip(-(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE - len(content))
        while unpacked.read(BLOCK):  # to the end, where gzip has its checksum
            pass
    if wanted:
        raise ValueError(f"it holds no {', '.join(wanted)}")
