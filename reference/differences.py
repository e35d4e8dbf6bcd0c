"""Derivatives by differences of values: what every hand-written gradient is held against."""

from collections.abc import Callable

import numpy as np

from .plain import Floats


def slope(f: Callable[[float], float], at: float = 0.0, step: float = 1e-3) -> float:
    """df/dt by central differences over step and step / 2, extrapolated to step⁴."""
    coarse = (f(at + step) - f(at - step)) / (2 * step)
    fine = (f(at + step / 2) - f(at - step / 2)) / step
    return (4 * fine - coarse) / 3


def gradient(f: Callable[[Floats], float], x: Floats, step: float = 1e-3) -> Floats:
    """∂f/∂x, entry by entry."""
    g = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1
        g[place] = slope(lambda t, unit=unit: f(x + t * unit), step=step)  # type: ignore[misc]
    return g
