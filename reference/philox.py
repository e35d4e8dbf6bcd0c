"""Philox4x32-10, number by number in whole numbers of Python, and the normal and uniform numbers made of its bits.

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", Sec. 3.3.
"""

from math import cos, log, pi, sqrt

Four = tuple[int, int, int, int]


def philox4x32(counter: Four, key: tuple[int, int], rounds: int = 10) -> Four:
    """Four random words of four words of a counter, the least significant first, under a key of two words."""
    left, right = key
    for _ in range(rounds):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = (high1 ^ counter[1] ^ left, low1, high0 ^ counter[3] ^ right, low0)
        # the golden ratio and the root of 3, less 1
        left, right = (left + 0x9E3779B9) % 2**32, (right + 0xBB67AE85) % 2**32
    return counter


def words(key: int, sample: int, index: int) -> Four:
    """The random words of the number with an index within a sample, under a key; each has 64 bits."""
    counter = (index % 2**32, index // 2**32, sample % 2**32, sample // 2**32)
    return philox4x32(counter, (key % 2**32, key // 2**32))


def first_bits(high: int, low: int, bits: int) -> int:
    """The first bits of the 64 that two words have."""
    return (high * 2**32 + low) >> (64 - bits)


def uniform(key: int, sample: int, index: int, bits: int) -> float:
    """A number on [0, 1) with so many bits: 24 for single and 53 for double precision."""
    x = words(key, sample, index)
    return first_bits(x[0], x[1], bits) / 2.0**bits


def normal(key: int, sample: int, index: int, bits: int) -> float:
    """√(-2 log u) cos(2πw) (Box and Muller 1958) with u on (0, 1] and w on [0, 1).

    bits: of u and of w, 32 for single and 53 for double precision.
    """
    x = words(key, sample, index)
    u = (first_bits(x[0], x[1], bits) + 1) / 2.0**bits
    return sqrt(-2 * log(u)) * cos(2 * pi * first_bits(x[2], x[3], bits) / 2.0**bits)
