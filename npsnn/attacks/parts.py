"""A file of parts of computations: each is found by the digest of all that it depends on."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.files.blocks import Blocks

EVERY = 1.0
"""Seconds from one block to the next: what a kill may lose."""
TO_DISK = 30.0
"""Seconds after which a block is put on the disk: what a power failure may lose."""
LARGE = 1 << 24
"""The bytes of parts after which a block is written at once."""
FORMAT = 1


@dataclass
class Waiting:
    """Parts of one job that wait for their block.

    name: of the job; "" for one that nobody asks about.
    keys: the digests of the parts.
    counts: how many images each has.
    parts: the arrays of each, whose first axis is that of the images.
    several: whether a part is a tuple of arrays.
    seconds: how long they took.
    """

    name: str
    keys: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    parts: list[list[np.ndarray]] = field(default_factory=list)
    several: bool = False
    seconds: float = 0.0


class Parts:
    """Parts that are found again, in a file which is this object's alone.

    path: of the file.
    heads: what the file says of its parts, by name: the last that was said of each.
    images: the number of images of each named job.
    """

    def __init__(self, path: Path) -> None:
        """Open the file where there is one, or note its name.

        Raises OSError where the file cannot be opened, `TakenError` where it is in use, and
        ValueError where it is no such file.
        """
        self.path = path
        self.heads: dict[str, Any] = {}
        self.images: dict[str, int] = {}
        self._index: dict[str, tuple[int, int, int]] = {}
        self._decoded: dict[int, list[np.ndarray]] = {}
        self._waiting: list[Waiting] = []
        self._size = 0
        self._flushed = self._on_disk = perf_counter()
        self._blocks = Blocks(path) if path.exists() else None
        try:
            for number, head in enumerate(self._blocks.heads if self._blocks else ()):
                self._read(number, head)
        except BaseException:
            self.close()
            raise

    def _read(self, number: int, head: dict[str, Any]) -> None:
        if number == 0 and head.get("format") != FORMAT:
            raise ValueError(f"{self.path} must have the format {FORMAT} of parts, got {head.get('format')!r:.100}")
        try:
            self.heads |= head.get("says", {})
            if "keys" in head:
                self._enter(number, head)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path}, block {number}, is damaged: {error}") from error

    def _enter(self, number: int, head: Mapping[str, Any]) -> None:
        start = 0
        for key, count in zip(head["keys"], head["counts"], strict=True):
            if head["name"] and key not in self._index:
                self.images[head["name"]] = self.images.get(head["name"], 0) + int(count)
            self._index[str(key)] = number, start, int(count)
            start += int(count)

    def __contains__(self, key: str) -> bool:
        return self._blocks is not None and key in self._index

    def begin(self) -> None:
        """Make the file, unless it is there. A warning says where it cannot be written; nothing is then kept."""
        try:
            self._blocks = self._blocks or Blocks(self.path)
        except OSError as error:
            self._give_up(error)
        if self._blocks and not self._blocks.heads:
            self._append({"format": FORMAT})

    def say(self, **says: Any) -> None:
        """Keep something of all parts, as JSON, in the place of what had its name."""
        self.heads |= says
        self._append({"says": says})

    def take(self, waiting: Waiting, key: str, count: int, result: Any, seconds: float) -> None:
        """Have a part wait for its block, and write what waits where a second is over.

        waiting: the parts of the same job.
        result: an array, or a tuple of arrays, whose first axis is that of the images; other results are not kept.
        """
        arrays = list(result) if isinstance(result, tuple) else [result]
        if not all(isinstance(a, np.ndarray) and a.ndim and len(a) == count for a in arrays) or self._blocks is None:
            return
        if not waiting.keys:
            self._waiting.append(waiting)
        waiting.keys.append(key)
        waiting.counts.append(count)
        waiting.parts.append(arrays)
        waiting.several = isinstance(result, tuple)
        waiting.seconds += seconds
        self._size += sum(array.nbytes for array in arrays)
        if perf_counter() - self._flushed > EVERY or self._size > LARGE:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        """Write all that waits; where that fails, a warning says so, and nothing more is kept."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        for one in waiting:
            arrays = [np.concatenate(each) for each in zip(*one.parts, strict=True)]
            head = {"name": one.name, "keys": one.keys, "counts": one.counts}
            self._append(head | {"several": one.several, "seconds": one.seconds}, arrays, to_disk)
            # the next parts of the job are another block's
            one.keys, one.counts, one.parts, one.seconds = [], [], [], 0.0
        self._flushed = perf_counter()

    def _append(self, head: dict[str, Any], arrays: list[np.ndarray] | None = None, to_disk: bool = False) -> None:
        if self._blocks is None:
            return
        try:
            self._blocks.append(head, arrays or [], to_disk or perf_counter() - self._on_disk > TO_DISK)
        except OSError as error:
            self._give_up(error)
            return
        if to_disk or perf_counter() - self._on_disk > TO_DISK:
            self._on_disk = perf_counter()
        if "keys" in head:
            self._enter(len(self._blocks.heads) - 1, head)

    def _give_up(self, error: OSError) -> None:
        warnings.warn(f"{error}; the attacks go on, and what they find now could not be gone on with", stacklevel=3)
        self.close()

    def load(self, keys: list[str]) -> tuple[dict[str, Any], float]:
        """Those parts, by their digests, and the seconds that their blocks took; ValueError where one is damaged."""
        found, seconds = dict[str, Any](), 0.0
        seen = set[int]()
        for key in keys:
            number, start, count = self._index[key]
            head, arrays = self._decode(number)
            its = tuple(array[start : start + count] for array in arrays)
            found[key] = its if head["several"] else its[0]
            seconds += 0.0 if number in seen else float(head["seconds"])
            seen.add(number)
        return found, seconds

    def _decode(self, number: int) -> tuple[dict[str, Any], list[np.ndarray]]:
        """A block, of which the last is held: parts are asked for in their order."""
        assert self._blocks is not None
        if number not in self._decoded:
            self._decoded = {number: self._blocks.arrays(number)}
        return self._blocks.heads[number], self._decoded[number]

    def close(self) -> None:
        """Leave the file to others."""
        if self._blocks:
            self._blocks.close()
        self._blocks = None

    def remove(self) -> None:
        """Remove the file."""
        if self._blocks:
            self._blocks.remove()
        self._blocks = None
