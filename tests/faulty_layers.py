"""A right layer, and one layer for each mistake that check_layer must find."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from npsnn.layers import Moments, PreactivationNoise, Propagated, Role, Sampled, Want
from npsnn.layers.base import filled

LAST: dict[str, Any] = {}
"""Where a layer must not keep anything."""


@dataclass(frozen=True)
class Right:
    """y = tanh(w) x + b, one number each for all units."""

    roles: ClassVar[Mapping[str, Role]] = {"b": Role.BIAS}

    def init(self, rng, shape):
        return {"w": filled(rng, (), 0.8), "b": filled(rng, (), 0.1)}, shape

    def forward(self, params, m, noise):
        s = np.tanh(params["w"])
        out = Moments(s * m.mean + params["b"], None if m.var is None else s * s * m.var)

        def backward(g, want):
            grads = {}
            if Want.PARAMS in want:
                dw = (g.mean * m.mean).sum() + (0 if g.var is None else 2 * s * (g.var * m.var).sum())
                grads = {"w": (1 - s * s) * dw, "b": g.mean.sum()}
            return Moments(s * g.mean, None if g.var is None else s * s * g.var), grads

        return out, backward


class RefusesWithAReason(Right):
    """Right as well."""

    def forward(self, params, m, noise):
        if m.var is not None:
            raise ValueError("its law is not known")
        return super().forward(params, m, noise)


class Changed(Right):
    """The right layer, with its results changed on the way out."""

    def out(self, params, m, noise, out):
        return out

    def back(self, m, g, want, below, grads):
        return below, grads

    def forward(self, params, m, noise):
        out, backward = super().forward(params, m, noise)

        def changed(g, want):
            return self.back(m, g, want, *backward(g, want))

        return self.out(params, m, noise, out), changed


class WrongMeanGradient(Changed):
    def back(self, m, g, want, below, grads):
        return Moments(below.mean * 1.0001, below.var), grads


class WrongVarianceGradient(Changed):
    def back(self, m, g, want, below, grads):
        return Moments(below.mean, None), grads


class WrongWeightGradient(Changed):
    def back(self, m, g, want, below, grads):
        return below, grads | {"w": grads["w"] * 0} if grads else grads


class ForgottenGradient(Changed):
    def back(self, m, g, want, below, grads):
        return below, {"w": grads["w"]} if grads else grads


class UnshapedCotangent(Changed):
    def back(self, m, g, want, below, grads):
        return Moments(below.mean.reshape(-1), below.var), grads


class OtherWhereAlone(Changed):
    def back(self, m, g, want, below, grads):
        return (Moments(-below.mean, below.var) if want == Want.INPUT else below), grads


class NothingWhereBoth(Changed):
    def back(self, m, g, want, below, grads):
        return None, grads


class DropsVariance(Changed):
    def out(self, params, m, noise, out):
        return Moments(out.mean)


class InventsVariance(Changed):
    def out(self, params, m, noise, out):
        return Moments(out.mean, out.mean * out.mean)


class NegativeVariance(Changed):
    def out(self, params, m, noise, out):
        return Moments(out.mean, None if out.var is None else -out.var)


class TransposedOutput(Changed):
    def out(self, params, m, noise, out):
        return Moments(np.ascontiguousarray(out.mean.T), out.var)


class SmallestVariance(Changed):
    def out(self, params, m, noise, out):
        return Moments(out.mean, None if out.var is None else out.var + 1e-6)


class DoublePrecision(Changed):
    def out(self, params, m, noise, out):
        return Moments(out.mean * np.ones(1), out.var)


class OverflowsSoon(Changed):
    def out(self, params, m, noise, out):
        return out if out.mean.dtype == np.float64 else Moments(out.mean * np.float32(1.001), out.var)


class CouplesInSecret(Changed):
    """Adds up over the batch, where it is trained."""

    def forward(self, params, m, noise):
        if noise.training is None:
            return Right.forward(self, params, m, noise)
        mean = m.mean - m.mean.mean(axis=-1, keepdims=True)
        out, back = Right.forward(self, params, Moments(mean, m.var), noise)

        def backward(g, want):
            below, grads = back(g, want)
            return Moments(below.mean - below.mean.mean(axis=-1, keepdims=True), below.var), grads

        return out, backward


class CouplesWithoutMeeting(CouplesInSecret):
    couples_batch: ClassVar[bool] = True


class CannotVariance(Right):
    def forward(self, params, m, noise):
        if m.var is not None:
            raise NotImplementedError
        return super().forward(params, m, noise)


class RefusesInSilence(Right):
    def forward(self, params, m, noise):
        if m.var is not None:
            raise ValueError
        return super().forward(params, m, noise)


class RefusesAll(Right):
    def forward(self, params, m, noise):
        raise ValueError("not today")


class HalfTheMoments(Right):
    """Its moments are not those of max(x, 0), but its gradients are their gradients."""

    def init(self, rng, shape):
        return {}, shape

    def forward(self, params, m, noise):
        on = m.mean > 0
        out = Moments(m.mean * on, None if m.var is None else m.var * on * 0.5)
        return out, lambda g, want: (Moments(g.mean * on, None if g.var is None else g.var * on * 0.5), {})


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
