"""What gzip writes is read, whatever the sizes of blocks and members; all else within limits of memory and time."""

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn.files.gunzip import BLOCK, Unpacked, gunzip

SOME = bytes(range(256)) * 3000


@given(
    parts=st.lists(st.sampled_from([b"", b"a", SOME, bytes(5 * BLOCK)]), min_size=1, max_size=4),
    level=st.integers(0, 9),
    zeros=st.sampled_from([0, 1, BLOCK + 7]),
)
def test_all_members_are_read_and_zeros_between_them_passed_over(parts: list[bytes], level: int, zeros: int) -> None:
    packed = bytes(zeros).join(gzip.compress(part, level) for part in parts) + bytes(zeros)
    blocks = list(gunzip(io.BytesIO(packed), sum(map(len, parts))))
    assert b"".join(blocks) == b"".join(parts) == gzip.decompress(packed)
    assert max(map(len, blocks)) <= BLOCK


@given(end=st.integers(1, 2000))
def test_a_missing_end(end: int) -> None:
    packed = gzip.compress(SOME)
    with pytest.raises(EOFError):
        list(gunzip(io.BytesIO(packed[:-end]), len(SOME)))


@pytest.mark.parametrize("spoil", [lambda p: p[:-5] + b"x" + p[-4:], lambda p: p + b"xx", lambda p: b"x" + p])
def test_damage(spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(zlib.error):
        list(gunzip(io.BytesIO(spoil(gzip.compress(SOME))), len(SOME)))


def test_the_limit_holds_before_the_content_is_whole() -> None:
    packed, seen = gzip.compress(bytes(100 * BLOCK)), 0
    with pytest.raises(ValueError, match="unpacks to more"):
        for block in gunzip(io.BytesIO(packed), 3 * BLOCK):
            seen += len(block)
    assert seen <= 3 * BLOCK


def test_pieces() -> None:
    unpacked = Unpacked(io.BytesIO(gzip.compress(SOME)), len(SOME))
    assert unpacked.read(10) == SOME[:10]
    unpacked.skip(BLOCK)
    assert unpacked.read(BLOCK) == SOME[10 + BLOCK : 10 + 2 * BLOCK]
    assert len(unpacked.read(10**7)) == len(SOME) - 10 - 2 * BLOCK and unpacked.read(1) == b""


def test_a_million_zeros_after_the_end_cost_no_time() -> None:
    """A reader that takes them one by one would ask the file for each."""
    file, asked = io.BytesIO(gzip.compress(SOME) + bytes(1 << 20)), []
    read = file.read

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return read(size)

    assert b"".join(gunzip(Counted(), len(SOME))) == SOME
    assert len(asked) < 100
