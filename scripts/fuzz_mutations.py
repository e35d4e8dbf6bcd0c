"""Seeded damage to the bytes of a file: what disks, transfers and hostile people do."""

import gzip
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

Mutation = Callable[[np.random.Generator, bytes], bytes]

ODD = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    255,
    256,
    1000,
    65535,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
)
WORDS = (b"NaN", b"Infinity", b"-1", b"1e999", b"null", b"true", b"[]", b"{}", b'"x"', b"1" + b"0" * 400, b"9" * 5000)
WORDS += (b"1e308", b"0", b"-0.0", b"[[1]]", b'"\x1b[2J"', b"\xff", b"'", b"\0", b"inf", b"2024-01-01", b"1000000000")
BOMB, PART = 600 << 20, 10 << 20
"""The bytes that a bomb unpacks to, and those of one of its parts."""


def flip(rng: np.random.Generator, content: bytes) -> bytes:
    """Some bits are others."""
    changed = bytearray(content)
    for where in rng.integers(len(content), size=rng.integers(1, 9)):
        changed[where] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def write(rng: np.random.Generator, content: bytes) -> bytes:
    """Some bytes in a row are others."""
    where = place(rng, content)
    new = rng.bytes(int(rng.integers(1, 9))) if rng.random() < 0.5 else bytes([int(rng.choice([0, 255]))]) * 8
    return content[:where] + new + content[where + len(new) :]


def cut(rng: np.random.Generator, content: bytes) -> bytes:
    """The end is missing, or a part of it."""
    return content[: place(rng, content)]


def grow(rng: np.random.Generator, content: bytes) -> bytes:
    """Something follows after the end."""
    return content + (rng.bytes(int(rng.integers(1, 200))), bytes(1000), content)[int(rng.integers(3))]


def splice(rng: np.random.Generator, content: bytes) -> bytes:
    """A part stands in another place, in the place of what was there or beside it."""
    start, where = place(rng, content), place(rng, content)
    part = content[start : start + int(rng.integers(1, 1 + max(1, len(content) // 4)))]
    return content[:where] + part + content[where + (len(part) if rng.random() < 0.5 else 0) :]


def length(rng: np.random.Generator, content: bytes) -> bytes:
    """A field of 2, 4 or 8 bytes is a size that is odd."""
    where, form = place(rng, content), ("<H", ">H", "<I", ">I", "<Q", ">Q")[int(rng.integers(6))]
    value = int(rng.choice((*map(float, ODD), len(content), -1.0)))
    field = struct.pack(form, value % (1 << (8 * struct.calcsize(form))))
    return content[:where] + field + content[where + len(field) :]


def word(rng: np.random.Generator, content: bytes) -> bytes:
    """A number or a word of a text is another one."""
    found = list(re.finditer(rb"-?[0-9][0-9.]*|true|false|null|'[^'\n]*'|\"[^\"\n]*\"", content[:4096]))
    if not found:
        return write(rng, content)
    one = found[int(rng.integers(len(found)))]
    return content[: one.start()] + WORDS[int(rng.integers(len(WORDS)))] + content[one.end() :]


def nest(rng: np.random.Generator, content: bytes) -> bytes:
    """Brackets, or an opcode of a pickle, stand there a hundred thousand times."""
    where = place(rng, content)
    part = (b"[", b'{"a":', b"(", b"]", b"\x85", b"a.", b"[[a]]\n")[int(rng.integers(7))]
    return content[:where] + part * int(rng.choice([150, 150, 1100, 1100, 5000, 100_000])) + content[where:]


def place(rng: np.random.Generator, content: bytes) -> int:
    """Anywhere, and as often near the beginning or the end, where headers are."""
    size = len(content)
    near = min(size, 128)
    return int((rng.integers(size + 1), rng.integers(near + 1), size - rng.integers(near + 1))[int(rng.integers(3))])


def inside(mutation: Mutation) -> Mutation:
    """The mutation of what a gzip or zip file holds, packed again; of any other file, the mutation itself."""

    def mutate(rng: np.random.Generator, content: bytes) -> bytes:
        if content[:2] == b"\x1f\x8b":
            return packed(mutation(rng, gzip.decompress(content)))
        if content[:2] != b"PK":
            return mutation(rng, content)
        members = unzipped(content)
        chosen = int(rng.integers(len(members)))
        return zipped([(n, mutation(rng, c) if i == chosen else c) for i, (n, c) in enumerate(members)])

    return mutate


def wrap(rng: np.random.Generator, content: bytes) -> bytes:
    """The same in another wrapping: compressed, twice, under other names, or not at all."""
    if content[:2] == b"PK":
        members, kind = unzipped(content), int(rng.integers(5))
        if kind == 0:
            return zipped(members, zipfile.ZIP_DEFLATED)
        if kind == 1:
            return zipped([*members, members[int(rng.integers(len(members)))]])
        if kind == 2:
            return zipped([*members, (f"more{rng.integers(9)}", b"text"), ("x.npy", b"text")])
        if kind == 3:
            return zipped(members[1:])
        return zipped([(name, zero_bomb_of_zip()) for name, _ in members[:1]] + members[1:])
    if content[:2] == b"\x1f\x8b":
        return (gzip.decompress(content), packed(content), content + content)[int(rng.integers(3))]
    return packed(content)


def bomb(rng: np.random.Generator, content: bytes) -> bytes:
    """A little file that unpacks to 600 MB; of a file that is not packed, one long line of it."""
    if content[:2] == b"PK":
        return zero_bomb_of_zip(unzipped(content)[0][0])
    if content[:2] == b"\x1f\x8b":
        start = gzip.decompress(content)[: int(rng.choice([0, 16, 512, 1 << 20]))]
        return packed(start) + packed(bytes(PART)) * (BOMB // PART)
    where = place(rng, content)
    return content[:where] + content[: max(1, len(content) // 2)] * (2_000_000 // len(content)) + content[where:]


def packed(content: bytes) -> bytes:
    """A gzip file, which does not say when it was made."""
    return gzip.compress(content, 1, mtime=0)


def unzipped(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)  # which says 1980
    return stream.getvalue()


@cache
def zeros() -> tuple[bytes, bytes]:
    """A .npy file of 600 MB of zeros, packed, and what a zip file says of it: its checksum and its two sizes."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % BOMB
    start = b"\x93NUMPY\x01\0" + struct.pack("<H", 118) + header.ljust(117) + b"\n"
    packer = zlib.compressobj(9, wbits=-15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(PART)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed, crc = head + part * (BOMB // PART) + packer.flush(), zlib.crc32(start)
    for _ in range(BOMB // PART):
        crc = zlib.crc32(bytes(PART), crc)
    return packed, struct.pack("<III", crc, len(packed), len(start) + BOMB)


def zero_bomb_of_zip(name: str = "about.json.npy") -> bytes:
    """A zip file with one member, a .npy file whose 600 MB are zeros."""
    (packed, sizes), encoded = zeros(), name.encode()
    local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(encoded), 0) + encoded
    central = b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0) + sizes
    central += struct.pack("<HHHHHII", len(encoded), 0, 0, 0, 0, 0, 0) + encoded
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    return local + packed + central + end


PLAIN: tuple[Mutation, ...] = (flip, write, cut, grow, splice, length, word, nest)
MUTATIONS = PLAIN + tuple(inside(mutation) for mutation in PLAIN) + (wrap,)


def mutated(rng: np.random.Generator, content: bytes) -> tuple[bytes, int | None]:
    """A mutant of the content, and the size to which the file is to be stretched with nothing, if any."""
    chance = rng.random()
    if chance < 0.003:
        return bomb(rng, content), None
    if chance < 0.01:
        return content, int(rng.choice([1 << 20, 1 << 28, 5 << 30, 1 << 40]))
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        try:
            content = MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, content) or b"\0"
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError):
            content = flip(rng, content)  # what was packed cannot be unpacked any more
    return content, None
