"""Numbers to try a layer with: far from every kink, so that differences over small steps are derivatives."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npsnn.layers.base import Layer, Params, Shape
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments
from npsnn.layers.params import Role, flatten, roles, unflatten

Valid = Mapping[str, Callable[[np.ndarray], np.ndarray]]
"""What makes any numbers such as a parameter may have, by the parameter's flat name."""

LEAST, MOST = 0.3, 2.3
SPREAD = 0.25, 1.5
"""The sizes of the means, and of the standard deviations."""


def role_of(layer: Layer, names: Any) -> dict[str, Role]:
    """The role of each parameter of one layer, by its flat name."""
    found = roles(Sequential((("layer", layer),)), [f"layer.{name}" for name in names])
    return {name.removeprefix("layer."): role for name, role in found.items()}


def engine_shape(shape: Shape, examples: int) -> Shape:
    """(C, H, W) -> (H, C, W, N), and (features,) -> (features, N)."""
    c, *sides = shape
    return (sides[0], c, sides[1], examples) if sides else (c, examples)


def moments_away_from_kinks(shape: Shape, examples: int, rng: np.random.Generator, farthest: float = 4.5) -> Moments:
    """Means of either sign, none near 0 or near another, and standard deviations with no mean near 3 of them.

    ReLU bends at a mean of 0, max pooling where two are equal, the Laplace rule at -3 standard deviations.

    shape: of one example.
    farthest: the most standard deviations that a mean may be from 0.
    """
    form = engine_shape(shape, examples)
    count = int(np.prod(form))
    size = LEAST + (MOST - LEAST) * (np.arange(count) + 1) / count
    size = rng.permutation(size).reshape(form)
    low, high = np.maximum(size / SPREAD[1], 0.4), np.minimum(size / SPREAD[0], 2.6)
    distance = rng.uniform(low, np.minimum(high, farthest))
    far = (size > 1) & (rng.random(form) < 0.3) & (farthest > 4)
    distance = np.where(far, rng.uniform(3.4, 4.2, form), distance)
    return Moments(size * rng.choice([-1.0, 1.0], form), (size / distance) ** 2)


def params_away_from_the_start(layer: Layer, start: Params, valid: Valid, rng: np.random.Generator) -> Params:
    """Parameters in float64 near the initial ones: scaled at random and, but for noise and statistics, moved.

    start: the initial parameters.
    """
    flat = flatten(start)
    kept = Role.NOISE | Role.STATISTIC
    found = {}
    for name, role in role_of(layer, flat).items():
        p = np.asarray(flat[name], np.float64) * rng.uniform(0.8, 1.2, flat[name].shape)
        if not role & kept or name in valid:
            p = p + 0.1 * rng.standard_normal(p.shape)
        found[name] = np.asarray(valid[name](p) if name in valid else p, np.float64)
    return unflatten(found)
