"""Activations: ReLU and PReLU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import later, settled
from npsnn.layers.base import Backward, Params, Passing, Shape, Want, filled, layer, rule_of
from npsnn.layers.moments import Moments, Noise
from npsnn.layers.params import Role
from npsnn.ops import activation
from npsnn.ops.gaussian import DETERMINISTIC, masked


@layer
@dataclass(frozen=True)
class ReLU(Passing):
    """max(x, 0), with moments by the rule that carries the noise.

    Source: noise paper Eq. 6 (audit N14), extension E1.
    """

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, shape

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        rule = rule_of(m, noise)
        mean, var, saved = rule.rectify(m.mean, m.var)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            if rule is DETERMINISTIC and g.var is None:
                return Moments(later(masked, g.mean, saved[0])), {}
            return Moments(*rule.rectify_backward(settled(g.mean), g.var, saved)), {}

        return Moments(mean, var), backward


@layer
@dataclass(frozen=True)
class PReLU(Passing):
    """x where x > 0 and slope x elsewhere, with moments by the rule that carries the noise.

    Each channel has a slope of its own, learned from 0.25 on.
    Source: He et al. 2015; the moments are those of `npsnn.ops.activation.prelu`.
    """

    roles: ClassVar[Mapping[str, Role]] = {"slope": Role.BIAS}

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {"slope": filled(rng, shape[:1], 0.25)}, shape

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        rule, slope = rule_of(m, noise), params["slope"]
        mean, var, saved = activation.prelu(m.mean, m.var, slope, rule)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads = {}
            if Want.PARAMS in want:
                grads["slope"] = activation.prelu_slope_backward(g.mean, g.var, slope, saved)
            if Want.INPUT not in want:
                return None, grads
            return Moments(*activation.prelu_backward(g.mean, g.var, slope, saved, rule)), grads

        return Moments(mean, var), backward
