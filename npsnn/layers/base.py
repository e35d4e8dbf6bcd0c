"""What a layer is, and the layers without weights.

Each layer maps the moments of its input to those of its output, and cotangents of moments back. It is a frozen
dataclass of hyper-parameters. Its parameters stand beside it in a dictionary, gradients come back in one of the same
form, and what the backward pass needs lives in the closure that `forward` returns: threads share layers freely, and two
forward passes may precede one backward pass.

Two things break the pattern, both of them only in training and only BatchNorm. A layer whose output for an example
depends on the others in the batch has `couples_batch = True`: the micro-batches of its batch are trained in step, and
meet in it (`npsnn.layers.moments.Batch`). And its running averages are parameters without a gradient: the backward pass
returns, in the place of their gradients, the batch's statistics, with which the trainer moves them
(`npsnn.layers.batchnorm`).
"""

from collections.abc import Callable
from enum import Flag, auto
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np

from npsnn.backend import Array
from npsnn.layers.moments import Moments, Noise, Propagated
from npsnn.ops.gaussian import DETERMINISTIC, Rule
from npsnn.tables import Table

Params: TypeAlias = dict[str, Any]
Shape: TypeAlias = tuple[int, ...]

LARGEST = 1 << 26
"""The numbers that a network may have as parameters, and a layer as outputs: 256 MB in single precision."""


LAYERS: Table[type[Any]] = Table("layer", "from npsnn.layers.base import layer")
"""Every layer that a saved network may have: `@layer` above a dataclass enters it."""
layer = LAYERS.enter


class Want(Flag):
    """Which cotangents a backward pass is asked for; what is not wanted is not computed."""

    INPUT = auto()
    PARAMS = auto()
    BOTH = INPUT | PARAMS


Backward: TypeAlias = Callable[[Moments, Want], tuple[Moments | None, Params]]
"""Cotangent of the output -> (cotangent of the input; parameter gradients). What is not wanted may be None and {}."""


class Forms(np.random.Generator):
    """Takes the place of a generator where the shapes of parameters are asked for, and no values.

    Parameters made with it by `filled` take no memory. Raises ValueError where they are too many numbers in all, or a
    layer's output is too large.
    """

    def __init__(self, examples: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.examples, self.left = examples, LARGEST

    def parameter(self, shape: Shape) -> Array:
        self.left -= prod(shape)
        if self.left < 0:
            raise ValueError(f"a network must have at most {LARGEST:,} parameters, this one has more")
        return np.broadcast_to(np.float32(0), shape)

    def output(self, layer: str, shape: Shape) -> None:
        if self.examples * prod(shape) > LARGEST:
            raise ValueError(
                f"the outputs of a layer must be at most {LARGEST:,} numbers a micro-batch, {layer} makes "
                f"{self.examples:,} of the shape {shape}"
            )


def filled(rng: np.random.Generator, shape: Shape, value: float = 0.0) -> Array:
    """A parameter that begins as `value` everywhere, in float32."""
    return rng.parameter(shape) if isinstance(rng, Forms) else np.full(shape, value, np.float32)


class Layer(Protocol):
    """`shape` is one example's, channels first: (C, H, W) for an image, (features,) for a vector.

    A layer may have more, all of it class variables:
        couples_batch: bool; whether its output for an example depends, in training, on the others of its batch.
        random: bool; whether it draws noise, for a layer that is no `npsnn.layers.noise.NoiseLayer`.
        roles: of its parameters, by name (`npsnn.layers.params.Role`); a parameter that is not named is a WEIGHT.
    """

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        """Initial parameters in float32 and the output's shape; ValueError where `shape` does not fit the layer."""

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """Moments of the output, and the backward pass."""


def couples_batch(layer: Layer) -> bool:
    """Whether, in training, the layer's output for an example depends on the other examples of its batch."""
    return bool(getattr(layer, "couples_batch", False))


def is_random(layer: Layer) -> bool:
    """Whether the layer draws noise: a NoiseLayer does, and any other that has `random = True`."""
    return bool(getattr(layer, "random", False))


def image_shape(layer: object, shape: Shape) -> Shape:
    """`shape` itself, once it is known to be an image's."""
    if len(shape) != 3:
        raise ValueError(f"{layer} needs an image (C, H, W), got the shape {shape}")
    return shape


def pooled_shape(layer: object, shape: Shape, size: int) -> Shape:
    """The shape of an image after pooling over windows of `size`; ValueError where none fits."""
    c, h, w = image_shape(layer, shape)
    if size < 1 or min(h, w) < size:
        raise ValueError(f"{layer} needs an image of at least {size} pixels and a size >= 1, got {h} x {w}")
    return c, h // size, w // size


def rule_of(m: Moments, noise: Noise) -> Rule:
    """How a non-linear layer treats `m`: by the rule of propagated noise, or as the plain function it is."""
    return noise.rule if isinstance(noise, Propagated) and m.var is not None else DETERMINISTIC
