"""A2SNN as its authors' published code trains it, where the paper says something else (audit B1 to B7, B13, B16).

The code has changed, so each of `COMMITS` is one commit of github.com/peustr/A2SNN. `as_authors` makes the training of
a commit of one that is as the paper says; the rest of the engine knows nothing of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.layers.moments import Batch, Noise, Sampled
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.ops import feature_noise
from npsnn.optim import Arrays, unit_norm
from npsnn.streams import Stream
from npsnn.tables import named
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

NEEDS: dict[str, Any] = {
    "noise": "features",
    "covariance": "full",
    "learn_sigma": True,
    "propagation": "sampled",
    "unit_classes": False,
    "pairwise": False,
}
"""Options of a training that every commit needs, with the values that they must have."""


@term("log-entropy")
@dataclass(frozen=True)
class LogEntropy(CovarianceTerm):
    """-weight · ln(½ ln det(2πe Sigma)), in place of A2SNN's Eq. 2.

    weight: >= 0, or a schedule of it.
    Raises ValueError where the entropy is not above 0, and for a model without noise on features.
    Source: A2SNN's authors' code of b9824db (audit B2).
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
    Source: A2SNN's authors' code of b9824db (audit B7).
    """

    weight_decay: Scalar

    def __post_init__(self) -> None:
        check_weight(self, "weight_decay")

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, decayed(self.weight_decay, model, params, grads)


@constraint("unit-matrix")
@dataclass(frozen=True)
class UnitMatrix(Constraint):
    """Divides the whole matrix of the last layer's weights by its Frobenius norm, after each update.

    Weights that are exactly 0 stay 0. The weights before the first update stay as they are.
    Source: A2SNN's authors' code of 4f752b8, in place of a norm of 1 for each row (audit B13).
    """

    needs: ClassVar[Role] = Role.WEIGHT

    @property
    def moves(self) -> bool:
        return True

    def begin(self, model: Model, params: Arrays) -> Arrays:
        return params

    def after(self, model: Model, params: Arrays) -> Arrays:
        name = class_vectors(model)
        w = params[name]
        return params | {name: unit_norm(w.reshape(1, -1), "l2").reshape(w.shape)}


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


@dataclass(frozen=True)
class Commit:
    """Where one commit of the authors' code departs from the paper, beside what all commits have in common.

    date: of the commit.
    recipe: options of a recipe in place of the paper's.
    lambdas: lambda1 and lambda2 of a recipe; None for the paper's.
    needs: options that must have these values, beside `NEEDS`.
    forms: class of the term in the place of each of the paper's.
    decays: whether weight decay goes through the gradients of L and of the last layer (audit B7).
    unit_matrix: whether weights that the alignment meets have the Frobenius norm 1 (audit B13).
    """

    date: str
    recipe: dict[str, Any] = field(default_factory=dict)
    lambdas: tuple[float, float] | None = None
    needs: dict[str, Any] = field(default_factory=dict)
    forms: Mapping[type, Any] = field(default_factory=dict)
    decays: bool = False
    unit_matrix: bool = False


_RECIPE = {"optimizer": "adam", "unit_classes": False}
PAPERS = "4f752b8"
"""The last commit before the paper's preprint of October 2020, with the numbers of its Table 7 and App. B."""
COMMITS: dict[str, Commit] = {
    PAPERS: Commit("15 Sep 2020", _RECIPE, needs={"weight_decay": 0.0}, forms={Alignment: LogTrace}, unit_matrix=True),
    "b9824db": Commit(
        "8 Mar 2021",
        _RECIPE | {"weight_decay": 1e-4},
        lambdas=(1.0, 1.0),
        forms={MaxEntropy: LogEntropy, Alignment: LogTrace},
        decays=True,
    ),
}
"""The commits whose behaviour is known (audit B16)."""
FORMER = "b9824db"
"""The commit of runs that say no more than that they are as the authors' code."""


def as_authors(training: Training, commit: str = PAPERS) -> Training:
    """A training of noise on features as a commit of the authors' code has it.

    The start of L is drawn (audit B5), a batch has one draw (B6), and no L is made safe. `COMMITS` has the rest: the
    forms of the rewards (B1, B2), and what holds the norm of the last layer (B7, B13).
    training: as the paper says, with an optimiser that has a weight_decay.
    commit: one of `COMMITS`.
    Raises ValueError for another commit.
    """
    code, optimizer = named(COMMITS, commit, "commit"), training.optimizer
    terms = tuple(code.forms[type(t)](t.weight) if type(t) in code.forms else t for t in training.terms)  # type: ignore[attr-defined]
    constraints: list[Constraint] = [AuthorsStart(training.seed)]
    if code.decays:
        constraints.append(AuthorsDecay(optimizer.weight_decay))  # type: ignore[attr-defined]
        optimizer = replace(optimizer, weight_decay=0.0)  # type: ignore[type-var]
    constraints += [c for c in training.constraints if not isinstance(c, SafeFactor)]
    if code.unit_matrix and Role.WEIGHT in training.trains and any(isinstance(t, Alignment) for t in training.terms):
        constraints.append(UnitMatrix())
    return replace(training, noise=OneDraw(), terms=terms, constraints=tuple(constraints), optimizer=optimizer)
