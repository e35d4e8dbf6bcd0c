"""Layers that only rearrange numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from npsnn.backend import Array
from npsnn.layers.base import Backward, Params, Shape, Want, image_shape, layer
from npsnn.layers.moments import Moments, Noise


@layer
@dataclass(frozen=True)
class Flatten:
    """(H, C, W, N) -> (C*H*W, N), channels first as in PyTorch."""

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, (prod(image_shape(self, shape)),)

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        h, c, w, n = m.mean.shape

        def flat(x: Array) -> Array:
            return x.transpose(1, 0, 2, 3).reshape(-1, n)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return _both(lambda x: x.reshape(c, h, w, n).transpose(1, 0, 2, 3), g), {}

        return _both(flat, m), backward


def _both(f: Callable[[Array], Array], m: Moments) -> Moments:
    return Moments(f(m.mean), None if m.var is None else f(m.var))
