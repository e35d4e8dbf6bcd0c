"""Affine layers with Gaussian noise on their weights: the noise of PNI, and the posterior of a Bayesian network."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.layers import levels
from npsnn.layers.affine import Affine, Conv2d, Linear
from npsnn.layers.base import Backward, Params, Shape, Want, filled, layer
from npsnn.layers.moments import Moments, Noise, Sampled
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import Role
from npsnn.ops import feature_noise
from npsnn.ops.channels import channel_sums, per_channel
from npsnn.validate import check_choice, check_sigma

SPREADS = ("relative", "free")
SCOPES = ("layer", "channel", "element")
OFF = -1e4
"""The logarithm of a standard deviation of 0: its exponential is 0 in either precision, and the number is finite."""


@dataclass(frozen=True)
class NoisyWeights(Affine, NoiseLayer):
    """An affine layer whose weights are w + s∘ε, ε ~ N(0, I): one draw for all examples of a micro-batch.

    spread: "relative" has s = alpha std(w), with n - 1 over the n weights of the layer, and no noise on the bias: PNI.
        "free" has s = exp(rho) for each weight and for each bias: a Gaussian posterior, as Adv-BNN has it.
    scope: of the parameter alpha: "layer", (); "channel", one for each output; "element", one for each weight. The
        parameters "rho" and "rho_b" are one for each.
    start: alpha at first, or exp(rho) at first, >= 0.
    through_std: whether gradients of w go through std(w), as the formula of PNI's paper has them; its code takes
        std(w) for a constant.

    A draw is keyed by the stream and the first sample of the micro-batch (`Stream.one_draw`). With g the cotangent of
    the drawn weights: dw = g, ds = g∘ε. Propagated noise of independent inputs with means m and variances v gives
    mean' = A(w) m + b and var' = A(w²) v + A(s²)(m² + v) + s_b², where A is linear in its weights. With the cotangents
    g of mean' and h of var': dm = A(w)ᵀg + 2 m∘A(s²)ᵀh, dv = A(w²)ᵀh + A(s²)ᵀh, ds = 2 s∘(h⊗(m² + v)). From ds follow
    dalpha = Σ ds std(w), over the scope, and drho = ds∘s. The variances of a linear layer are exact, as are those of a
    convolution, whose outputs share weights: their covariance is dropped (audit N15).

    The level is the root mean square of alpha, which has no unit and whose sign is free, or of exp(rho), in units of
    the weights. Noise that is free has rho = -10,000 at the level 0; no gradient moves it from there.
    """

    spread: str = "relative"
    scope: str = "layer"
    start: float = 0.25
    through_std: bool = False
    shared: ClassVar[bool] = True
    on_weights: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, Role]] = {
        "b": Role.BIAS,
        "alpha": Role.NOISE,
        "rho": Role.NOISE,
        "rho_b": Role.NOISE,
    }

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]  # of the convolution or the linear layer beside it
        check_choice("spread", self.spread, SPREADS)
        check_choice("scope", self.scope, SCOPES)
        check_sigma(self.start)
        if self.spread == "free" and (self.scope != "layer" or self.through_std):
            raise ValueError(f"scope and through_std are for relative spread, got them with free: {self}")

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        params, out = super().init(rng, shape)  # type: ignore[safe-super]
        w = params["w"]
        if self.spread == "free":
            rho = log(self.start) if self.start > 0 else OFF
            names = {"w": "rho", "b": "rho_b"}
            return params | {names[name]: filled(rng, p.shape, rho) for name, p in params.items()}, out
        if w.size < 2:
            raise ValueError(f"{self} needs two weights at least for their spread, got one")
        own = {"layer": (), "channel": w.shape[:1], "element": w.shape}[self.scope]
        return params | {"alpha": filled(rng, own, self.start)}, out

    def constants(self, params: Params) -> Params:
        """std(w), where gradients take it for a constant."""
        return {"std": self._std(params)} if self.spread == "relative" and not self.through_std else {}

    def _std(self, params: Params) -> Array:
        if "std" in params:
            return params["std"]
        w = params["w"]
        apart = w - w.mean()
        return namespace(w).sqrt((apart * apart).sum() / (w.size - 1))

    def _alpha(self, params: Params) -> Array:
        """alpha in a shape that spreads over the weights."""
        alpha, w = params["alpha"], params["w"]
        return alpha.reshape(-1, *(1,) * (w.ndim - 1)) if self.scope == "channel" else alpha

    def sizes(self, params: Params) -> tuple[Array, Array | None]:
        """Standard deviations of the weights, in a shape that spreads over them, and of the bias, None for 0."""
        if self.spread == "relative":
            return self._alpha(params) * self._std(params), None
        xp = namespace(params["rho"])
        return xp.exp(params["rho"]), xp.exp(params["rho_b"]) if "rho_b" in params else None

    def ratio(self, params: Params) -> Array:
        """Mean |w| over the root mean square of the standard deviations of the weights."""
        w = params["w"]
        size = namespace(w).broadcast_to(self.sizes(params)[0], w.shape)
        return abs(w).mean() / namespace(w).sqrt((size * size).mean())

    def gradients(self, params: Params, ds: Array, ds_b: Array | None) -> Params:
        """Gradients of the parameters of the noise, and of w by way of the noise where there is such a part.

        ds: gradient by the standard deviation of each weight, in the shape of w.
        ds_b: by that of each bias; None where the bias has no noise.
        """
        size, size_b = self.sizes(params)
        if self.spread == "free":
            return {"rho": ds * size} | ({} if size_b is None else {"rho_b": ds_b * size_b})
        w, std = params["w"], self._std(params)
        over = {"layer": tuple(range(w.ndim)), "channel": tuple(range(1, w.ndim)), "element": ()}[self.scope]
        found = {"alpha": (ds.sum(axis=over) if over else ds) * std}
        if self.through_std:
            by_std = (ds * self._alpha(params)).sum()
            found["w"] = (w - w.mean()) * (by_std / ((w.size - 1) * (std + (std == 0))))
        return found

    def level(self, params: Params) -> Array:
        """Root mean square of alpha, or of the standard deviations exp(rho)."""
        if self.spread == "relative":
            return levels.level(params["alpha"])
        xp, logs = namespace(params["rho"]), self._logs(params)
        most = logs[0].max() if len(logs) == 1 else xp.maximum(*(rho.max() for rho in logs))
        squares = sum(xp.exp(2 * (rho - most)).sum() for rho in logs)
        return xp.exp(most) * xp.sqrt(squares / sum(rho.size for rho in logs))

    def _logs(self, params: Params) -> list[Array]:
        return [params[name] for name in ("rho", "rho_b") if name in params]

    def slope(self, params: Params, grads: Params) -> Array:
        """The derivative by the level, with all sizes scaled as one; 0 without noise."""
        if self.spread == "relative":
            return levels.slope(params["alpha"], grads["alpha"])
        level = self.level(params)
        return sum(grad.sum() for grad in self._logs(grads)) / (level + (level == 0))

    def at_level(self, params: Params, sigma: float) -> Params:
        """The parameters scaled to another level; noise that is 0 gets the same size everywhere."""
        if self.spread == "relative":
            return params | {"alpha": levels.at_level(params["alpha"], sigma)}
        level = float(self.level(params))
        if sigma > 0 and level > 0:
            return params | self._moved(params, log(sigma / level))
        rho = log(sigma) if sigma > 0 else OFF
        return params | {name: p * 0 + levels.like(p, rho) for name, p in self._moved(params, 0.0).items()}

    def capped(self, params: Params, cap: float) -> Params:
        """The parameters scaled down to the level `cap` > 0, if theirs is above it."""
        if self.spread == "relative":
            return params | {"alpha": levels.capped(params["alpha"], cap)}
        xp = namespace(params["rho"])
        return params | self._moved(params, xp.log(cap / xp.maximum(self.level(params), cap)))

    def _moved(self, params: Params, by: Any) -> Params:
        return {name: params[name] + by for name in ("rho", "rho_b") if name in params}

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        m = m.settled()
        if isinstance(noise, Sampled):
            return self._sampled(params, m, noise)
        out, back = super().passed(params, m, noise)
        if self.carries(params, noise):
            return self._propagated(params, m, out, back)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(g, want)
            return below, grads | self._of_no_noise(params) if Want.PARAMS in want else grads

        return out, backward

    def _of_no_noise(self, params: Params) -> Params:
        return {name: params[name] * 0 for name in ("alpha", "rho", "rho_b") if name in params}

    def _sampled(self, params: Params, m: Moments, noise: Sampled) -> tuple[Moments, Backward]:
        w, (size, size_b) = params["w"], self.sizes(params)
        drawn = noise.stream.one_draw().normal(w[..., None])[..., 0]
        noisy, drawn_b = {**params, "w": w + noise.sized(size) * drawn}, None
        if size_b is not None:
            drawn_b = noise.stream.at("bias").one_draw().normal(size_b[..., None])[..., 0]
            noisy["b"] = params["b"] + noise.sized(size_b) * drawn_b
        out, back = super().passed(noisy, m, noise)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(g, want)
            if Want.PARAMS not in want:
                return below, grads
            ds_b = None if drawn_b is None else noise.sized(grads["b"] * drawn_b)
            return below, _summed(grads, self.gradients(params, noise.sized(grads["w"] * drawn), ds_b))

        return out, backward

    def _propagated(self, params: Params, m: Moments, out: Moments, back: Backward) -> tuple[Moments, Backward]:
        """The moments with the noise of the weights.

        out: moments of the layer with its mean weights.
        back: their backward pass.
        """
        w, (size, size_b) = params["w"], self.sizes(params)
        xp, v = namespace(w), None if m.var is None else feature_noise.marginal(m.var, m.mean)
        squares = xp.ascontiguousarray(xp.broadcast_to(size * size, w.shape))
        second = m.mean * m.mean if v is None else m.mean * m.mean + v
        more, saved = self.apply_squared(squares, second)
        if size_b is not None:
            more = more + per_channel(size_b * size_b, more)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            g = g.settled()
            below, grads = back(Moments(g.mean, None if out.var is None else g.var), want)
            if g.var is None:
                return below, grads | self._of_no_noise(params) if Want.PARAMS in want else grads
            h = self.added_backward(g.var)
            dsecond, dsquares = self.pull(squares, h, saved, second.shape, want)
            if dsecond is not None and below is not None:
                dvar = (
                    None
                    if m.var is None or below.var is None
                    else below.var + feature_noise.marginal_backward(dsecond, m.var)
                )
                below = Moments(below.mean + 2 * m.mean * dsecond, dvar)
            if dsquares is None:
                return below, grads
            ds_b = None if size_b is None else 2 * size_b * channel_sums(h)
            return below, _summed(grads, self.gradients(params, 2 * size * dsquares, ds_b))

        return Moments(out.mean, self.added(out.var, more)), backward

    def added(self, var: Array | None, more: Array) -> Array:
        """The variance of the output with the variance of the weights' noise, in the form of the layer's output."""
        return more if var is None else var + more

    def added_backward(self, dvar: Array) -> Array:
        """The cotangent of the variance that `added` has added."""
        return dvar


def _summed(grads: Params, more: Params) -> Params:
    return grads | {name: grads[name] + g if name in grads else g for name, g in more.items()}


@layer
@dataclass(frozen=True)
class NoisyConv2d(NoisyWeights, Conv2d):
    """A convolution whose filters carry noise.

    channels, kernel, stride, padding, bias, method: as of `Conv2d`.
    spread, scope, start, through_std: as of `NoisyWeights`, whose formulas the layer has.
    Raises ValueError for numbers and words that are not as said, and for a single weight with relative spread.
    Source: PNI (He et al. 2019), relative; Adv-BNN (Liu et al. 2019), free; the moments are derived.
    """

    def quiet(self) -> Conv2d:
        """The convolution without noise."""
        return Conv2d(self.channels, self.kernel, self.stride, self.padding, self.bias, self.method)


@layer
@dataclass(frozen=True)
class NoisyLinear(NoisyWeights, Linear):
    """A matrix and a bias, with noise on the matrix.

    features, joint: as of `Linear`. A joint layer adds the variance of its noise to the diagonal of the covariance:
        the rows of the matrix have independent noise.
    spread, scope, start, through_std: as of `NoisyWeights`, whose formulas the layer has.
    Raises ValueError for numbers and words that are not as said, and for a single weight with relative spread.
    Source: PNI (He et al. 2019), relative; Adv-BNN (Liu et al. 2019), free; the moments are derived.
    """

    def quiet(self) -> Linear:
        """The layer without noise."""
        return Linear(self.features, self.joint)

    def added(self, var: Array | None, more: Array) -> Array:
        if not self.joint:
            return super().added(var, more)
        diagonal = namespace(more).eye(len(more), dtype=more.dtype)[..., None] * more
        return diagonal if var is None else var + diagonal

    def added_backward(self, dvar: Array) -> Array:
        return feature_noise.with_variances_backward(dvar) if self.joint else dvar
