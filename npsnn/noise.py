"""Layers that add Gaussian noise."""

from dataclasses import dataclass

import numpy as np

from npsnn.backend import namespace
from npsnn.layers import Backward, Params, Shape, Want
from npsnn.moments import Moments, Noise, Propagated, Sampled
from npsnn.validate import check_sigma, check_types


@dataclass(frozen=True)
class PreactivationNoise:
    """Adds N(0, sigma²) to every unit, independently: Z = y + ν, ν ~ N(0, sigma² I).

    sigma: standard deviation in the units of the pre-activation, >= 0; the parameter "sigma" starts from it.
    Off, drawn, or carried as var' = var + sigma² with dsigma = 2 sigma Σ dvar', as `noise` says; a draw's gradient
    is reparameterised, dsigma = Σ dmean'∘ε. With sigma = 0 the activation stays deterministic.
    Source: noise paper Eq. 3 (audit N4), Eq. 8 for a learned sigma (N22).
    """

    sigma: float

    def __post_init__(self) -> None:
        check_types(self)
        check_sigma(self.sigma)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {"sigma": np.array(self.sigma, np.float32)}, shape

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        sigma = params["sigma"]
        if isinstance(noise, Sampled):
            return self._sampled(sigma, m, noise)
        if isinstance(noise, Propagated) and sigma > 0:
            return self._propagated(sigma, m)
        return m, lambda g, want: (g, {"sigma": sigma * 0} if Want.PARAMS in want else {})

    def _sampled(self, sigma: float, m: Moments, noise: Sampled) -> tuple[Moments, Backward]:
        drawn = noise.stream.normal(m.mean)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return g, {"sigma": (g.mean * drawn).sum()} if Want.PARAMS in want else {}

        return Moments(m.mean + sigma * drawn, m.var), backward

    def _propagated(self, sigma: float, m: Moments) -> tuple[Moments, Backward]:
        # Without incoming variance the sum is one number: a view of it costs no memory.
        added = sigma * sigma
        xp = namespace(m.mean)
        var = xp.broadcast_to(added, m.mean.shape) if m.var is None else m.var + added

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below = Moments(g.mean, None if m.var is None else g.var)
            if Want.PARAMS not in want:
                return below, {}
            return below, {"sigma": sigma * 0 if g.var is None else 2 * sigma * g.var.sum()}

        return Moments(m.mean, var), backward
