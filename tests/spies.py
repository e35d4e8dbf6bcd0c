"""A layer that tells what was asked of it."""

from dataclasses import dataclass

import numpy as np

from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.moments import Moments, Noise


@dataclass(frozen=True)
class Spy:
    """The identity; notes every backward pass through it."""

    seen: list

    def init(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Params, tuple[int, ...]]:
        return {}, shape

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        def backward(g: Moments, want: Want) -> tuple[Moments, Params]:
            self.seen.append(want)
            return g, {}

        return m, backward
