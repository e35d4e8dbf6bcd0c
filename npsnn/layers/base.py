"""What a layer is.

A layer maps the moments of its input to the moments of its output, and cotangents of moments back. A layer is a frozen
dataclass of hyper-parameters. The parameters stand beside the layer in a dictionary, and gradients come back in a
dictionary of the same form. The closure that `forward` returns holds all that the backward pass needs: threads share
layers freely, and two forward passes may precede one backward pass.

BatchNorm breaks the pattern twice, in training alone. Its output for an example depends on the others in the batch, so
it has `couples_batch = True`: the micro-batches of its batch are trained in step, and meet in the layer
(`npsnn.layers.moments.Batch`). Its running averages are parameters without a gradient: in place of their gradients the
backward pass returns the statistics of the batch, with which the trainer moves them (`npsnn.layers.batchnorm`).
"""

from collections.abc import Callable
from enum import Flag, auto
from functools import cache
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np

from npsnn.backend import Array
from npsnn.foreign import asked_for
from npsnn.layers.moments import Moments, Noise, Propagated
from npsnn.ops.gaussian import DETERMINISTIC, Rule
from npsnn.tables import Table

Params: TypeAlias = dict[str, Any]
Shape: TypeAlias = tuple[int, ...]

LARGEST = 1 << 26
"""The numbers that a network may have as parameters, and a layer as outputs: 256 MB in single precision."""


LAYERS: Table[type[Any]] = Table(
    "layer", "from npsnn.layers.base import layer", asked_for(init="rng, shape", forward="params, m, noise")
)
"""Every layer that a saved network may have: `@layer` above a dataclass enters it."""
layer = LAYERS.enter


class Want(Flag):
    """Which cotangents a backward pass is asked for; a cotangent that is not wanted is not computed."""

    INPUT = auto()
    PARAMS = auto()
    BOTH = INPUT | PARAMS


Backward: TypeAlias = Callable[[Moments, Want], tuple[Moments | None, Params]]
"""Cotangent of the output -> (cotangent of the input; parameter gradients). What is not wanted may be None and {}."""


class Forms(np.random.Generator):
    """Takes the place of a generator where the shapes of parameters are asked for, and no values.

    examples: number of examples computed at a time.
    Parameters made with it by `filled` take no memory. Raises ValueError where a network has too many parameters, or a
    layer too many outputs.
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
    """Make a parameter that begins as one number everywhere, in float32.

    rng: generator, or `Forms` for a parameter without memory.
    shape: shape of the parameter.
    value: the number.
    """
    return rng.parameter(shape) if isinstance(rng, Forms) else np.full(shape, value, np.float32)


class Layer(Protocol):
    """A layer, with two methods; `shape` is the shape of one example, channels first.

    A layer may have class variables besides:
        couples_batch: bool; whether its output for an example depends, in training, on the others of its batch.
        random: bool; whether it draws noise without being a `npsnn.layers.noise.NoiseLayer`.
        random_in_training: bool; whether it draws in training, where it differs from `random`: dropout does.
        propagates: bool; False says that it refuses propagated noise outside of training: it has no closed form.
        shared: bool; whether all examples of a micro-batch have one draw of its noise (`Stream.one_draw`).
        roles: role of each parameter (`npsnn.layers.params.Role`); a parameter that is not named is a WEIGHT.
    A layer may have a method `constants(params) -> Params` besides: numbers that depend on its parameters, and that its
    gradients take for constants. Its forward pass takes them from its parameters where they are there, by which
    `npsnn.testing` holds them fixed.
    A random layer may have a method `prepared(params, m, noise) -> Layer`: the layer for several draws of one input, in
    which what the draws have in common is computed. It gives the bits that the layer itself gives.
    """

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        """Make the initial parameters in float32, and the shape of the output.

        rng: generator of the initial values.
        shape: shape of an input, (C, H, W) for an image, (features,) for a vector.
        Raises ValueError where the shape does not fit the layer.
        """

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """Compute the moments of the output, and return the backward pass with them.

        params: the layer's own parameters.
        m: moments of the input, batch last.
        noise: how the noise is treated, `EXPECTATION`, `Sampled` or `Propagated`.
        """


class Passing:
    """A layer whose means, and cotangents of means, in and out, may be `npsnn.backend.Later` instead of arrays.

    On a GPU that saves passes over memory: what one layer does to each number is a part of the next one's kernel.
    """

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """As `forward`, but for means that are not computed yet."""
        raise NotImplementedError

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """As for every layer."""
        out, back = self.passed(params, m, noise)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(g, want)
            return None if below is None else below.settled(), grads

        return out.settled(), backward


def passed(layer: Layer, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
    """What the layer makes of moments whose mean may not be computed yet; so may be the mean of the result."""
    if _passes(type(layer)):
        found: tuple[Moments, Backward] = layer.passed(params, m, noise)  # type: ignore[attr-defined]
        return found
    out, back = layer.forward(params, m.settled(), noise)
    return out, lambda g, want: back(g.settled(), want)


@cache
def _passes(kind: type[Any]) -> bool:
    """Whether the layers of a class take means that are not computed yet; a subclass may have a forward of its own."""
    return issubclass(kind, Passing) and kind.forward is Passing.forward


def couples_batch(layer: Layer) -> bool:
    """Whether, in training, the layer's output for an example depends on the other examples of its batch."""
    return bool(getattr(layer, "couples_batch", False))


def is_random(layer: Layer) -> bool:
    """Whether the layer draws noise, as a NoiseLayer does and any other layer with `random = True`."""
    return bool(getattr(layer, "random", False))


def is_random_in_training(layer: Layer) -> bool:
    """Whether the layer draws in training: as it does elsewhere, unless its `random_in_training` says otherwise."""
    return bool(getattr(layer, "random_in_training", is_random(layer)))


def shares_draw(layer: Layer) -> bool:
    """Whether all examples of a micro-batch have one draw of the layer's noise, keyed by the first of them."""
    return is_random(layer) and bool(getattr(layer, "shared", False))


def image_shape(layer: object, shape: Shape) -> Shape:
    """Return the shape if it is an image's, (C, H, W); raises ValueError, naming the layer, for another."""
    if len(shape) != 3:
        raise ValueError(f"{layer} needs an image (C, H, W), got the shape {shape}")
    return shape


def pooled_shape(layer: object, shape: Shape, size: int) -> Shape:
    """The shape of an image after pooling.

    layer: the layer, for messages.
    shape: shape of the image.
    size: height and width of a window.
    Raises ValueError where no window fits.
    """
    c, h, w = image_shape(layer, shape)
    if size < 1 or min(h, w) < size:
        raise ValueError(f"{layer} needs an image of at least {size} pixels and a size >= 1, got {h} x {w}")
    return c, h // size, w // size


def strided_shape(layer: object, shape: Shape, size: int, stride: int, padding: int) -> Shape:
    """The shape of an image after pooling by windows that may overlap.

    layer: the layer, for messages.
    shape: shape of the image.
    size: height and width of a window.
    stride: pixels from one window to the next.
    padding: pixels around the image.
    Raises ValueError where no window fits, or a window may lie beyond the image.
    """
    c, h, w = image_shape(layer, shape)
    if min(size, stride) < 1 or not 0 <= padding <= size // 2:
        raise ValueError(f"{layer} needs a size and a stride >= 1 and a padding from 0 to size // 2")
    if min(h, w) + 2 * padding < size:
        raise ValueError(f"{layer} needs an image of at least {size - 2 * padding} pixels, got {h} x {w}")
    return c, (h + 2 * padding - size) // stride + 1, (w + 2 * padding - size) // stride + 1


def rule_of(m: Moments, noise: Noise) -> Rule:
    """The rule of a non-linear layer: that of propagated noise for an input with variance, else the plain function."""
    return noise.rule if isinstance(noise, Propagated) and m.var is not None else DETERMINISTIC
