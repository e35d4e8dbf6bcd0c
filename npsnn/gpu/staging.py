"""What the host sends to a GPU before each launch of a graph: everything in one copy that nobody waits for."""

from collections.abc import Mapping
from itertools import cycle
from math import prod
from typing import Any, TypeAlias

import numpy as np

from npsnn.backend import Array, gpu

Forms: TypeAlias = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and dtype of arrays, by name."""

ALIGNED = 256
"""Bytes to whose multiples the arrays are moved, as CUDA's own allocations are."""
SLOTS = 4
"""Copies that may be on their way at once; with one more the host waits for the first."""


class Staging:
    """Arrays in a GPU's memory, one behind the other, which are sent together.

    forms: of the arrays, in the order in which they lie; the last may be sent in part.
    arrays: in the GPU's memory, by name.
    """

    def __init__(self, forms: Forms) -> None:
        ends, places = 0, {}
        for name, (shape, dtype) in forms.items():
            start = -(-ends // ALIGNED) * ALIGNED
            ends = start + prod(shape) * np.dtype(dtype).itemsize
            places[name] = slice(start, ends)
        self._memory = gpu().zeros(max(ends, 1), np.uint8)
        self._slots = cycle([_Slot(max(ends, 1)) for _ in range(SLOTS)])
        self._places = places
        self.arrays: dict[str, Array] = {
            name: self._memory[places[name]].view(dtype).reshape(shape) for name, (shape, dtype) in forms.items()
        }

    def send(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Send the host's arrays; what they hold later does not matter.

        arrays: by name, each of the form of its name; of the last the first rows will do.
        What is not among them is not kept.
        """
        slot = next(self._slots)
        slot.arrived.synchronize()
        ends = 0
        for name, array in arrays.items():
            place = self._places[name]
            bytes_of = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            slot.host[place.start : place.start + len(bytes_of)] = bytes_of
            ends = max(ends, place.start + len(bytes_of))
        self._memory.data.copy_from_host_async(slot.host.ctypes.data, ends)
        slot.arrived.record()


class _Slot:
    """Memory of the host from which a GPU copies by itself, and whether it has."""

    def __init__(self, size: int) -> None:
        self.owner = gpu().cuda.alloc_pinned_memory(size)
        self.host = np.frombuffer(self.owner, np.uint8, size)
        self.arrived = gpu().cuda.Event()
