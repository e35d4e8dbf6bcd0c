"""The wanted files in a .tar.gz, unpacked in memory within limits; whatever else is in the archive is skipped."""

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from npsnn.files import reading
from npsnn.files.gunzip import Unpacked

MEMBERS = 1000
"""How many members of an archive are looked at."""


def members(path: Path, names: Mapping[str, str], limit: int, total: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each wanted member of the archive, in the archive's order.

    Headers of 512 bytes are read here, and not by `tarfile`, which takes long names and the like into memory.

    path: of the archive.
    names: from the name of a wanted member to the name that is given for it; all other members are skipped.
    limit: the bytes that a content may have.
    total: the bytes that the archive may have, packed and unpacked.
    Raises ValueError where a member is missing, cut off, too long or no plain file, and what `gunzip` and
    `tarfile.TarInfo` raise of damaged files.
    """
    wanted = dict(names)
    with reading(path, total) as file:
        unpacked = Unpacked(file, total)
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
        unpacked.finish()
    if wanted:
        raise ValueError(f"it holds no {', '.join(wanted)}")
