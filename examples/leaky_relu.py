"""A layer of one's own: ReLU that lets a part of what is below 0 through, with its moments under every rule."""

from dataclasses import dataclass

import numpy as np

from npsnn.backend import constant
from npsnn.layers import Moments, layer, rule_of
from npsnn.ops import activation


@layer
@dataclass(frozen=True)
class LeakyReLU:
    """x where x > 0 and slope x elsewhere: slope X + (1 - slope) max(X, 0), whose moments the rule of max(X, 0) gives.

    slope: the part that is let through.
    """

    slope: float = 0.1

    def init(self, rng: np.random.Generator, shape):
        return {}, shape  # no parameters, and the shape stays

    def forward(self, params, m, noise):
        rule, slope = rule_of(m, noise), constant([self.slope], m.mean.dtype, m.mean)
        mean, var, saved = activation.prelu(m.mean, m.var, slope, rule)

        def backward(g, want):
            return Moments(*activation.prelu_backward(g.mean, g.var, slope, saved, rule)), {}

        return Moments(mean, var), backward


if __name__ == "__main__":
    from npsnn.testing import check_layer

    check_layer(LeakyReLU(0.1))
    check_layer(LeakyReLU(-0.5), shape=(6,))
