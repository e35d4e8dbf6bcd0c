"""Dropout: units, or whole channels, that are left out at random while a network is trained."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array
from npsnn.layers.base import Backward, Params, Shape, Want, image_shape, layer
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.validate import check_types


@layer
@dataclass(frozen=True)
class Dropout:
    """x∘m / (1 - p) in training, where each m is 0 with the probability p and else 1; x itself at all other times.

    p: probability that a unit is left out, in [0, 1).
    channels: whether an image loses whole channels, each with the probability p, instead of single numbers.
    Under a draw the masks are keyed by the sample, and p is multiplied by `Sampled.scale`. Propagated noise of
    independent units gives mean' = mean, var' = (var + p mean²) / (1 - p), hence dmean = dmean' + 2p/(1 - p)
    mean∘dvar', dvar = dvar' / (1 - p). The units of a channel that is left out as a whole correlate, and their
    covariance is dropped (audit N15). With the noise off the layer is the identity, in training as well.
    Raises ValueError for another p, for a scale that makes p reach 1, and for channels of a vector.
    Source: Srivastava et al. 2014; whole channels: Tompson et al. 2015. SADS (Vivek & Babu 2020) lets p fall to 0.
    """

    p: float
    channels: bool = False
    random_in_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be in [0, 1), got {self.p!r}")

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, image_shape(self, shape) if self.channels else shape

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        if noise.training is not None and isinstance(noise, Sampled):
            return self._sampled(m, noise)
        if noise.training is not None and isinstance(noise, Propagated) and self.p > 0:
            return self._propagated(m)
        return m, lambda g, want: (g, {})

    def _sampled(self, m: Moments, noise: Sampled) -> tuple[Moments, Backward]:
        p = noise.sized(self.p)
        if not 0 <= p < 1:
            raise ValueError(f"p times the scale must be in [0, 1), got {self.p} times {noise.scale}")
        uniform = noise.stream.uniform(m.mean[:1, :, :1] if self.channels else m.mean)
        mask = (uniform >= p) * m.mean.dtype.type(1 / (1 - p))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return Moments(g.mean * mask, None if m.var is None else _times(g.var, mask * mask)), {}

        return Moments(m.mean * mask, _times(m.var, mask * mask)), backward

    def _propagated(self, m: Moments) -> tuple[Moments, Backward]:
        p, kept = self.p, 1 - self.p
        squares = m.mean * m.mean * p
        var = (squares if m.var is None else m.var + squares) / kept

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            if g.var is None:
                return Moments(g.mean), {}
            below = g.mean + m.mean * g.var * (2 * p / kept)
            return Moments(below, None if m.var is None else g.var / kept), {}

        return Moments(m.mean, var), backward


def _times(x: Array | None, factor: Array) -> Array | None:
    return None if x is None else x * factor
