"""Keyed random numbers: the same draws for the same seed, purpose and sample, in whatever order they are asked for."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import index
from typing import TypeAlias

import numpy as np

from npsnn import philox
from npsnn.backend import Array, namespace, on_gpu
from npsnn.validate import WHOLE_NUMBER

WHOLE = ("init", "validation", "shuffle", "gap", "evolution", "generator")
"""Purposes whose draws belong to no sample: a stream for one of them has a generator, and no numbers by sample."""
FIRST_LIMIT = 2**63
"""A sample is one of the counter's 64-bit words, and a batch begins well below the last of them."""


@dataclass(frozen=True)
class Stream:
    """A source of randomness named by a seed and a path, such as `Stream(0).at("evaluate", draw)`.

    Nothing is consumed: two calls with one key give the same numbers, so results do not depend on the number of
    threads, on the batch size or on what was drawn before.

    seed: a whole number.
    path: the purpose, from wide to narrow.
    first: the index of the sample in column 0 of what is drawn.
    shared: whether every sample has the same numbers.
    samples: the index of the sample in each column, where the samples do not follow one another, as `chosen` sets it.
    batch: the index of the first sample of the batch of which this stream is for a part, as `further` sets it; None
        where it is for a whole batch. Numbers by sample do not depend on it.

    The seed and the path become a key of 128 bits. On a GPU the numbers are keyed by sample as well, but are not a
    CPU's: `npsnn.philox` takes the first 64 bits of the key. Among 100 million draws two are the same with a
    probability of 0.0003.
    Raises TypeError or ValueError for a seed or a first that is no such number.
    """

    seed: int
    path: tuple[str | int, ...] = ()
    first: int = 0
    shared: bool = False
    samples: tuple[int, ...] | None = None
    batch: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, WHOLE_NUMBER):
            raise TypeError(f"seed must be a whole number, got {self.seed!r}")
        if not isinstance(self.first, WHOLE_NUMBER):
            raise TypeError(f"first must be a whole number, got {self.first!r}")
        if not 0 <= self.first < FIRST_LIMIT:
            raise ValueError(f"first must be the index of a sample, from 0 to 2**63 - 1, got {self.first}")

    def at(self, *path: str | int) -> "Stream":
        """The stream for a narrower purpose.

        path: words and numbers, added to the path of this stream.
        """
        if type(self) is not Stream:
            return replace(self, path=self.path + path)
        found = object.__new__(Stream)  # what was checked is not checked again: a step asks for many streams
        vars(found).update(vars(self), path=self.path + path)
        return found

    def from_sample(self, first: int) -> "Stream":
        """The same stream for another batch.

        first: the index of the batch's first sample.
        """
        return replace(self, first=first, samples=None, batch=None)

    def further(self, samples: int) -> "Stream":
        """The same stream for a part of the batch.

        samples: how many samples later the part begins.
        """
        if self.samples is None:
            return replace(self, first=self.first + samples, batch=self._batch)
        left = self.samples[samples:]
        return self._of(left, left[0] if samples and left else self.first)

    def chosen(self, columns: Iterable[int]) -> "Stream":
        """The same stream for some samples of the batch, whose numbers stay what they were in the batch.

        So does one draw for the whole batch (`one_draw`), which keeps the batch's first sample.
        columns: the index in the batch of each sample that is kept.
        """
        return self._of(tuple(self.sample(int(column)) for column in columns), self.first)

    def sample(self, column: int) -> int:
        """The index of the sample in a column."""
        return self.first + column if self.samples is None else self.samples[column]

    def _of(self, samples: tuple[int, ...], first: int) -> "Stream":
        return replace(self, first=first, samples=samples, batch=self._batch)

    def _moved(self, samples: int) -> "Stream":
        """The same stream for another batch, which begins so many samples later."""
        return self.from_sample(self.first + samples)

    @property
    def _batch(self) -> int:
        return self.first if self.batch is None else self.batch

    def as_in(self, other: "Stream") -> "Stream":
        """The same stream for the samples of another stream's batch, counted from the first sample of this one."""
        if other.samples is None:
            return self.further(other.first)
        return self._of(tuple(self.first + sample for sample in other.samples), self.first + other.first)

    def one_draw(self) -> "Stream":
        """The stream whose samples all have the same numbers: one draw for a whole batch.

        Batches with another `first` have other numbers. The parts of one batch have the same numbers, whatever samples
        the parts begin with.
        """
        return replace(self.at("one draw", self.first), shared=True)

    def batch_draw(self) -> "Stream":
        """As `one_draw`, the same for each part of a batch: `part.batch_draw()` is `batch.one_draw()`.

        A part is what `further` and `chosen` make of the batch's stream.
        """
        return replace(self.at("one draw", self._batch), shared=True)

    def _key(self) -> list[int]:
        # NumPy's integers are the integers they equal.
        path = tuple(part if isinstance(part, str) else index(part) for part in self.path)
        digest = hashlib.blake2b(repr((int(self.seed), path)).encode(), digest_size=16).digest()
        return [int.from_bytes(digest[:8]), int.from_bytes(digest[8:])]

    @property
    def whole(self) -> bool:
        """Whether the draws belong to no sample: the last word of the path is one of `WHOLE`."""
        return next((part for part in reversed(self.path) if isinstance(part, str)), None) in WHOLE

    def generator(self) -> np.random.Generator:
        """A NumPy generator for draws that belong to no sample, such as initial weights and permutations.

        The generator shares no numbers with `normal` and `uniform`: for a purpose outside `WHOLE` it is the generator
        of `at("generator")`.
        """
        own = self if self.whole else self.at("generator")
        return np.random.Generator(np.random.Philox(key=own._key()))

    def _samples(self, shape: tuple[int, ...], kind: str, dtype: np.dtype) -> Array:
        # Philox is counter-based: the highest counter word is the sample, so no two samples can overlap.
        bits = np.random.Philox(key=self._key())
        draw = getattr(np.random.Generator(bits), kind)
        start = bits.state  # to set it takes a fifth of the time of another generator
        out = np.empty((shape[-1], *shape[:-1]), dtype)
        for n in range(len(out)):
            start["state"]["counter"][3] = self.sample(n)
            bits.state = start
            draw(dtype=dtype.type, out=out[n, ...])
        return np.ascontiguousarray(np.moveaxis(out, 0, -1))

    def _draw(self, like: Array, kind: str) -> Array:
        if self.whole:
            raise ValueError(f"draws of the stream {self.path} belong to no sample: take its generator()")
        xp = namespace(like)
        if self.shared:
            one = replace(self, first=0, shared=False, samples=None)._draw(like[..., :1], kind)
            return xp.broadcast_to(one, like.shape)
        if not on_gpu(like):
            return self._samples(like.shape, kind, like.dtype)
        return self._keyed(like, kind)

    def _keyed(self, like: Array, kind: str) -> Array:
        numbers = {"standard_normal": philox.normal, "random": philox.uniform}[kind]
        return numbers(self.device_keys(like), like.shape, like.dtype)

    def device_keys(self, like: Array) -> Array:
        """The first 64 bits of the key, and the first sample: uint64 (2,), by which `npsnn.philox` knows a draw.

        Samples that do not follow one another each have an entry, by how much the sample is beyond its column.

        A draw on a GPU asks for this array alone, and nothing else is copied to the GPU. A stream whose keys are on the
        GPU already, such as a stream of a CUDA graph, overrides this method.

        like: the array whose library the keys get.
        """
        beyond = [self.first] if self.samples is None else [s - n for n, s in enumerate(self.samples[: like.shape[-1]])]
        return namespace(like).asarray(np.array([self._key()[0], *(b % 2**64 for b in beyond)], np.uint64))

    def normal(self, like: Array) -> Array:
        """Standard normal numbers, keyed by sample.

        like: the array whose shape (..., N), dtype and library the numbers get; N is the number of samples.
        Raises ValueError for a stream whose draws belong to no sample.
        """
        return self._draw(like, "standard_normal")

    def uniform(self, like: Array) -> Array:
        """Uniform numbers on [0, 1), keyed by sample.

        like: the array whose shape (..., N), dtype and library the numbers get; N is the number of samples.
        Raises ValueError for a stream whose draws belong to no sample.
        """
        return self._draw(like, "random")


Randomness: TypeAlias = np.random.Generator | Stream | int
"""Names of a source of randomness; a generator is advanced by one number."""


def as_stream(rng: Randomness) -> Stream:
    """The stream of keyed draws that an argument names.

    rng: a stream, a whole number, which is a seed, or a NumPy generator, from which one number is drawn as the seed.
    Raises TypeError for anything else.
    """
    if isinstance(rng, Stream):
        return rng
    if isinstance(rng, np.random.Generator):
        return Stream(int(rng.integers(2**63)))
    if isinstance(rng, bool) or not isinstance(rng, WHOLE_NUMBER):
        raise TypeError(f"rng must be a numpy.random.Generator, a Stream or a whole number, got {rng!r}")
    return Stream(int(rng))
