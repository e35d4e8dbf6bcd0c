"""Comparing what the engine computes on a GPU, or on its double, with what it computes with NumPy."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import cupy_double
import numpy as np

from npsnn.backend import to_host
from npsnn.layers.moments import Moments

LEAST = {"float64": 1e-9, "float32": 1e-4}
"""The least tolerance for a real GPU, whose functions round otherwise and whose sums have another order."""


def is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and type(value).__module__.partition(".")[0] in ("numpy", "cupy")


def tree(f: Callable[[Any], Any], value: Any) -> Any:
    """f applied to every array inside tuples, lists, dictionaries and Moments."""
    if isinstance(value, Moments):
        return Moments(tree(f, value.mean), tree(f, value.var))
    if isinstance(value, (tuple, list)):
        return type(value)(tree(f, v) for v in value)
    if isinstance(value, dict):
        return {k: tree(f, v) for k, v in value.items()}
    return f(value) if is_array(value) else value


def leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    tree(found.append, value)
    return found


def same(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    """Every array of the device's result lies there, and holds NumPy's numbers and dtype."""
    ours, theirs = leaves(ours), leaves(theirs)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert type(a).__module__ == "cupy", f"a NumPy {type(b).__name__} came out of a computation on the GPU"
        assert a.dtype == b.dtype and a.shape == b.shape
        least = 0.0 if isinstance(a, cupy_double.ndarray) else LEAST.get(str(b.dtype), 0.0)
        np.testing.assert_allclose(to_host(a), b, rtol=max(rtol, least), atol=1e-12 if rtol < 1e-6 else 1e-5)


def on_both(cupy: ModuleType, f: Callable[..., Any], *args: Any) -> Any:
    """f's result with NumPy, once f's result on the device is known to be the same."""
    theirs = f(*args)
    same(f(*tree(cupy.asarray, args)), theirs)
    return theirs


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return np.abs(values(*shape, seed=1)) + 0.1
