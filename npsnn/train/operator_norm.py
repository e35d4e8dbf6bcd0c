"""The operator norm of the layer before the first noise, held down: no image moves further there than its change."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, to_host
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Forms, Shape, is_random
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.optim import Arrays
from npsnn.products import matmul
from npsnn.train.constraints import Constraint, constraint
from npsnn.validate import check_choice, check_count, check_types

FORMS = ("bound", "authors")


@constraint("operator-norm")
@dataclass(frozen=True)
class OperatorNorm(Constraint):
    """Holds the operator norm in L2 of the layer right before the first noise at about 1.

    "bound" divides the weights by max(1, bound) after each update, where bound is the proven one of
    `npsnn.certify.norms`: the norm is then at most 1, but for rounding.

    "authors" trains W = ⌈kernel / stride⌉ w in the place of the weights w, and after each update takes Parseval steps
    W ← (1 + beta) W - beta W Wᵀ W, with W as a matrix (filters, kernel² channels), which draw its singular values
    towards 1. ⌈kernel / stride⌉ ‖w‖ bounds the norm, but W may have singular values above 1, so a radius must be
    divided by the norm that is left, as `npsnn certify` does.

    form: "bound" or "authors".
    beta: size of a Parseval step, in [0, 1).
    steps: number of Parseval steps after an update; ⌈100 L⌉ in the code, for attacks of size L.
    Layers before this one, as `Normalise`, are left alone: the certificate counts them.
    The bound is computed on the host, so that a training step on a GPU is then no CUDA graph.
    Raises ValueError for another form, and for a model whose first noise follows no Conv2d or Linear of the network's
    own.
    Source: Lecuyer et al. 2019 (PixelDP); "authors" is the published code.
    """

    form: str = "bound"
    beta: float = 3e-4
    steps: int = 1
    needs: ClassVar[Role] = Role.WEIGHT

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_types(self)
        check_choice("form", self.form, FORMS)
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")

    @property
    def moves(self) -> bool:
        """Parseval steps go on where no update moves anything."""
        return self.form == "authors"

    def begin(self, model: Model, params: Arrays) -> Arrays:
        if self.form == "bound":
            return self.after(model, params)
        name, layer, _ = _held(model)
        return params | {name: params[name] / _overlap(layer)}

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        name, layer, _ = _held(model)
        if self.form == "bound" or name not in grads:
            return params, grads
        times = _overlap(layer)
        return params | {name: params[name] * times}, grads | {name: grads[name] / times}

    def after(self, model: Model, params: Arrays) -> Arrays:
        name, layer, shape = _held(model)
        w = params[name]
        if self.form == "bound":
            norm = _bound(layer, w, shape)
            return params | {name: w / norm} if norm > 1 else params
        flat = w.reshape(len(w), -1)
        for _ in range(self.steps):
            flat = (1 + self.beta) * flat - self.beta * matmul(matmul(flat, flat.T), flat)
        return params | {name: flat.reshape(w.shape) / _overlap(layer)}


def _held(model: Model) -> tuple[str, Conv2d | Linear, Shape]:
    """The flat name of the weights right before the first noise, their layer, and the shape of its input."""
    before, layer, inside, shape = "", None, model.shape, model.shape
    for name, after in model.network.layers:
        if is_random(after):
            break
        before, layer, inside = name, after, shape
        shape = after.init(Forms(1), shape)[1]
    else:
        raise ValueError(f"OperatorNorm needs a noise layer of the network's own, {model.name} has none")
    if not isinstance(layer, Conv2d | Linear):
        raise ValueError(f"{model.name}: the layer before the noise must be a Conv2d or a Linear, got {layer}")
    return f"{before}.w", layer, inside


def _overlap(layer: Conv2d | Linear) -> int:
    """How many windows of the layer a pixel is in, in each direction: ⌈kernel / stride⌉."""
    return -(-layer.kernel // layer.stride) if isinstance(layer, Conv2d) else 1


def _bound(layer: Conv2d | Linear, weights: Array, shape: Shape) -> float:
    """A bound of the operator norm; 1 for weights that are not finite, of which training will tell by the loss."""
    from npsnn.certify.norms import convolution_bound, linear_bound

    w = to_host(weights)
    if not np.isfinite(w).all():
        return 1.0
    if isinstance(layer, Linear):
        return linear_bound(w)
    height, width = shape[1:]
    return convolution_bound(w, (height, width), layer.stride, layer.padding)
