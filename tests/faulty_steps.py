"""Right terms and constraints, and one for each mistake that check_term and check_constraint must find."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.train import Constraint, Role


@dataclass(frozen=True)
class RightTerm:
    """weight / 2 times the squared length of the last weights."""

    weight: float = 0.1

    def __call__(self, model, params):
        w = params["fc.w"]
        return self.weight / 2 * (w * w).sum(), {"fc.w": self.weight * w}


class WrongSlope(RightTerm):
    def __call__(self, model, params):
        value, grads = super().__call__(model, params)
        return value, {"fc.w": 2 * grads["fc.w"]}


class ForgottenSlope(RightTerm):
    def __call__(self, model, params):
        return super().__call__(model, params)[0] + params["noise.sigma"] ** 2, super().__call__(model, params)[1]


class OfNothing(RightTerm):
    def __call__(self, model, params):
        value, grads = super().__call__(model, params)
        return value, grads | {"fc9.w": grads["fc.w"]}


class ManyValues(RightTerm):
    def __call__(self, model, params):
        value, grads = super().__call__(model, params)
        return np.full(2, value), grads


class TermThatWrites(RightTerm):
    def __call__(self, model, params):
        params["fc.w"][...] = 0
        return super().__call__(model, params)


@dataclass(frozen=True)
class RightConstraint(Constraint):
    """Keeps the last biases at 0 or above."""

    def after(self, model, params):
        return params | {"fc.b": np.maximum(params["fc.b"], 0)}


class WritesToAnArray(RightConstraint):
    def after(self, model, params):
        np.maximum(params["fc.b"], 0, out=params["fc.b"])
        return params


class WritesToTheDictionary(RightConstraint):
    def after(self, model, params):
        params["fc.b"] = np.maximum(params["fc.b"], 0)
        return params


class WritesToTheGradients(RightConstraint):
    def before(self, model, params, grads):
        grads["fc.b"] = grads["fc.b"] * 0
        return params, grads


class Drops(RightConstraint):
    def after(self, model, params):
        return {"fc.b": params["fc.b"]}


class Widens(RightConstraint):
    def after(self, model, params):
        return params | {"fc.b": params["fc.b"].astype(np.float64)}


class AddsGradients(RightConstraint):
    def before(self, model, params, grads):
        return params, grads | {"fc9.b": grads["fc.b"]}


class ReshapesGradients(RightConstraint):
    def before(self, model, params, grads):
        return params, grads | {"fc.w": grads["fc.w"].T}


class BeginsElsewhere(RightConstraint):
    def begin(self, model, params):
        return params


class Shrinks(RightConstraint):
    def after(self, model, params):
        return params | {"fc.w": params["fc.w"] * np.float32(0.9)}


@dataclass(frozen=True)
class NoConstraint:
    pass


@dataclass(frozen=True)
class RightMover(Constraint):
    """Lets the last biases grow by a step of its own."""

    needs: ClassVar[Role] = Role.BIAS
    moves: ClassVar[bool] = True

    def after(self, model, params):
        return params | {"fc.b": params["fc.b"] + 1}


class MovesOthers(RightMover):
    def after(self, model, params):
        return super().after(model, params) | {"fc.w": params["fc.w"] + 1}


class SaysItMoves(RightMover):
    def after(self, model, params):
        return params
