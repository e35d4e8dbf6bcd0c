"""How ranks wait: a request is asked again and again, at first at once, then after longer and longer naps."""

from collections.abc import Iterator

SPINS = 50
"""How often a request is asked for before a rank begins to sleep."""
NAP, LONGEST_NAP = 20e-6, 5e-4
"""Seconds of the first sleep and of the longest."""
MOVING = 2e-5
"""Seconds of a look that has moved something: MPI moves a few kilobytes in a look, and nothing in between."""


def naps() -> Iterator[float]:
    """Seconds to wait from one look to the next: none at first, then longer and longer."""
    yield from (0.0 for _ in range(SPINS))
    nap = NAP
    while True:
        yield nap
        nap = min(2 * nap, LONGEST_NAP)
