"""The size of a noise as an array: its level, one number, and how the array follows the level.

The level of an array is the root mean square of its entries, which may have signs: √(Σ s²/n). Another level scales the
array as a whole. A parameter has one of these scopes: () for all units, (C,) for each channel, (C, H, W) for each unit.
"""

from typing import Any

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.ops.channels import channel_sums, per_channel


def level(sizes: Array) -> Array:
    """The root mean square of the entries, an array of no dimensions."""
    xp = namespace(sizes)
    return xp.sqrt((sizes * sizes).mean()) if sizes.ndim else xp.abs(sizes)


def slope(sizes: Array, grads: Array) -> Array:
    """The derivative by the level; 0 at the level 0.

    sizes: the array.
    grads: gradient of each entry.
    """
    found = level(sizes)
    return (grads * sizes).sum() / (found + (found == 0))


def at_level(sizes: Array, wanted: float) -> Array:
    """The array scaled to another level; where all entries are 0, each gets the same one.

    wanted: the level, >= 0.
    """
    found = float(level(sizes))
    return sizes * 0 + like(sizes, wanted) if found == 0 else sizes * like(sizes, wanted / found)


def capped(sizes: Array, cap: float) -> Array:
    """The array scaled down to the level `cap` > 0, if its level is above."""
    return sizes * (cap / namespace(sizes).maximum(level(sizes), cap))


def like(array: Array, value: float) -> Any:
    """`value` as a number of the array's dtype and library."""
    return namespace(array).asarray(value, array.dtype)


def spread(values: Array, x: Array) -> Array:
    """A view of a parameter of any scope that spreads over activations.

    values: (), (C,) or (C, H, W); (D,) for vectors.
    x: activations (H, C, W, N) or (D, N).
    """
    if np.ndim(values) == 3:
        return values.transpose(1, 0, 2)[..., None]
    return per_channel(values, x) if np.ndim(values) else values


def gathered(x: Array, values: Array) -> Array:
    """Sums of activations over all that one entry of a parameter spreads over, in the parameter's shape.

    x, values: as in `spread`.
    """
    if np.ndim(values) == 3:
        return x.sum(axis=-1).transpose(1, 0, 2)
    return channel_sums(x) if np.ndim(values) else x.sum()
