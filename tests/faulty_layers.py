"""A right layer, and one layer for each mistake in a formula that check_layer must find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.layers import Moments, Role, Want
from npsnn.layers.base import filled


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
