"""Streams of random numbers while a graph is recorded: the key of each draw becomes data of the graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from npsnn.backend import Array
from npsnn.streams import Stream

DRAWS = 4096
"""Draws that one graph may have."""

SAME = "while a graph is recorded: they would be the same each time"

Steps: TypeAlias = tuple[tuple[str, tuple[Any, ...]], ...]
Draw: TypeAlias = tuple[int, Steps]
"""The place of a stream among the arguments, and the calls that lead from the stream to the draw's own."""


def keys_of(draws: Mapping[Draw, int], streams: tuple[Stream, ...]) -> np.ndarray:
    """Key and first sample of each draw, uint64 (draws, 2).

    draws: the place of each.
    streams: the arguments of the graph.
    """
    words = []
    for which, steps in draws:
        stream = streams[which]
        for name, arguments in steps:
            stream = getattr(stream, name)(*arguments)
        # samples that share their numbers are all the first
        words.append((stream._key()[0], 0 if stream.shared else stream.first))
    return np.array(words, np.uint64)


@dataclass(frozen=True)
class Traced(Stream):
    """A stream while a graph is recorded: it notes how each draw's stream comes from it.

    The draw's key is then data: the next run computes the key from the stream that it is given.

    which: place among the arguments.
    steps: calls that led here from the argument.
    draws: places of the graph's draws, to which each new one is added.
    keys: where the graph looks for the keys, (DRAWS, 2).
    """

    which: int = field(default=0, kw_only=True)
    steps: Steps = field(default=(), kw_only=True)
    draws: dict[Draw, int] = field(default_factory=dict, kw_only=True, compare=False, repr=False)
    keys: Any = field(default=None, kw_only=True, compare=False, repr=False)

    def at(self, *path: str | int) -> Stream:
        return self._then(super().at(*path), "at", *path)

    def from_sample(self, first: int) -> Stream:
        # as far from this stream's own first as now: the next run's stream has another
        return self._then(super().from_sample(first), "_moved", first - self.first)

    def further(self, samples: int) -> Stream:
        return self._then(super().further(samples), "further", samples)

    def one_draw(self) -> Stream:
        return self._then(super().one_draw(), "one_draw")

    def batch_draw(self) -> Stream:
        return self._then(super().batch_draw(), "batch_draw")

    def _then(self, stream: Stream, name: str, *arguments: Any) -> Stream:
        return replace(stream, steps=(*self.steps, (name, arguments)))  # type: ignore[call-arg]

    def generator(self) -> np.random.Generator:
        raise RuntimeError(f"numbers of a generator cannot be drawn {SAME}")

    def _samples(self, shape: tuple[int, ...], kind: str, dtype: np.dtype) -> Array:
        raise RuntimeError(f"numbers of the host cannot be drawn {SAME}")

    def device_keys(self, like: Array) -> Array:
        """Key and first sample, where the graph looks for them."""
        place = self.draws.setdefault((self.which, self.steps), len(self.draws))
        if place >= DRAWS:
            raise ValueError(f"a graph may have at most {DRAWS} draws of random numbers, got more")
        return self.keys[place]
