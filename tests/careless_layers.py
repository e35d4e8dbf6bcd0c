"""Layers that write, keep, draw or promise what they must not, and noise layers with a mistake, one for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from faulty_layers import Changed, Right

from npsnn.layers import Moments, PreactivationNoise, Propagated, Role, Sampled
from npsnn.layers.base import filled

LAST: dict[str, Any] = {}
"""Where a layer must not keep anything."""


class Overwrites(Right):
    def forward(self, params, m, noise):
        np.add(m.mean, 0, out=m.mean)
        return super().forward(params, m, noise)


class OverwritesTheCotangent(Changed):
    def back(self, m, g, want, below, grads):
        g.mean[...] = 0
        return below, grads


class KeepsElsewhere(Right):
    def forward(self, params, m, noise):
        out, LAST["backward"] = super().forward(params, m, noise)
        return out, lambda g, want: LAST["backward"](g, want)


class ReusesItsOutput(Right):
    def forward(self, params, m, noise):
        out, backward = super().forward(params, m, noise)
        buffer = LAST.setdefault((out.mean.shape, out.mean.dtype), np.empty_like(out.mean))
        buffer[...] = out.mean
        return Moments(buffer, out.var), backward


class KeepsOnItself(Right):
    def forward(self, params, m, noise):
        object.__setattr__(self, "seen", m.mean.shape)
        return super().forward(params, m, noise)


class Unrepeatable(Right):
    def forward(self, params, m, noise):
        out, backward = super().forward(params, m, noise)
        return Moments(out.mean + np.random.default_rng().random(), out.var), backward


class DrawsInSecret(Right):
    """Adds the same noise in every direction, but does not say that it draws."""

    def forward(self, params, m, noise):
        out, backward = super().forward(params, m, noise)
        if isinstance(noise, Sampled):
            out = Moments(out.mean + noise.stream.normal(m.mean), out.var)
        return out, backward


class DrawsForTheBatch(DrawsInSecret):
    random: ClassVar[bool] = True

    def forward(self, params, m, noise):
        out, backward = Right.forward(self, params, m, noise)
        if isinstance(noise, Propagated):
            raise ValueError("there is no closed form of this noise")
        if isinstance(noise, Sampled):
            rng = noise.stream.generator()
            out = Moments(out.mean + rng.standard_normal(m.mean.shape).astype(m.mean.dtype), out.var)
        return out, backward


class SaysThatItDraws(Right):
    random: ClassVar[bool] = True


class PromisesAnotherShape(Right):
    def init(self, rng, shape):
        return super().init(rng, shape)[0], (1, *shape[1:])


class NoShape(Right):
    def init(self, rng, shape):
        return super().init(rng, shape)[0], list(shape)


class DoubleParameters(Right):
    def init(self, rng, shape):
        params, out = super().init(rng, shape)
        return params | {"w": np.array(0.8)}, out


class OtherParameters(Right):
    def init(self, rng, shape):
        params, out = super().init(rng, shape)
        return params | {"w": np.array(np.random.default_rng().random(), np.float32)}, out


class TakesMemory(Right):
    def init(self, rng, shape):
        return {"w": np.ones(shape[:1], np.float32), "b": np.float32(0)}, shape


class TakesMemoryInForms(Right):
    def init(self, rng, shape):
        return {"w": np.full(4, 0.8, np.float32), "b": filled(rng, ())}, shape


class OtherForms(Right):
    def init(self, rng, shape):
        name = "w" if type(rng) is np.random.Generator else "v"
        return {name: filled(rng, ()), "b": filled(rng, ())}, shape


class MisspeltRole(Right):
    roles: ClassVar[Mapping[str, Role]] = {"b": Role.BIAS, "w_": Role.BIAS}


class TwoRoles(Right):
    roles: ClassVar[Mapping[str, Role]] = {"b": Role.BIAS | Role.NOISE}


@dataclass(frozen=True)
class Incomparable(Right):
    numbers: tuple[float, ...] = field(default=(1.0,), compare=True)

    def __eq__(self, other):
        return self is other

    __hash__ = None


@dataclass(frozen=True)
class Unsaveable(Right):
    factor: Any = field(default_factory=lambda: np.ones(2))


@dataclass
class Unfrozen(Right.__base__):
    init, forward, roles = Right.init, Right.forward, Right.roles


@dataclass(frozen=True)
class WrongLevel(PreactivationNoise):
    def at_level(self, params, sigma):
        return {"sigma": params["sigma"] + sigma}


@dataclass(frozen=True)
class WrongSlope(PreactivationNoise):
    def slope(self, params, grads):
        return 2 * grads["sigma"]


@dataclass(frozen=True)
class WrongCap(PreactivationNoise):
    def capped(self, params, cap):
        return params


@dataclass(frozen=True)
class NoNoiseRole(PreactivationNoise):
    roles: ClassVar[Mapping[str, Role]] = {}


@dataclass(frozen=True)
class IgnoresTheScale(PreactivationNoise):
    def forward(self, params, m, noise):
        plain = Sampled(noise.stream, noise.training) if isinstance(noise, Sampled) else noise
        return super().forward(params, m, plain)


class DrawsInTrainingInSecret(DrawsInSecret):
    def forward(self, params, m, noise):
        return super().forward(params, m, noise) if noise.training else Right.forward(self, params, m, noise)


class SharesInWords(PreactivationNoise):
    """Says that a batch shares a draw, and draws for each example."""

    def forward(self, params, m, noise):
        return PreactivationNoise(self.sigma).forward(params, m, noise)


class OneDrawForAll(PreactivationNoise):
    """Shares one draw among the examples of all batches."""

    def forward(self, params, m, noise):
        own = replace(noise, stream=noise.stream.from_sample(0)) if isinstance(noise, Sampled) else noise
        return PreactivationNoise(self.sigma, shared=True).forward(params, m, own)


class ForgetsTheParts(PreactivationNoise):
    """Shares a draw that another part of a batch does not have where the batch is to have one."""

    def forward(self, params, m, noise):
        own = noise
        if isinstance(noise, Sampled) and noise.stream.shared:
            own = replace(noise, stream=noise.stream.at(m.mean.shape[-1]))
        return PreactivationNoise(self.sigma, shared=True).forward(params, m, own)
