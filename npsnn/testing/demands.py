"""What the checks share: a sentence where something is wrong, arrays that cannot be written to, comparisons of bits."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from npsnn.layers.moments import Moments

T = TypeVar("T")


def demand(holds: Any, sentence: str) -> None:
    """Raise AssertionError with the sentence unless it holds; python -O does not take this away as it does `assert`.

    holds: taken as true or false.
    sentence: names what is wrong, subject first.
    """
    if not holds:
        raise AssertionError(sentence)


def frozen(x: Any) -> np.ndarray:
    """A copy of an array that raises ValueError where it is written to."""
    copy = np.array(x)
    copy.flags.writeable = False
    return copy


def frozen_moments(m: Moments) -> Moments:
    """Copies of a mean and a variance that cannot be written to."""
    return Moments(frozen(m.mean), None if m.var is None else frozen(m.var))


def unwritten(who: str, what: str, f: Callable[[], T]) -> T:
    """f(), whose arguments are frozen; AssertionError where it writes to one.

    who: what is checked, for the message.
    what: that f calls, for the message.
    """
    try:
        return f()
    except ValueError as error:
        demand("read-only" not in str(error), f"{who}: {what} writes to one of its arguments ({error})")
        raise


def same(a: Any, b: Any) -> bool:
    """Whether two results are the same bits: arrays, moments, dictionaries of them, tuples of them, None."""
    if isinstance(a, Moments) and isinstance(b, Moments):
        return same((a.mean, a.var), (b.mean, b.var))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def close(a: Any, b: Any, rtol: float) -> bool:
    """Whether two arrays of one shape agree up to rtol times their largest entry."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return bool((np.abs(a - b) <= rtol * scale).all())
