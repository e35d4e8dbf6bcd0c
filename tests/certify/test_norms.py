"""Bounds of how much layers stretch a difference: never below the exact norm, and near it."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from npsnn.certify import convolution_bound, linear_bound, norms, stretch
from npsnn.layers import Conv2d, Flatten, Linear, MaxPool, PreactivationNoise, ReLU, Sequential
from npsnn.layers.activation import PReLU
from npsnn.layers.affine import Normalise
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual
from npsnn.layers.dropout import Dropout
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.noisy_weights import NoisyConv2d
from npsnn.layers.pool import MeanPool, OverlappingMaxPool

RNG = np.random.default_rng(0)


def matrix(layer: Any, params: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The matrix of an affine layer, by its answers to all unit images: (outputs, inputs)."""
    c, h, w = shape
    units = np.eye(c * h * w).reshape(h, c, w, -1)
    return layer.forward(params, Moments(units), EXPECTATION)[0].mean.reshape(-1, c * h * w)


def norm(layer: Any, params: Any, shape: tuple[int, ...]) -> float:
    """The exact operator norm."""
    return float(np.linalg.norm(matrix(layer, params, shape), 2))


def drawn(layer: Any, shape: tuple[int, ...], rng: np.random.Generator = RNG) -> Any:
    params, _ = layer.init(rng, shape)
    return {name: rng.standard_normal(p.shape) if name == "w" else 0 * p for name, p in params.items()}


CONVOLUTIONS = [
    (Conv2d(filters, kernel, stride, padding), (channels, *image))
    for filters, kernel, stride, padding, channels, image in product(
        (1, 3), (1, 2, 3, 5), (1, 2, 3), (0, 1, 3), (1, 2), ((5, 5), (6, 8))
    )
    if min(image) + 2 * padding >= kernel
]


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_the_bound_of_a_convolution_is_never_below_its_norm(padding: int) -> None:
    ratios = []
    for layer, shape in CONVOLUTIONS:
        if layer.padding == padding:
            params = drawn(layer, shape)
            exact = norm(layer, params, shape)
            bound = convolution_bound(params["w"], shape[1:], layer.stride, layer.padding)
            assert bound >= exact * (1 + 1e-10), (layer, shape)
            ratios.append(bound / exact)
    assert len(ratios) > 90
    assert np.median(ratios) < 1.03 and max(ratios) < 2.5  # the largest ones are of images of one window


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 2), (3, 2, 1), (5, 2, 0), (4, 4, 0)])
def test_the_bound_is_near_the_norm_where_the_image_is_large(kernel: int, stride: int, padding: int) -> None:
    layer, shape = Conv2d(4, kernel, stride, padding), (2, 16, 16)
    params = drawn(layer, shape)
    bound = convolution_bound(params["w"], (16, 16), stride, padding)
    assert 1 < bound / norm(layer, params, shape) < 1.08


def test_the_bound_is_exact_without_overlap_and_for_one_pixel() -> None:
    for layer, shape in ((Conv2d(3, 1), (4, 6, 5)), (Conv2d(5, 3, 3), (2, 9, 6)), (Conv2d(4, 3), (2, 3, 3))):
        params = drawn(layer, shape)
        bound, exact = convolution_bound(params["w"], shape[1:], layer.stride), norm(layer, params, shape)
        assert bound >= exact
        if layer.kernel in (1, layer.stride):
            assert bound == pytest.approx(exact, rel=1e-8)


def test_the_torus_of_the_padded_image_is_needed() -> None:
    """The frequencies of the image alone, without its padding, do not bound the norm: they are other frequencies."""
    layer, shape = Conv2d(1, 3, padding=2), (1, 3, 3)
    failed = 0
    for seed in range(200):
        params = drawn(layer, shape, np.random.default_rng(seed))
        exact = norm(layer, params, shape)
        assert convolution_bound(params["w"], (3, 3), 1, 2) >= exact
        failed += convolution_bound(params["w"], (3, 3), 1, 0) < exact
    assert failed > 0


def test_one_tap_or_all_taps_as_one_matrix_are_no_bound() -> None:
    layer, shape = Conv2d(3, 5, padding=2), (2, 12, 12)
    params = drawn(layer, shape)
    exact = norm(layer, params, shape)
    assert np.linalg.norm(params["w"].reshape(3, -1), 2) < exact
    assert max(np.linalg.norm(params["w"][:, i, j], 2) for i in range(5) for j in range(5)) < exact


@pytest.mark.parametrize("scale", [1e-170, 1e-3, 1e150])
def test_bounds_grow_with_the_weights_whatever_their_size(scale: float) -> None:
    """Squares of small weights vanish in double precision, and a norm of 0 would certify any radius."""
    w, m = RNG.standard_normal((3, 3, 3, 2)), RNG.standard_normal((4, 7))
    unscaled = convolution_bound(w, (6, 6), 1, 1)
    assert convolution_bound(scale * w, (6, 6), 1, 1) == pytest.approx(scale * unscaled, rel=1e-12)
    assert linear_bound(scale * m) == pytest.approx(scale * np.linalg.norm(m, 2), rel=1e-8)
    assert convolution_bound(0 * w, (6, 6)) == 0 == linear_bound(0 * m)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    for bound in (lambda w: convolution_bound(w, (6, 6)), lambda w: linear_bound(w.reshape(3, -1))):
        w = np.ones((3, 3, 3, 2))
        w[0, 1, 2, 0] = bad
        with pytest.raises(ValueError, match="weights must be finite"):
            bound(w)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (Conv2d(3, 3, 2, 1), (2, 6, 4)),
    (Normalise((0.1, 0.2), (0.5, 0.25)), (2, 6, 4)),
    (BatchNorm(), (2, 6, 4)),
    (ReLU(), (2, 6, 4)),
    (PReLU(), (2, 6, 4)),
    (MaxPool(2), (2, 6, 4)),
    (OverlappingMaxPool(3, 2, 1), (2, 6, 4)),
    (OverlappingMaxPool(3, 1), (2, 6, 4)),
    (MeanPool(2), (2, 6, 4)),
    (Flatten(), (2, 6, 4)),
    (Sequential((("conv", Conv2d(3, 3)), ("relu", ReLU()), ("pool", MeanPool(2)))), (2, 6, 4)),
    (Residual(Sequential((("conv", Conv2d(2, 3, padding=1)),)), Sequential(())), (2, 6, 4)),
    (PreactivationNoise(0.0), (2, 6, 4)),
    (PreactivationNoise(0.0, "unit", shared=True), (2, 6, 4)),
    (NoisyConv2d(3, 3, start=0.0), (2, 6, 4)),
    (Dropout(0.5), (2, 6, 4)),
]


def shaken(params: Any, rng: np.random.Generator) -> Any:
    """Parameters of any layer, none of which is as it began; variances stay positive."""
    if isinstance(params, dict):
        return {k: v if k in ("sigma", "alpha") else shaken(v, rng) for k, v in params.items()}
    return np.abs(params + 1.5 * rng.standard_normal(params.shape)) * np.sign(params + (params == 0))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__)
def test_no_pair_of_inputs_is_stretched_more(layer: Any, shape: tuple[int, ...]) -> None:
    rng, largest = np.random.default_rng(1), 0.0
    c, h, w = shape
    for _ in range(10):
        params = shaken(layer.init(rng, shape)[0], rng)
        bound = stretch(layer, params, shape)
        x, d = (rng.standard_normal((h, c, w, 200)) for _ in range(2))
        d *= rng.random((h, c, w, 200)) < rng.choice([0.02, 0.3, 1])
        y, z = (layer.forward(params, Moments(v), EXPECTATION)[0].mean.reshape(-1, 200) for v in (x, x + d))
        sizes = np.linalg.norm(d.reshape(-1, 200), axis=0)
        ratio = (np.linalg.norm(y - z, axis=0)[sizes > 0] / sizes[sizes > 0]).max(initial=0)
        assert ratio <= bound * (1 + 1e-9)
        largest = max(largest, ratio / bound)
    assert largest > 0.3


class Twice(ReLU):
    """A layer of a user."""


@pytest.mark.parametrize(
    ("layer", "said"),
    [(Twice(), "must have a known bound"), (PreactivationNoise(0.3), "noise inside of another layer")],
)
def test_a_layer_without_a_known_bound_is_refused(layer: Any, said: str) -> None:
    params = layer.init(RNG, (2, 3, 4))[0]
    with pytest.raises(ValueError, match=said):
        stretch(layer, params, (2, 3, 4), "odd")
    with pytest.raises(ValueError, match="odd"):
        stretch(Sequential((("odd", layer),)), {"odd": params}, (2, 3, 4))


def test_a_message_names_a_large_layer_in_few_words() -> None:
    body = Sequential((*((f"relu{i}", ReLU()) for i in range(99)), ("noise", PreactivationNoise(0.3))))
    with pytest.raises(ValueError, match=r"got odd, <Sequential .*: give a sigma") as found:
        stretch(body, body.init(RNG, (3,))[0], (3,), "odd")
    assert len(str(found.value)) < 200


def test_a_matrix_is_bounded_by_its_largest_singular_value() -> None:
    for shape in ((1, 1), (3, 20), (20, 3)):
        w = RNG.standard_normal(shape)
        exact = float(np.linalg.svd(w, compute_uv=False)[0])
        assert exact < stretch(Linear(shape[0]), {"w": w}, (shape[1],)) <= exact * (1 + 2 * norms.MARGIN)
