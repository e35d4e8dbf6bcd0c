"""Batch normalisation: the one layer whose output for an example depends on the batch it comes in."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from npsnn.backend import on_gpu
from npsnn.layers.base import Backward, Params, Passing, Shape, Want, filled, layer
from npsnn.layers.moments import Batch, Moments, Noise
from npsnn.layers.params import Role
from npsnn.ops import norm
from npsnn.validate import check_types


def is_statistic(name: str) -> bool:
    """Whether the parameter of that flat name is a running average, which no gradient moves."""
    return name.rpartition(".")[2] in ("running_mean", "running_var")


@layer
@dataclass(frozen=True)
class BatchNorm(Passing):
    """y = w (x - m)/√(v + epsilon) + b for each channel of an image, or each feature of a vector.

    momentum: weight of the newest batch in the running averages, in [0, 1].
    epsilon: number added to the variance, > 0.
    Outside of training m and v are the parameters running_mean and running_var. The layer is an affine map with
    constants then, and var' = w² var/(running_var + epsilon) is exact. In training (`noise.training` is a batch) m and
    v are the mean and the biased variance of the batch, added up over its parts. The backward pass then returns, under
    "running_mean" and "running_var", the batch's mean and unbiased variance in place of gradients: the trainer takes
    them out of the gradients by their role, STATISTIC, neither scales nor adds them, and replaces the running averages
    by `moved`. In training forward raises ValueError for an input with a variance, and for one number a channel.
    Source: Ioffe and Szegedy 2015; A2SNN names it in no equation.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    couples_batch: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, Role]] = {
        "b": Role.BIAS,
        "running_mean": Role.STATISTIC,
        "running_var": Role.STATISTIC,
    }

    def __post_init__(self) -> None:
        check_types(self)
        if not (0 <= self.momentum <= 1 and 0 < self.epsilon < float("inf")):
            raise ValueError(f"momentum must be in [0, 1] and epsilon > 0 and finite, got {self}")

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        if len(shape) not in (1, 3):
            raise ValueError(f"{self} needs an image (C, H, W) or a vector (features,), got the shape {shape}")
        start = {"w": 1.0, "b": 0.0, "running_mean": 0.0, "running_var": 1.0}
        return {name: filled(rng, shape[:1], value) for name, value in start.items()}, shape

    def moved(self, params: Params, batch: Params) -> Params:
        """The running averages after one more batch: old + momentum (new - old).

        params: the layer's own parameters.
        batch: running_mean and running_var of the batch, as the backward pass returns them.
        The result holds running_mean and running_var alone.
        """
        mean, var = (params[name] for name in ("running_mean", "running_var"))
        mean, var = norm.moved_averages(mean, var, batch["running_mean"], batch["running_var"], self.momentum)
        return {"running_mean": mean, "running_var": var}

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        m = m.settled()
        if not noise.training:
            return self._fixed(params, m)
        if m.var is not None:
            raise ValueError(
                f"{self} cannot be trained under a propagated variance: the batch's statistics are random then, and "
                "their law is not defined here; draw the noise, or add it after the last BatchNorm"
            )
        return self._batch(params, m, noise.training)

    def _batch(self, params: Params, m: Moments, batch: Batch) -> tuple[Moments, Backward]:
        w, (*places, examples) = params["w"], m.mean.shape
        count = prod(places) // len(w) * (examples if batch.examples is None else batch.examples)
        if count <= 1:
            raise ValueError(f"{self} needs more than one number a channel to train, got the shape {m.mean.shape}")
        y, mean, var, saved = norm.batch_norm(m.mean, w, params["b"], self.epsilon, count, batch.total)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            dw, db = norm.batch_norm_weight_backward(g.mean, saved)
            grads = {"w": dw, "b": db, "running_mean": mean, "running_var": var} if Want.PARAMS in want else {}
            if Want.INPUT not in want:
                return None, grads
            if on_gpu(dw):  # no other part waits there, and putting the two together is a kernel
                dw, db = batch.total(dw), batch.total(db)
            else:
                dw, db = batch.total(np.stack([dw, db]))
            return Moments(norm.batch_norm_backward(g.mean, w, dw, db, saved)), grads

        return Moments(y), backward

    def _fixed(self, params: Params, m: Moments) -> tuple[Moments, Backward]:
        statistics = params["running_mean"], params["running_var"]
        mean, var, saved = norm.fixed_norm(m.mean, m.var, (params["w"], params["b"]), statistics, self.epsilon)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads: Params = {}
            if Want.PARAMS in want:
                grads["w"], grads["b"] = norm.fixed_norm_weight_backward(g.mean, g.var, saved)
            if Want.INPUT not in want:
                return None, grads
            return Moments(*norm.fixed_norm_backward(g.mean, g.var, saved)), grads

        return Moments(mean, var), backward
