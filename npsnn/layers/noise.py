"""Layers that add Gaussian noise, and how its size is read and set in their parameters."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, namespace, settled
from npsnn.layers import levels
from npsnn.layers.base import Backward, Forms, Layer, Params, Passing, Shape, Want, filled, layer
from npsnn.layers.containers import Sequential, nested
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role
from npsnn.ops import feature_noise
from npsnn.products import matmul
from npsnn.validate import check_choice, check_sigma, check_types


class NoiseLayer(ABC):
    """A layer that adds noise whose size has one number, its level: a standard deviation.

    `params` and `grads` are the layer's own dictionaries. The noise is added to the layer's input, or, where the layer
    says that it is `on_weights`, to weights of the layer; then it has a `ratio` and is `quiet` without noise.
    """

    random: ClassVar[bool] = True
    on_weights: ClassVar[bool] = False

    @abstractmethod
    def level(self, params: Params) -> Array:
        """The standard deviation, an array of no dimensions."""

    @abstractmethod
    def slope(self, params: Params, grads: Params) -> Array:
        """The derivative by the level.

        params: parameters.
        grads: gradients of the parameters.
        """

    @abstractmethod
    def at_level(self, params: Params, sigma: float) -> Params:
        """The parameters with another level.

        params: parameters.
        sigma: the level, >= 0.
        """

    def capped(self, params: Params, cap: float) -> Params:
        """The parameters with a level of at most `cap`.

        params: parameters.
        cap: largest level, > 0.
        """
        return self.at_level(params, cap) if self.level(params) > cap else params

    def draws(self, params: Params) -> bool:
        """Whether two draws differ, as they do at any level but 0."""
        return bool(self.level(params) > 0)

    def carries(self, params: Params, noise: Noise) -> bool:
        """Whether the layer adds a variance: the noise is propagated, and there is some.

        params: parameters.
        noise: how the noise is treated; where it does not say whether there is any, the level is asked.
        """
        return isinstance(noise, Propagated) and (self.draws(params) if noise.on is None else noise.on)

    def quiet(self) -> Layer | None:
        """The layer without its noise; None where nothing is left, as of a layer that adds noise to its input."""
        return None

    def ratio(self, params: Params) -> Array:
        """Mean |w| over the root mean square of the standard deviations of the weights, for noise on weights."""
        raise NotImplementedError(f"{self} has no noise on weights")

    @abstractmethod
    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        """As for every layer (`npsnn.layers.base.Layer`)."""

    @abstractmethod
    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """As for every layer (`npsnn.layers.base.Layer`)."""


def noise_layers(network: Sequential) -> dict[str, NoiseLayer]:
    """Every noise layer of the network by its path, as "block1.body.noise", in the order of the forward pass."""
    return {path: layer for path, layer in nested(network) if isinstance(layer, NoiseLayer)}


SCOPES = ("scalar", "channel", "unit")


@layer
@dataclass(frozen=True)
class PreactivationNoise(Passing, NoiseLayer):
    """Adds N(0, sigma²) to every unit, independently: Z = y + ν, ν ~ N(0, sigma² I).

    sigma: standard deviation in the units of the pre-activation, >= 0, from which the parameter "sigma" starts.
    scope: what has a standard deviation of its own: "scalar", all units together, (); "channel", (C,); "unit", (C, H,
        W). A vector of D features has (D,) for either of the latter.
    shared: whether all examples of a micro-batch have one draw, keyed by the first of them.
    Propagated noise gives var' = var + sigma², with dsigma = 2 sigma Σ dvar'. A draw's gradient is reparameterised,
    dsigma = Σ dmean'∘ε. The sums are over all units and examples that an entry of sigma is for. The level of several
    entries is their root mean square. With sigma = 0 a deterministic activation stays deterministic; where the
    treatment of the noise says that there is some (`Propagated.on`), the activation gets the variance 0.
    Raises ValueError for another sigma or scope.
    Source: noise paper Eq. 3 (audit N4), Eq. 8 for a learned sigma (N22). Learn2Perturb (Jeddi et al. 2020) learns the
        scope "unit"; its code shares the draw.
    """

    sigma: float
    scope: str = "scalar"
    shared: bool = False
    roles: ClassVar[Mapping[str, Role]] = {"sigma": Role.NOISE}

    def __post_init__(self) -> None:
        check_types(self)
        check_sigma(self.sigma)
        check_choice("scope", self.scope, SCOPES)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        own = {"scalar": (), "channel": shape[:1], "unit": shape}[self.scope]
        return {"sigma": filled(rng, own, self.sigma)}, shape

    def level(self, params: Params) -> Array:
        """The standard deviation; of several the root mean square."""
        sigma = params["sigma"]
        return sigma if self.scope == "scalar" else levels.level(sigma)

    def slope(self, params: Params, grads: Params) -> Array:
        """The derivative by the level, with all standard deviations scaled as one; 0 where several are 0."""
        sigma = params["sigma"]
        return grads["sigma"] if self.scope == "scalar" else levels.slope(sigma, grads["sigma"])

    def at_level(self, params: Params, sigma: float) -> Params:
        """The parameters scaled to another level; noise that is 0 gets the same standard deviation everywhere."""
        own = params["sigma"]
        return {"sigma": levels.like(own, sigma) if self.scope == "scalar" else levels.at_level(own, sigma)}

    def capped(self, params: Params, cap: float) -> Params:
        """The parameters scaled down to the level `cap` > 0, if theirs is above it."""
        own = params["sigma"]
        return {"sigma": namespace(own).minimum(own, cap) if self.scope == "scalar" else levels.capped(own, cap)}

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        sigma = params["sigma"]
        if isinstance(noise, Sampled):
            return self._sampled(sigma, m.settled(), noise)
        if self.carries(params, noise):
            return self._propagated(sigma, m)
        return m, lambda g, want: (g, {"sigma": sigma * 0} if Want.PARAMS in want else {})

    def _sampled(self, sigma: Array, m: Moments, noise: Sampled) -> tuple[Moments, Backward]:
        drawn = noise.stream.one_draw().normal(m.mean[..., :1]) if self.shared else noise.stream.normal(m.mean)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            if Want.PARAMS not in want:
                return g, {}
            return g, {"sigma": noise.sized(levels.gathered(settled(g.mean) * drawn, sigma))}

        return Moments(m.mean + levels.spread(noise.sized(sigma), m.mean) * drawn, m.var), backward

    def _propagated(self, sigma: Array, m: Moments) -> tuple[Moments, Backward]:
        xp, added = namespace(m.mean), levels.spread(sigma * sigma, m.mean)
        # Without incoming variance the sum of one number for all units is a view of it, which costs no memory.
        var = xp.broadcast_to(added, m.mean.shape) if m.var is None else m.var + added
        if m.var is None and self.scope != "scalar":
            var = xp.ascontiguousarray(var)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below = Moments(g.mean, None if m.var is None else g.var)
            if Want.PARAMS not in want:
                return below, {}
            return below, {"sigma": sigma * 0 if g.var is None else 2 * sigma * levels.gathered(g.var, sigma)}

        return Moments(m.mean, var), backward


COVARIANCES = ("full", "diagonal", "scalar")


@layer
@dataclass(frozen=True)
class FeatureNoise(NoiseLayer):
    """Adds z = L ε, ε ~ N(0, I) for each example, to a vector of D features: z ~ N(0, Sigma), Sigma = L Lᵀ.

    sigma: standard deviation with which the noise of each feature starts, >= 0: L = sigma I.
    covariance: form of the parameter L: "full", lower triangular (D, D); "diagonal", (D,), which A2SNN calls isotropic
        (audit A7); "scalar", ().
    Propagated noise becomes a covariance: Sigma, (D, D, 1), common to all examples, for features without variance; else
    diag(var) + Sigma for each example, (D, D, N), with dvar = diag(dcov) and dL = tril(Σ_n (dcov_n + dcov_nᵀ) L). A
    draw's gradient is reparameterised, dL = tril(Σ dmean' εᵀ).
    Raises ValueError for another sigma or covariance, and for an image in place of a vector.
    Source: A2SNN Sec. 3 and 3.3 (audit A3, A20); one draw for each example.
    """

    sigma: float
    covariance: str = "full"
    roles: ClassVar[Mapping[str, Role]] = {"L": Role.NOISE}

    def __post_init__(self) -> None:
        check_types(self)
        check_sigma(self.sigma)
        check_choice("covariance", self.covariance, COVARIANCES)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        if len(shape) != 1:
            raise ValueError(f"{self} needs a vector, got the shape {shape}; put Flatten() before it")
        if self.covariance != "full":
            return {"L": filled(rng, shape if self.covariance == "diagonal" else (), self.sigma)}, shape
        if isinstance(rng, Forms):
            return {"L": rng.parameter(2 * shape)}, shape
        return {"L": (self.sigma * np.eye(shape[0])).astype(np.float32)}, shape

    def level(self, params: Params) -> Array:
        """Root mean square of the features' standard deviations, √(tr Sigma / D)."""
        L = params["L"]
        return namespace(L).sqrt((L * L).sum() / (len(L) if L.ndim else 1))

    def slope(self, params: Params, grads: Params) -> Array:
        """The derivative by the level, with L scaled as a whole; 0 without noise."""
        level = self.level(params)
        return (grads["L"] * params["L"]).sum() / (level + (level == 0))

    def at_level(self, params: Params, sigma: float) -> Params:
        """The parameters scaled to another level; noise that is 0 gets the same level in every feature."""
        L = params["L"]
        level = float(self.level(params))
        if level == 0:
            one = namespace(L).eye(len(L), dtype=L.dtype) if L.ndim == 2 else L * 0 + 1
            return {"L": levels.like(L, sigma) * one}
        return {"L": L * levels.like(L, sigma / level)}

    def capped(self, params: Params, cap: float) -> Params:
        """The parameters scaled down to the level `cap` > 0, if theirs is above it."""
        L = params["L"]
        return {"L": L * (cap / namespace(L).maximum(self.level(params), cap))}

    def factor(self, params: Params, features: int) -> Array:
        """L as a matrix (D, D).

        params: parameters.
        features: D.
        """
        L = params["L"]
        return L if L.ndim == 2 else namespace(L).eye(features, dtype=L.dtype) * L

    def gradient(self, dL: Array) -> Params:
        """The gradient of the parameter from the gradient of the matrix L."""
        if self.covariance == "full":
            return {"L": dL}
        diagonal = namespace(dL).diagonal(dL)
        return {"L": diagonal.copy() if self.covariance == "diagonal" else diagonal.sum()}

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        L = self.factor(params, len(m.mean))
        if isinstance(noise, Sampled):
            return self._sampled(L, m, noise)
        if self.carries(params, noise):
            return self._propagated(L, m)
        return m, lambda g, want: (g, {"L": params["L"] * 0} if Want.PARAMS in want else {})

    def _sampled(self, L: Array, m: Moments, noise: Sampled) -> tuple[Moments, Backward]:
        drawn, L = noise.stream.normal(m.mean), noise.sized(L)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads = feature_noise.add_noise_backward(g.mean, L, drawn) if Want.PARAMS in want else None
            return g, {} if grads is None else self.gradient(noise.sized(grads))

        return Moments(feature_noise.add_noise(m.mean, L, drawn), m.var), backward

    def _propagated(self, L: Array, m: Moments) -> tuple[Moments, Backward]:
        common = matmul(L, L.T)
        cov = common[..., None] if m.var is None else feature_noise.with_variances(common, m.var)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            incoming = m.var is not None and g.var is not None
            below = Moments(g.mean, feature_noise.with_variances_backward(g.var) if incoming else None)
            if Want.PARAMS not in want:
                return below, {}
            if g.var is None:
                return below, self.gradient(L * 0)
            d = g.var[..., 0] if m.var is None else g.var.sum(axis=2)
            return below, self.gradient(namespace(L).tril(matmul(d + d.T, L)))

        return Moments(m.mean, cov), backward
