"""Random numbers of a GPU: the place of a number and a key go through Philox4x32-10, in one elementwise formula.

Nothing is kept between numbers, and the key is an array on the device. So a draw can be part of a CUDA graph, and the
same graph draws other numbers for another key. The formula runs with NumPy as well, where tests look at it.

A number's counter is its index within the sample and the index of the sample, 64 bits each. So a sample's numbers do
not depend on the batch in which the sample is.

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from collections.abc import Callable
from math import pi, prod
from typing import TypeAlias

import numpy as np

from npsnn.backend import Array, fused, namespace

Words: TypeAlias = tuple[Array, Array, Array, Array]

WORD = 2**32 - 1
"""The bits of one word. Every word is a uint64 array, which holds the product of two words."""
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
BUMPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10


def philox(counter: Words, key: tuple[Array, Array]) -> Words:
    """The four random words of Philox4x32-10.

    counter: four words, the least significant first, as uint64 arrays.
    key: two words, the same.
    Source: Salmon et al. 2011, Sec. 3.3, with the constants of the library Random123.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for n in range(ROUNDS):
        if n:
            k0, k1 = (k0 + BUMPS[0]) & WORD, (k1 + BUMPS[1]) & WORD
        a, b = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0, x1, x2, x3 = (b >> 32) ^ x1 ^ k0, b & WORD, (a >> 32) ^ x3 ^ k1, a & WORD
    return x0, x1, x2, x3


def _words(index: Array, sample: Array, key: Array, first: Array) -> Words:
    """The random words of a number, from uint64 arrays: its index in the sample, and the sample less the first one."""
    sample = sample + first
    return philox((index & WORD, index >> 32, sample & WORD, sample >> 32), (key & WORD, key >> 32))


def _wide(high: Array, low: Array) -> Array:
    """The first 53 bits of two words, as many as a float64 holds."""
    return (high << 21) | (low >> 11)


# A function that cupy.fuse compiles has no dtype among its arguments, so each precision has a function of its own.


@fused
def _uniform32(index: Array, sample: Array, key: Array, first: Array) -> Array:
    x0, _, _, _ = _words(index, sample, key, first)
    return (x0 >> 8).astype(np.float32) * 2.0**-24  # of all 32 bits some would round to 1


@fused
def _uniform64(index: Array, sample: Array, key: Array, first: Array) -> Array:
    x0, x1, _, _ = _words(index, sample, key, first)
    return _wide(x0, x1).astype(np.float64) * 2.0**-53


@fused
def _normal32(index: Array, sample: Array, key: Array, first: Array) -> Array:
    x0, _, x2, _ = _words(index, sample, key, first)
    return _box_muller((x0 + 1).astype(np.float32) * 2.0**-32, x2.astype(np.float32) * (2 * pi * 2.0**-32))


@fused
def _normal64(index: Array, sample: Array, key: Array, first: Array) -> Array:
    x0, x1, x2, x3 = _words(index, sample, key, first)
    u = (_wide(x0, x1) + 1).astype(np.float64) * 2.0**-53
    return _box_muller(u, _wide(x2, x3).astype(np.float64) * (2 * pi * 2.0**-53))


def _box_muller(u: Array, angle: Array) -> Array:
    """A normal number √(-2 log u) cos(angle), of u in (0, 1] and an angle from 0 to 2π."""
    xp = namespace(u)
    return xp.sqrt(xp.log(u) * -2.0) * xp.cos(angle)


UNIFORM = {"float32": _uniform32, "float64": _uniform64}
NORMAL = {"float32": _normal32, "float64": _normal64}


def normal(keys: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Standard normal numbers by the method of Box and Muller, at most 6.6 in float32 and 8.6 in float64.

    keys: (2,) of uint64, the key and the index of the first sample; the numbers get its library. Samples that do not
        follow one another are (1 + N,): the key, and by how much each sample is beyond its column.
    shape: (..., N), where N is the number of samples.
    dtype: float32 or float64.
    Raises ValueError for another dtype.
    """
    return _numbers(NORMAL, keys, shape, dtype)


def uniform(keys: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Uniform numbers on [0, 1), multiples of 2⁻²⁴ in float32 and of 2⁻⁵³ in float64.

    keys: (2,) of uint64, the key and the index of the first sample; the numbers get its library. Samples that do not
        follow one another are (1 + N,): the key, and by how much each sample is beyond its column.
    shape: (..., N), where N is the number of samples.
    dtype: float32 or float64.
    Raises ValueError for another dtype.
    """
    return _numbers(UNIFORM, keys, shape, dtype)


def _numbers(formulas: dict[str, Callable[..., Array]], keys: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    formula = formulas.get(str(np.dtype(dtype)))
    if formula is None:
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    size, samples = prod(shape[:-1]), shape[-1]
    count = namespace(keys).arange(max(size, samples), dtype=np.uint64)
    return formula(count[:size, None], count[:samples], keys[:1], keys[1:]).reshape(shape)
