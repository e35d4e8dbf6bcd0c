"""The content of gzip files, block by block and within a limit.

Python's own reader takes the zeros that may follow a gzip file one by one: a minute for a file of 128 MB.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 1 << 16


def gunzip(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Blocks of the content of a gzip file, of all its members, each checked by its checksum.

    file: open for reading.
    limit: the bytes that the content may have.
    Raises EOFError where the end is missing, zlib.error where the file is damaged, ValueError where the content is
    larger.
    """
    packed = file.read(BLOCK)
    while packed:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            packed = packed or file.read(BLOCK)
            content = member.decompress(packed, BLOCK)
            if not packed and not content and not member.eof:
                raise EOFError
            packed = member.unconsumed_tail
            limit -= len(content)
            if limit < 0:
                raise ValueError("it unpacks to more than it may")
            yield content
        packed = member.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(BLOCK)):
            packed = more.lstrip(b"\0")


class Unpacked:
    """The content of an open gzip file, to be read in pieces; raises as `gunzip`."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.blocks = gunzip(file, limit)
        self.buffer = bytearray()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        while len(self.buffer) < size and (block := next(self.blocks, None)) is not None:
            self.buffer += block
        piece = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        return piece

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        while size > 0 and (piece := self.read(min(size, BLOCK))):
            size -= len(piece)

    def finish(self) -> None:
        """Read to the end, where gzip has its checksum."""
        while self.read(BLOCK):
            pass
