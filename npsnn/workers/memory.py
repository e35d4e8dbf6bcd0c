"""Arrays between processes: pickles through a pipe, and the arrays in them through shared memory."""

import mmap
import os
import pickle
import tempfile
from typing import IO, Any

LENGTH = 8
"""The bytes of a message's length, which stand before it."""
ALIGNMENT = 64
"""The bytes of a cache line, at the beginning of which each array in shared memory lies."""


class Channel:
    """One direction: pickles through a pipe, and the arrays in them through shared memory, where they have room.

    The arrays of one value lie in one half of the memory, those of the next in the other.
    """

    def __init__(self, file: IO[bytes], shared: int) -> None:
        """Use a file, unbuffered where it is read.

        shared: the memory's file descriptor, of which a copy is kept.
        """
        self.file = file
        self.memory = memoryview(mmap.mmap(shared, 0))
        self.half = 0

    def put(self, value: Any) -> None:
        places: list[tuple[int, int]] = []
        room = len(self.memory) // 2 // ALIGNMENT * ALIGNMENT
        end = self.half * room
        limit, self.half = end + room, 1 - self.half

        def in_band(buffer: pickle.PickleBuffer) -> bool:
            """Whether the array has to be pickled with the rest."""
            nonlocal end
            with buffer.raw() as raw:
                start, stop = end, end + raw.nbytes
                if stop > limit:
                    return True
                self.memory[start:stop] = raw
            places.append((start, stop))
            end = -(-stop // ALIGNMENT) * ALIGNMENT
            return False

        message = pickle.dumps((pickle.dumps(value, 5, buffer_callback=in_band), places))
        self.file.write(len(message).to_bytes(LENGTH, "little"))
        self.file.write(message)
        self.file.flush()

    def get(self) -> Any:
        """What was put; its arrays can be read until the next but one is.

        Raises EOFError where the other side has ended.
        """
        data, places = pickle.loads(self._read(int.from_bytes(self._read(LENGTH), "little")))
        return pickle.loads(data, buffers=[self.memory[start:stop].toreadonly() for start, stop in places])

    def _read(self, count: int) -> memoryview:
        """So many bytes of the file, and none beyond: whoever asks whether there is more asks the system."""
        content, done = memoryview(bytearray(count)), 0
        while done < count:
            read = self.file.readinto(content[done:])  # type: ignore[attr-defined]
            if not read:
                raise EOFError(f"the other side ended after {done} of {count} bytes")
            done += read
        return content


def size(value: Any) -> int:
    """The bytes of the arrays in it, in shared memory."""
    sizes: list[int] = []
    pickle.dumps(value, 5, buffer_callback=lambda buffer: sizes.append(buffer.raw().nbytes + ALIGNMENT))
    return sum(sizes)


def shared(size: int) -> int:
    """The file descriptor of so many bytes of memory that can be shared, or a page of it."""
    try:
        descriptor = os.memfd_create("npsnn")
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    descriptor = beyond_standard(descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(bytes(max(size, mmap.PAGESIZE)))  # now, where a full disk is an error: later it would be a signal
    return descriptor


def beyond_standard(descriptor: int) -> int:
    """The same open file under a number from 3: a process that lacks standard input is given 0 for its next file.

    Another process has files of its own under 0 to 2.
    """
    if descriptor > 2:
        return descriptor
    import fcntl  # here, since it is POSIX's alone

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)
