"""Constraints as values in a table: what training does to gradients before an update and to parameters after it.

    @constraint("mine")
    @dataclass(frozen=True)
    class Mine(Constraint):
        def after(self, model, params): ...

A training has any number of them, which act one after the other in their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from npsnn.backend import Array, constant, namespace
from npsnn.foreign import asked_for
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.containers import leaves, nested, parts
from npsnn.layers.noise import FeatureNoise, NoiseLayer, PreactivationNoise
from npsnn.layers.params import Role, of_layer, roles
from npsnn.models.base import Model
from npsnn.optim import Arrays, unit_norm
from npsnn.tables import Table
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.train.terms import class_vectors
from npsnn.validate import check_types

FLOOR = 1e-6
"""The least |L_ii|: the logarithm of A2SNN's Eq. 2 has no barrier that a step cannot jump over (audit A20)."""


class Constraint:
    """What acts on flat dictionaries of parameters and gradients around the optimiser's update.

    No method writes to its arguments.
    needs: roles of parameters that must be trained for it to act on them.
    """

    needs: ClassVar[Role] = Role(0)

    @property
    def moves(self) -> bool:
        """Whether `after` takes steps of its own, which move parameters of these roles even where no update does."""
        return False

    def begin(self, model: Model, params: Arrays) -> Arrays:
        """The parameters before the first step."""
        return self.after(model, params)

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        """The parameters and the gradients that the optimiser is to see."""
        return params, grads

    def after(self, model: Model, params: Arrays) -> Arrays:
        """The parameters after the optimiser's update."""
        return params


CONSTRAINTS: Table[type[Any]] = Table(
    "constraint",
    "from npsnn.train.constraints import constraint",
    asked_for(begin="model, params", before="model, params, grads", after="model, params"),
)
"""Every constraint by name: `@constraint("name")` above a dataclass enters it."""
constraint = CONSTRAINTS.enter


class RunningAverages(Constraint):
    """Moves running averages towards the batch's statistics, which stand in the place of their gradients.

    Every training begins its step with it, so it is in no table.
    """

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        of = roles(model.network, grads)
        params = dict(params)
        for path, layer in leaves(model.network):
            own = {k: g for k, g in of_layer(path, grads).items() if of[f"{path}.{k}"] is Role.STATISTIC}
            if own:
                moved = layer.moved(of_layer(path, params), own)  # type: ignore[attr-defined]
                params |= {f"{path}.{k}": p for k, p in moved.items()}
        return params, {k: g for k, g in grads.items() if of[k] is not Role.STATISTIC}


@constraint("positive-sigma")
@dataclass(frozen=True)
class PositiveSigma(Constraint):
    """Learns sigma = exp(rho) by rho, for each noise on pre-activations: dLoss/drho = sigma dLoss/dsigma.

    Source: noise paper Eq. 8 (audit N22).
    """

    needs: ClassVar[Role] = Role.NOISE

    def begin(self, model: Model, params: Arrays) -> Arrays:
        return params

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        names = _sigmas(model)
        logarithms = {k: namespace(params[k]).log(params[k]) for k in names}
        return params | logarithms, grads | {k: params[k] * grads[k] for k in names}

    def after(self, model: Model, params: Arrays) -> Arrays:
        return params | {k: namespace(params[k]).exp(params[k]) for k in _sigmas(model)}


def _sigmas(model: Model) -> list[str]:
    """The flat names of the standard deviations of noise on pre-activations."""
    layers = model.noise_layers.items()
    return [f"{path}.sigma" for path, layer in layers if isinstance(layer, PreactivationNoise)]


@constraint("unit-filters")
@dataclass(frozen=True)
class UnitFilters(Constraint):
    """Divides each filter of the weights that noise is added to by its norm: no layer can outgrow its noise.

    norm: "l1" or "l2".
    Raises ValueError where noise follows a layer without weights.
    Source: noise paper (audit N42).
    """

    norm: str
    needs: ClassVar[Role] = Role.WEIGHT

    def __post_init__(self) -> None:
        check_types(self)
        if self.norm not in ("l1", "l2"):
            raise ValueError(f"norm must be l1 or l2, got {self.norm!r}")

    def after(self, model: Model, params: Arrays) -> Arrays:
        return params | {k: unit_norm(params[k], self.norm) for k in noisy_weights(model)}


def noisy_weights(model: Model) -> list[str]:
    """The flat names of the weights whose outputs noise is added to; ValueError where noise follows none."""
    return [f"{path}.w" for path, _ in _before_noise(model)]


def _before_noise(model: Model) -> Iterator[tuple[str, Any]]:
    """The layer right before each noise layer, or with the noise on its weights, with its path."""
    for path, holder in nested(model.network):
        before, inside = "", None
        for name, layer in parts(holder):
            if isinstance(layer, NoiseLayer) and layer.on_weights:
                yield f"{path}.{name}" if path else name, layer
            elif isinstance(layer, NoiseLayer):
                if not isinstance(inside, Conv2d | Linear):
                    raise ValueError(f"{model.name}: the layer before the noise must have weights, got {inside}")
                yield f"{path}.{before}" if path else before, inside
            before, inside = name, layer


@constraint("unit-classes")
@dataclass(frozen=True)
class UnitClasses(Constraint):
    """Divides each class vector, a row of the last layer's weights, by its l2 norm.

    Source: A2SNN Sec. 3.2 (audit A19).
    """

    needs: ClassVar[Role] = Role.WEIGHT

    def after(self, model: Model, params: Arrays) -> Arrays:
        name = class_vectors(model)
        return params | {name: unit_norm(params[name], "l2")}


@constraint("safe-factor")
@dataclass(frozen=True)
class SafeFactor(Constraint):
    """Keeps the diagonal of each L of noise on features at 1e-6 or above.

    The signs of L's columns are free, as Sigma = L Lᵀ: a negative diagonal is made positive by flipping its column.
    Source: A2SNN Eq. 2 (audit A20).
    """

    needs: ClassVar[Role] = Role.NOISE

    def after(self, model: Model, params: Arrays) -> Arrays:
        layers = model.noise_layers.items()
        names = [f"{path}.L" for path, layer in layers if isinstance(layer, FeatureNoise)]
        return params | {name: safe(params[name]) for name in names}


def safe(L: Array) -> Array:
    """L with its diagonal (itself, if it has none) no less than FLOOR, by flipping whole columns."""
    xp = namespace(L)
    if L.ndim < 2:
        return xp.maximum(xp.abs(L), constant(FLOOR, L.dtype, L))
    diagonal = xp.diagonal(L)
    flipped = L * (1 - 2 * (diagonal < 0).astype(L.dtype))
    short = xp.maximum(constant(FLOOR, L.dtype, L) - xp.diagonal(flipped), 0)
    return xp.tril(flipped) + xp.diag(short)


@constraint("sigma-cap")
@dataclass(frozen=True)
class SigmaCap(Constraint):
    """Caps the level of every noise layer.

    cap: largest standard deviation, > 0; of noise with several, the root mean square over them. Noise relative to the
        spread of weights has the factor of the spread in its place.
    """

    cap: float
    needs: ClassVar[Role] = Role.NOISE

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.cap < float("inf"):
            raise ValueError(f"cap must be > 0 and finite, got {self.cap}")

    def after(self, model: Model, params: Arrays) -> Arrays:
        params = dict(params)
        for path, layer in model.noise_layers.items():
            capped = layer.capped(of_layer(path, params), self.cap)
            params |= {f"{path}.{k}": p for k, p in capped.items()}
        return params


@constraint("sigma-floor")
@dataclass(frozen=True)
class SigmaFloor(Constraint):
    """Raises each standard deviation of noise on pre-activations, of whatever scope, to a least one.

    floor: least standard deviation, >= 0, or a schedule of it.
    Raises ValueError for a model without such noise.
    Source: Jeddi et al. 2020 (Learn2Perturb), whose code has a floor of 0.01.
    """

    floor: Scalar
    needs: ClassVar[Role] = Role.NOISE

    def __post_init__(self) -> None:
        check_scalar(self, "floor")

    def after(self, model: Model, params: Arrays) -> Arrays:
        raised = {k: namespace(params[k]).maximum(params[k], self.floor) for k in _sigmas(model)}
        if not raised:
            raise ValueError(f"SigmaFloor needs noise on pre-activations, {model.name} has none")
        return params | raised
