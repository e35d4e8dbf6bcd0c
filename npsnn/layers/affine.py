"""Affine layers: one map serves the mean, and with squared weights the variance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from npsnn.backend import Array, constant, fused, later, namespace, on_gpu
from npsnn.gpu import blas
from npsnn.layers.base import Backward, Forms, Params, Passing, Shape, Want, filled, image_shape, layer
from npsnn.layers.moments import Moments, Noise
from npsnn.layers.params import Role
from npsnn.ops import conv, linear, shifts, winograd
from npsnn.ops.channels import channel_sums, per_channel
from npsnn.validate import check_choice, check_types

METHODS = ("auto", "direct", "winograd")
WORTH_IT, ENOUGH_CHANNELS = 0.6, 32
"""The part of the direct products, and the channels on both sides, from which Winograd's transforms pay (measured)."""


class Affine(Passing, ABC):
    """y = A(w) x + b, hence mean' = A(w) mean + b, var' = A(w∘w) var, dw = dw_mean + 2 w∘dw_var.

    A subclass defines A. The same code serves the mean and the variance.
    Source: noise paper Eq. 2-3, Sec. 2.3; the quadratic variance is audit N16 and N25, its backward pass N26.
    """

    roles: ClassVar[Mapping[str, Role]] = {"b": Role.BIAS}

    @abstractmethod
    def apply(self, w: Array, x: Array, b: Array | None = None) -> tuple[Array, Any]:
        """Compute A(w) x + b; the second result is what `weight_backward` needs."""

    @abstractmethod
    def adjoint(self, w: Array, dy: Array, shape: Shape) -> Array:
        """Compute A(w)ᵀ dy.

        w: weights.
        dy: cotangent of the output.
        shape: shape of the input, which the result has.
        """

    def weight(self, params: Params, like: Array) -> Array:
        return params["w"]

    @abstractmethod
    def weight_backward(self, w: Array, dy: Array, saved: Any) -> Array | None:
        """Compute the cotangent of w; None for a layer without weights to train."""

    def pull(self, w: Array, dy: Array, saved: Any, shape: Shape, want: Want) -> tuple[Array | None, Array | None]:
        """Compute the cotangents of x and w from the cotangent of A(w) x; None for a cotangent that is not wanted."""
        dx = self.adjoint(w, dy, shape) if Want.INPUT in want else None
        return dx, self.weight_backward(w, dy, saved) if Want.PARAMS in want else None

    def apply_squared(self, w: Array, x: Array) -> tuple[Array, Any]:
        """Compute A(w) x for w and x without negative entries."""
        return self.apply(w, x)

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        m = m.settled()
        w, b = self.weight(params, m.mean), params.get("b")
        shape = m.mean.shape
        mean, saved = self.apply(w, m.mean, b)
        var, saved_var, squared = None, None, None
        if m.var is not None:
            squared = w * w
            var, saved_var = self.apply_squared(squared, m.var)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            g = g.settled()
            dx, dw = self.pull(w, g.mean, saved, shape, want)
            dvar = None
            if g.var is not None:
                dvar, dw_var = self.pull(squared, g.var, saved_var, shape, want)
                if dw is not None and dw_var is not None:
                    _add_from_squares(dw, dw_var, w)
            grads = {} if dw is None else {"w": dw}
            if grads and b is not None:
                grads["b"] = channel_sums(g.mean)
            return None if dx is None else Moments(dx, dvar), grads

        return Moments(mean, var), backward


@fused
def _add_from_squares(dw: Array, dw_var: Array, w: Array) -> None:
    """Add 2 w∘dw_var, what the cotangent of w∘w makes of the one of w, to dw; dw_var has other content then."""
    dw_var *= w
    dw_var *= 2
    dw += dw_var


def _shifted(y: Array, b: Array | None) -> Array:
    """y + b for each channel: on a CPU written to y, on a GPU later."""
    if b is None:
        return y
    if on_gpu(y):
        return later(_plus, y, per_channel(b, y))
    y += per_channel(b, y)
    return y


@fused
def _plus(y: Array, b: Array) -> Array:
    return y + b


def _he_normal(rng: np.random.Generator, shape: Shape) -> Params:
    if isinstance(rng, Forms):
        w = rng.parameter(shape)
    else:
        w = (rng.standard_normal(shape) * sqrt(2 / prod(shape[1:]))).astype(np.float32)
    return {"w": w, "b": filled(rng, shape[:1])}


@layer
@dataclass(frozen=True)
class Conv2d(Affine):
    """Cross-correlation of an image with filters; the parameter w is (channels, kernel, kernel, input channels).

    channels: number of filters.
    kernel: height and width of a filter.
    stride: step between two outputs, in pixels.
    padding: black pixels put on each side of the image.
    bias: whether a number is added to each channel; a BatchNorm that follows would cancel the number.
    method: "direct" sums the products as they stand (`npsnn.ops.conv`, on a GPU `npsnn.ops.shifts`); "winograd" takes
        fewer products (`npsnn.ops.winograd`) for kernels of 3 and 5 without a stride in float32; "auto" takes the
        faster one on a CPU. Double precision is always direct.
    Raises ValueError for numbers that are not as said, and for another method.
    Source: noise paper Sec. 2.3 (audit N2, N27).
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True
    method: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.channels, self.kernel, self.stride) < 1 or self.padding < 0:
            raise ValueError(f"channels, kernel and stride must be >= 1 and padding >= 0, got {self}")
        check_choice("method", self.method, METHODS)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        c, h, w = image_shape(self, shape)
        out = [(size + 2 * self.padding - self.kernel) // self.stride + 1 for size in (h, w)]
        if min(out) < 1:
            raise ValueError(
                f"{self} needs an image of at least {self.kernel - 2 * self.padding} pixels, got {h} x {w}"
            )
        params = _he_normal(rng, (self.channels, self.kernel, self.kernel, c))
        return params if self.bias else {"w": params["w"]}, (self.channels, *out)

    def apply(self, w: Array, x: Array, b: Array | None = None) -> tuple[Array, Any]:
        if self.by_winograd(x):
            return winograd.winograd(x, w, self.padding, b)
        if on_gpu(x) and blas.available():
            y, taken = shifts.conv2d(x, w, self.stride, self.padding)
            return _shifted(y, b), taken
        cols = conv.columns(x, (self.kernel, self.kernel), self.stride, self.padding)
        return _shifted(conv.conv2d(cols, w, x.shape[-1]), b), cols

    def apply_squared(self, w: Array, x: Array) -> tuple[Array, Any]:
        y, saved = self.apply(w, x)
        if isinstance(saved, list):  # by Winograd: differences cancel there, and rounding may leave less than nothing
            namespace(y).maximum(y, 0, out=y)
        return y, saved

    def adjoint(self, w: Array, dy: Array, shape: Shape) -> Array:
        backward = shifts if on_gpu(dy) and blas.available() else conv
        return backward.conv2d_input_backward(dy, w, self.stride, self.padding, shape)

    def weight_backward(self, w: Array, dy: Array, saved: Any) -> Array:
        if isinstance(saved, shifts.Taken):
            return shifts.conv2d_weight_backward(dy, saved, w.shape)
        return conv.conv2d_weight_backward(dy, saved, w.shape)

    def pull(self, w: Array, dy: Array, saved: Any, shape: Shape, want: Want) -> tuple[Array | None, Array | None]:
        if not isinstance(saved, list):
            return super().pull(w, dy, saved, shape, want)
        wanted = shape if Want.INPUT in want else None
        return winograd.winograd_backward(dy, w, saved, self.padding, wanted, Want.PARAMS in want)

    def by_winograd(self, x: Array) -> bool:
        """Whether the layer filters images by Winograd's method.

        x: images (H, C, W, N).
        """
        m = winograd.OUTPUTS.get(self.kernel)
        if m is None or self.stride > 1 or x.dtype.itemsize > 4 or self.method == "direct":
            return False
        if self.method == "winograd":
            return True
        h, w = (size + 2 * self.padding - self.kernel + 1 for size in (x.shape[0], x.shape[2]))
        products = (m + self.kernel - 1) ** 2 * -(-h // m) * -(-w // m)
        few = products <= WORTH_IT * self.kernel**2 * h * w
        return few and min(x.shape[1], self.channels) >= ENOUGH_CHANNELS and not on_gpu(x)


@layer
@dataclass(frozen=True)
class Linear(Affine):
    """A matrix and a bias; the parameter w is (features, inputs).

    features: number of outputs.
    joint: whether the variance of the output is the full covariance, (features, features, N), on which the probability
        depends that one logit exceeds another (audit N21). Only a last layer can be joint.
    The covariance is W diag(var) Wᵀ for inputs with a variance (inputs, N), and W cov Wᵀ for inputs with a covariance
    (inputs, inputs, N), or (inputs, inputs, 1) where all examples have the same (audit A3).
    Raises ValueError unless features >= 1.
    Source: noise paper Sec. 2.2 (audit N16).
    """

    features: int
    joint: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.features < 1:
            raise ValueError(f"features must be >= 1, got {self.features}")

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        if len(shape) != 1:
            raise ValueError(f"{self} needs a vector, got the shape {shape}; put Flatten() before it")
        return _he_normal(rng, (self.features, shape[0])), (self.features,)

    def apply(self, w: Array, x: Array, b: Array | None = None) -> tuple[Array, Array]:
        return _shifted(linear.linear(x, w), b), x

    def adjoint(self, w: Array, dy: Array, shape: Shape) -> Array:
        return linear.linear_input_backward(dy, w)

    def weight_backward(self, w: Array, dy: Array, saved: Array) -> Array:
        return linear.linear_weight_backward(dy, saved)

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        y, marginal_backward = super().passed(params, Moments(m.mean, None if self.joint else m.var), noise)
        if not self.joint or m.var is None:
            return y, marginal_backward
        w, v = params["w"], m.var
        correlated = v.ndim == 3
        common = correlated and v.shape[2] == 1
        cov = linear.full_covariance(v, w) if correlated else linear.joint_covariance(v, w)
        if common:
            cov = namespace(cov).broadcast_to(cov, (*cov.shape[:2], y.mean.shape[-1]))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            dx, grads = marginal_backward(Moments(g.mean), want)
            if g.var is None:
                return dx, grads
            if correlated:
                dcov = g.var.sum(axis=2, keepdims=True) if common else g.var
                dv, dw = linear.full_covariance_backward(dcov, v, w)
            else:
                dv, dw = linear.joint_covariance_backward(g.var, v, w)
            if grads:
                grads["w"] += dw
            return None if dx is None else Moments(dx.mean, dv), grads

        return Moments(y.mean, cov), backward


class Constant(Affine):
    """An affine map without parameters."""

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, self.output_shape(shape)

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape: ...

    def weight_backward(self, w: Array, dy: Array, saved: Any) -> None:
        return None


@layer
@dataclass(frozen=True)
class Normalise(Constant):
    """(x - mean) / std for each channel.

    mean: means of the channels, in units of the [0, 1] pixel.
    std: standard deviations of the channels, > 0, in the same units.
    Raises ValueError for another number of channels than the image has.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check_types(self)

    def output_shape(self, shape: Shape) -> Shape:
        channels = image_shape(self, shape)[0]
        finite = np.isfinite([*self.mean, *self.std]).all()
        if len(self.mean) != channels or len(self.std) != channels or not finite or min(self.std) <= 0:
            raise ValueError(f"Normalise needs {channels} means and {channels} positive stds, all finite, got {self}")
        return shape

    def weight(self, params: Params, like: Array) -> Array:
        return constant(1 / np.asarray(self.std, like.dtype)[:, None, None], like.dtype, like)

    def apply(self, w: Array, x: Array, b: Array | None = None) -> tuple[Array, Array]:
        return w * x, w

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        m = m.settled()
        return super().passed(params, Moments(m.mean - self._channels(self.mean, m.mean), m.var), noise)

    def adjoint(self, w: Array, dy: Array, shape: Shape) -> Array:
        return w * dy

    @staticmethod
    def _channels(values: tuple[float, ...], like: Array) -> Array:
        return constant(np.asarray(values, like.dtype)[:, None, None], like.dtype, like)
