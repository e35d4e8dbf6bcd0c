"""Terms of the loss that depend on parameters alone, as values in a table: rewards for the noise.

@term("mine")
@dataclass(frozen=True)
class Mine:
    def __call__(self, model, params): ...
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from npsnn.backend import Array
from npsnn.foreign import BlamedOn, all_read_only, asked_for
from npsnn.layers.containers import parts
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.params import of_layer
from npsnn.models.base import Model
from npsnn.objectives import sigma_reward
from npsnn.ops import feature_noise
from npsnn.optim import Arrays
from npsnn.tables import Table
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.validate import check_types


class Term(Protocol):
    """A part of the loss that no example enters; any dataclass that can be called so is one."""

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        """The value, a number that is added to the mean loss of a batch, and its gradients.

        params: flat parameters of the model.
        The gradients have the flat names of the parameters that the value depends on.
        """


TERMS: Table[type[Any]] = Table("term", "from npsnn.train.terms import term", asked_for(__call__="model, params"))
"""Every term by name: `@term("name")` above a dataclass enters it."""
term = TERMS.enter


def check_weight(term: Any, name: str = "weight") -> None:
    """Raise ValueError unless the field of this name is >= 0 and finite, or a schedule of such numbers."""
    check_scalar(term, name)
    check_types(term)


def class_vectors(model: Model) -> str:
    """The flat name of the last layer's weights, one row a class."""
    path, layer = model.network.layers[-1]
    while inside := parts(layer):
        name, layer = inside[-1]
        path = f"{path}.{name}"
    return f"{path}.w"


def noise_on_features(model: Model) -> tuple[str, FeatureNoise] | None:
    """The noise on the features that the last layer takes, with its path; None without such noise."""
    path, layer = ("", None) if len(model.network.layers) < 2 else model.network.layers[-2]
    return (path, layer) if isinstance(layer, FeatureNoise) else None


@term("sigma-reward")
@dataclass(frozen=True)
class SigmaReward:
    """-alpha sigma² for each noise on pre-activations: the reward of the noise paper's "Bimodel".

    A noise with several standard deviations is rewarded for each of them.
    alpha: weight of the reward, >= 0, or a schedule of it.
    Raises ValueError for a model without such noise.
    Source: noise paper Sec. 7. The loss is unbounded below as sigma grows (audit N29), so sigma must be capped.
    """

    alpha: Scalar

    def __post_init__(self) -> None:
        check_weight(self, "alpha")

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        found = [path for path, layer in model.noise_layers.items() if isinstance(layer, PreactivationNoise)]
        if not found:
            raise ValueError(f"SigmaReward needs noise on pre-activations, {model.name} has none")
        value: Array = 0.0
        grads = {}
        for name in (f"{path}.sigma" for path in found):
            sigma = params[name]
            reward: Array
            slope: Array
            reward, slope = sigma_reward(sigma.astype(np.float64), self.alpha)
            value, grads[name] = value + reward.sum(), slope.astype(sigma.dtype)
        return value, grads


class CovarianceTerm(ABC):
    """A term of the noise on the last features, Sigma = L Lᵀ, and of the class vectors."""

    @abstractmethod
    def of_factor(self, w: Array, L: Array) -> tuple[Array, Array | None, Array]:
        """The value and its gradients by the class vectors, or None, and by the factor of the covariance.

        w: class vectors, (C, D).
        L: factor of the covariance, (D, D).
        """

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        return _of_covariance([self], model, params)


def _of_covariance(terms: Sequence[CovarianceTerm], model: Model, params: Arrays) -> tuple[Array, Arrays]:
    """The sum of the terms: their gradients by L are added as matrices, before the layer makes its parameter's."""
    found = noise_on_features(model)
    if found is None:
        raise ValueError(f"{type(terms[0]).__name__} needs noise on the last features, {model.name} has none")
    (path, layer), vectors = found, class_vectors(model)
    w = params[vectors]
    L = layer.factor(of_layer(path, params), w.shape[1])
    value: Array = 0.0
    dL, grads = L * 0, dict[str, Array]()
    for term in terms:
        own, dw, more = term.of_factor(w, L)
        value, dL = value + own, dL + more
        if dw is not None:
            grads[vectors] = dw if vectors not in grads else grads[vectors] + dw
    return value, grads | {f"{path}.{k}": g for k, g in layer.gradient(dL).items()}


@term("max-entropy")
@dataclass(frozen=True)
class MaxEntropy(CovarianceTerm):
    """-weight · ½ ln det(2πe Sigma): the reward for the entropy of the noise on features.

    weight: lambda1 of A2SNN, >= 0, or a schedule of it.
    Raises ValueError for a model without such noise.
    Source: A2SNN Eq. 1 and 2 (audit A20).
    """

    weight: Scalar

    def __post_init__(self) -> None:
        check_weight(self)

    def of_factor(self, w: Array, L: Array) -> tuple[Array, Array | None, Array]:
        entropy, by_factor = feature_noise.max_entropy(L)
        return -self.weight * entropy.astype(np.float64), None, -self.weight * by_factor


@term("alignment")
@dataclass(frozen=True)
class Alignment(CovarianceTerm):
    """-weight · Σ_i ln w_iᵀ Sigma w_i: the reward for noise along the class vectors.

    weight: lambda2 of A2SNN, >= 0, or a schedule of it.
    pairwise: take the differences of two class vectors instead, scaled by 2/(C - 1) to as many terms.
    Raises ValueError for a model without noise on features.
    Source: A2SNN Eq. 1 and 4; the pairwise form is extension E4 (audit A17).
    """

    weight: Scalar
    pairwise: bool = False

    def __post_init__(self) -> None:
        check_weight(self)

    def of_factor(self, w: Array, L: Array) -> tuple[Array, Array | None, Array]:
        scale = self.weight * (2 / (len(w) - 1) if self.pairwise else 1)
        aligned, dw, dL = (feature_noise.pairwise_alignment if self.pairwise else feature_noise.alignment)(w, L)
        return -scale * aligned.astype(np.float64), -scale * dw, -scale * dL


def summed(terms: Sequence[Term], model: Model, params: Arrays) -> tuple[Array, Arrays]:
    """The sum of the terms and its gradients by flat name; 0 and none of no terms.

    params: flat parameters of the model.
    Raises ValueError where a term is not defined for them.
    """
    if not terms:
        return 0.0, {}
    joint = [term for term in terms if isinstance(term, CovarianceTerm)]
    params = all_read_only(params)
    parts = []
    for term in (term for term in terms if not isinstance(term, CovarianceTerm)):
        with BlamedOn("term", term, "parameters"):
            parts.append(term(model, params))
    if joint:
        parts.append(_of_covariance(joint, model, params))
    value: Array = 0.0
    grads = dict[str, Array]()
    for own, more in parts:
        value = value + own
        grads |= {k: g if k not in grads else grads[k] + g for k, g in more.items()}
    return value, grads
