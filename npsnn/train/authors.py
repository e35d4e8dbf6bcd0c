"""A2SNN as its authors' published code trains it, where the paper says something else (audit B1, B2, B5, B6, B7).

`as_authors` makes such a training of one that is as the paper says; the rest of the engine knows nothing of it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.layers.moments import Batch, Noise, Sampled
from npsnn.models.base import Model
from npsnn.ops import feature_noise
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.constraints import Constraint, SafeFactor, constraint
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.train.terms import (
    Alignment,
    CovarianceTerm,
    MaxEntropy,
    check_weight,
    class_vectors,
    noise_on_features,
    term,
)
from npsnn.train.training import Training
from npsnn.train.treatments import Treatment, treatment

SETTINGS: dict[str, Any] = {"optimizer": "adam", "weight_decay": 1e-4, "unit_classes": False}
"""Options in place of the paper's, beside a lambda1 and lambda2 of 1 (audit B3, B7)."""


@term("log-entropy")
@dataclass(frozen=True)
class LogEntropy(CovarianceTerm):
    """-weight · ln(½ ln det(2πe Sigma)), in place of A2SNN's Eq. 2.

    weight: >= 0, or a schedule of it.
    Raises ValueError where the entropy is not above 0, and for a model without noise on features.
    Source: A2SNN's authors' code (audit B2).
    """

    weight: Scalar

    def __post_init__(self) -> None:
        check_weight(self)

    def of_factor(self, w: Array, L: Array) -> tuple[Array, Array | None, Array]:
        entropy, by_factor = feature_noise.log_entropy(L)
        return -self.weight * entropy.astype(np.float64), None, -self.weight * by_factor


@term("log-trace")
@dataclass(frozen=True)
class LogTrace(CovarianceTerm):
    """-weight · ln tr(W Sigma Wᵀ), in place of A2SNN's Eq. 4.

    weight: >= 0, or a schedule of it.
    Raises ValueError for a model without noise on features.
    Source: A2SNN's authors' code (audit B1).
    """

    weight: Scalar

    def __post_init__(self) -> None:
        check_weight(self)

    def of_factor(self, w: Array, L: Array) -> tuple[Array, Array | None, Array]:
        trace, dw, dL = feature_noise.log_trace(w, L)
        return -self.weight * trace.astype(np.float64), -self.weight * dw, -self.weight * dL


def start(seed: int, model: Model, params: Arrays) -> Arrays:
    """The parameters with an L that is uniform on [0, 1) in its lower triangle, drawn from the seed (audit B5)."""
    name = _factor(model)
    xp = namespace(params[name])
    return params | {name: xp.tril(Stream(seed).at("authors' L").uniform(params[name]))}


def decayed(weight_decay: float, model: Model, params: Arrays, grads: Arrays) -> Arrays:
    """The gradients with the decay of L and of the last layer added to them (audit B7)."""
    head = class_vectors(model).removesuffix("w")
    decays = (_factor(model), f"{head}w", f"{head}b")
    return grads | {k: grads[k] + weight_decay * params[k] for k in decays if k in grads}


def _factor(model: Model) -> str:
    """The flat name of L; ValueError for a model without noise on features."""
    found = noise_on_features(model)
    if found is None:
        raise ValueError(f"A2SNN's authors' code needs noise on the last features, {model.name} has none")
    return f"{found[0]}.L"


@constraint("authors-start")
@dataclass(frozen=True)
class AuthorsStart(Constraint):
    """Begins with an L that is uniform on [0, 1) in its lower triangle.

    seed: of the draw.
    Source: A2SNN's authors' code (audit B5).
    """

    seed: int = 0

    def begin(self, model: Model, params: Arrays) -> Arrays:
        return start(self.seed, model, params)


@constraint("authors-decay")
@dataclass(frozen=True)
class AuthorsDecay(Constraint):
    """Adds the decay of L and of the last layer to their gradients; no other parameter decays.

    weight_decay: factor of the parameters, >= 0.
    Source: A2SNN's authors' code (audit B7).
    """

    weight_decay: Scalar

    def __post_init__(self) -> None:
        check_weight(self, "weight_decay")

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, decayed(self.weight_decay, model, params, grads)


@treatment("one-draw")
@dataclass(frozen=True)
class OneDraw(Treatment):
    """One draw of the noise for all examples of a batch, another for the next batch.

    scale: factor of the size of every noise, >= 0, or a schedule of it.
    Raises ValueError for another scale.
    Source: A2SNN's authors' code (audit B6).
    """

    scale: Scalar = 1.0

    def __post_init__(self) -> None:
        check_scalar(self, "scale")

    def stream(self, batch: Stream, part: Stream) -> Stream:
        return batch.one_draw()

    def noise(self, stream: Stream, training: Batch | None) -> Noise:
        return Sampled(stream, training, self.scale)


def as_authors(training: Training) -> Training:
    """A training of noise on features as the authors' code has it.

    Logarithms take the place of the rewards (B1, B2), the start is drawn (B5), a batch has one draw (B6), and decay is
    that of L and of the last layer, through their gradients (B7). No L is made safe.
    training: as the paper says, with an optimiser that has a weight_decay.
    """
    forms: dict[type, Any] = {MaxEntropy: LogEntropy, Alignment: LogTrace}
    terms = tuple(forms[type(t)](t.weight) if type(t) in forms else t for t in training.terms)  # type: ignore[attr-defined]
    optimizer: Any = training.optimizer
    kept = (c for c in training.constraints if not isinstance(c, SafeFactor))
    return replace(
        training,
        noise=OneDraw(),
        terms=terms,
        constraints=(AuthorsStart(training.seed), AuthorsDecay(optimizer.weight_decay), *kept),
        optimizer=replace(optimizer, weight_decay=0.0),
    )
