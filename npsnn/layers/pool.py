"""Pooling: the largest and the mean of each window."""

from dataclasses import dataclass

import numpy as np

from npsnn.backend import Array, constant, settled
from npsnn.layers.affine import Constant
from npsnn.layers.base import Backward, Params, Passing, Shape, Want, layer, pooled_shape, rule_of, strided_shape
from npsnn.layers.moments import Moments, Noise
from npsnn.ops import pool
from npsnn.validate import check_types


@layer
@dataclass(frozen=True)
class MaxPool(Passing):
    """The largest of each window, with moments by the rule that carries the noise.

    size: height and width of a window.
    Put it before the ReLU. The two commute for plain values; with 2 x 2 windows the ReLU then does a quarter of the
    work; under the exact rule this order is more accurate.
    Source: noise paper Sec. 2.1 (audit N17), extension E2.
    """

    size: int

    def __post_init__(self) -> None:
        check_types(self)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, pooled_shape(self, shape, self.size)

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        rule = rule_of(m, noise)
        mean, var, saved = pool.max_pool(m.mean, m.var, self.size, rule)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return Moments(*pool.max_pool_backward(g.mean, g.var, saved, self.size, rule)), {}

        return Moments(mean, var), backward


@layer
@dataclass(frozen=True)
class OverlappingMaxPool(Passing):
    """The largest of each of some windows that overlap, with moments by the rule that carries the noise.

    size: height and width of a window.
    stride: pixels from one window to the next.
    padding: pixels around the image that no window takes for the largest, at most half of the size.
    The exact rule takes the pixels of a window for independent, as that of `MaxPool` does. The outputs count as
    independent as well, though neighbouring windows share pixels.
    Source: He et al. 2016, Table 1: size 3, stride 2, padding 1.
    """

    size: int
    stride: int
    padding: int = 0

    def __post_init__(self) -> None:
        check_types(self)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, strided_shape(self, shape, self.size, self.stride, self.padding)

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        rule, place = rule_of(m, noise), (self.size, self.stride, self.padding)
        mean, var, saved = pool.overlapping_max_pool(m.mean, m.var, *place, rule)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return Moments(*pool.overlapping_max_pool_backward(settled(g.mean), g.var, saved, *place, rule)), {}

        return Moments(mean, var), backward


@layer
@dataclass(frozen=True)
class MeanPool(Constant):
    """The mean of each window: the affine map with the constant weight 1 / size².

    size: height and width of a window.
    """

    size: int

    def __post_init__(self) -> None:
        check_types(self)

    def output_shape(self, shape: Shape) -> Shape:
        return pooled_shape(self, shape, self.size)

    def weight(self, params: Params, like: Array) -> Array:
        return constant(1 / self.size**2, like.dtype, like)

    def apply(self, w: Array, x: Array, b: Array | None = None) -> tuple[Array, None]:
        return w * pool.sum_pool(x, self.size), None

    def adjoint(self, w: Array, dy: Array, shape: Shape) -> Array:
        return pool.sum_pool_backward(w * dy, self.size, shape)
