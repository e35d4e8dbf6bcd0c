"""Every layer, plain and under every rule: values against loops, gradients against finite differences."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import (
    Convolution,
    Pixels,
    batch_first,
    batch_last,
    convolutions,
    distinct,
    frozen,
    gaussians,
    images,
    variances,
)

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Params, Want
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten
from npsnn.ops.gaussian import RULES, Rule
from npsnn.reference import normalisation, plain
from npsnn.testing.gradients import Arrays, check_gradient

ALL_RULES = list(RULES.values())
each_rule = pytest.mark.parametrize("rule", ALL_RULES, ids=list(RULES))
IMAGE_LAYERS = {
    "Conv2d": Conv2d(3, 2, stride=2, padding=1),
    "MeanPool": MeanPool(2),
    "MaxPool": MaxPool(2),
    "OverlappingMaxPool": OverlappingMaxPool(3, 2, 1),
    "ReLU": ReLU(),
    "PReLU": PReLU(),
    "Conv2d without bias": Conv2d(3, 2, padding=1, bias=False),
    "Flatten": Flatten(),
    "Normalise": Normalise((0.2, 0.5), (0.4, 0.3)),
}
VECTOR_LAYERS = {
    "Linear": Linear(3),
    "joint Linear": Linear(3, joint=True),
    "vector ReLU": ReLU(),
    "vector PReLU": PReLU(),
}
LAYERS = IMAGE_LAYERS | VECTOR_LAYERS
each_layer = pytest.mark.parametrize("name", list(LAYERS))


def params_of(layer: Any, image: tuple[int, ...], rng: np.random.Generator) -> Params:
    """Parameters like the initial ones, but float64, and with biases."""
    params, _ = layer.init(rng, image)
    return {k: rng.normal(size=p.shape) * (0.5 if k == "w" else 1) for k, p in params.items()}


def inputs_of(
    name: str, pixels: Pixels, rng: np.random.Generator
) -> tuple[Any, tuple[int, ...], np.ndarray, np.ndarray]:
    """The layer, the shape of one example and moments of its input away from every kink."""
    layer = LAYERS[name]
    if name in VECTOR_LAYERS:
        mean, var = gaussians(rng, (pixels.channels * 2, pixels.batch))
        return layer, (pixels.channels * 2,), mean, var
    shape = (pixels.height, 2, pixels.width, pixels.batch)
    mean, var = gaussians(rng, shape)
    if "MaxPool" in name:
        mean, var = distinct(rng, shape), variances(rng, shape)
    return layer, (2, pixels.height, pixels.width), mean, var


def check_gradients(
    layer: Any,
    params: Params,
    mean: np.ndarray,
    var: np.ndarray | None,
    noise: Noise,
    rng: np.random.Generator,
    dvar: bool = True,
) -> None:
    """Parameters, mean and variance by finite differences; dvar: whether the variance has a cotangent too."""
    m, back = layer.forward(params, Moments(frozen(mean), None if var is None else frozen(var)), noise)
    gm = rng.normal(size=m.mean.shape)
    gv = rng.normal(size=m.var.shape) if dvar and m.var is not None else None
    g, grads = back(Moments(frozen(gm), None if gv is None else frozen(gv)), Want.BOTH)
    arrays, gradients = {"mean": mean} | params, {"mean": g.mean} | grads
    if var is not None:
        arrays, gradients = arrays | {"var": var}, gradients | {"var": g.var}
    assert var is not None or g.var is None

    def f(a: Arrays) -> float:
        out, _ = layer.forward({k: a[k] for k in params}, Moments(a["mean"], a.get("var")), noise)
        return (out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum())

    check_gradient(f, arrays, gradients)


@each_layer
@given(images(smallest=2, largest=5))
def test_gradients_without_variance(name: str, pixels: Pixels) -> None:
    layer, image, mean, _ = inputs_of(name, pixels, pixels.rng)
    check_gradients(layer, params_of(layer, image, pixels.rng), mean, None, EXPECTATION, pixels.rng)


@pytest.mark.slow
@each_layer
@each_rule
@pytest.mark.parametrize("dvar", [True, False], ids=["both cotangents", "mean only"])
@given(images(smallest=2, largest=5))
def test_gradients_with_variance(name: str, rule: Rule, dvar: bool, pixels: Pixels) -> None:
    layer, image, mean, var = inputs_of(name, pixels, pixels.rng)
    check_gradients(layer, params_of(layer, image, pixels.rng), mean, var, Propagated(rule), pixels.rng, dvar)


@given(convolutions(square=True))
def test_convolution_gradients_and_moments(case: Convolution) -> None:
    pixels, rng = case.pixels, case.pixels.rng
    layer = Conv2d(case.filters, case.kernel[0], case.stride, case.padding)
    params = params_of(layer, pixels.image, rng)
    mean, var = gaussians(rng, pixels.shape)
    m, _ = layer.forward(params, Moments(mean, var), Propagated())
    w, geometry = params["w"], (case.stride, case.padding)
    want_mean = plain.cross_correlation(batch_first(mean), w, params["b"], *geometry)
    want_var = plain.cross_correlation_variance(batch_first(var), w, *geometry)
    np.testing.assert_allclose(m.mean, batch_last(want_mean), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(m.var, batch_last(want_var), rtol=1e-11, atol=1e-12)
    check_gradients(layer, params, mean, var, Propagated(), rng)


@given(images(smallest=2, largest=5))
def test_linear_moments(pixels: Pixels) -> None:
    rng = pixels.rng
    _, image, mean, var = inputs_of("Linear", pixels, rng)
    params = params_of(Linear(4), image, rng)
    for joint in (False, True):
        m, _ = Linear(4, joint).forward(params, Moments(mean, var), Propagated())
        np.testing.assert_allclose(m.mean.T, plain.linear(mean.T, params["w"], params["b"]), rtol=1e-11, atol=1e-12)
        got = m.var.transpose(2, 0, 1) if joint else m.var.T
        want = (plain.linear_covariance if joint else plain.linear_variance)(var.T, params["w"])
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


@each_rule
@given(images(smallest=2, largest=5))
def test_relu_and_pool_moments(rule: Rule, pixels: Pixels) -> None:
    rng = pixels.rng
    mean, var = gaussians(rng, pixels.shape)
    m, _ = ReLU().forward({}, Moments(mean, var), Propagated(rule))
    want = plain.rectify(batch_first(mean), batch_first(var), rule.name)
    for got, expected in zip((m.mean, m.var), want, strict=True):
        np.testing.assert_allclose(got, batch_last(expected), rtol=1e-8, atol=1e-12)
    m, _ = MaxPool(2).forward({}, Moments(mean, var), Propagated(rule))
    want = plain.max_pool_moments(batch_first(mean), batch_first(var), 2, rule.name)
    for got, expected in zip((m.mean, m.var), want, strict=True):
        np.testing.assert_allclose(got, batch_last(expected), rtol=1e-8, atol=1e-12)


@each_rule
def test_prelu_follows_the_rule(rule: Rule) -> None:
    pixels = Pixels(3, batch=2, channels=2, height=3, width=4)
    mean, var = gaussians(pixels.rng, pixels.shape)
    slope = np.array([0.25, -0.5])
    m, _ = PReLU().forward({"slope": slope}, Moments(mean, var), Propagated(rule))
    for place in np.ndindex(*mean.shape):
        mu, v, a = float(mean[place]), float(var[place]), float(slope[place[1]])
        kept = mu >= -3 * v**0.5 if rule.name == "laplace" else mu > 0
        exact = rule.name == "exact"
        want = normalisation.prelu_moments(mu, v, a) if exact else normalisation.prelu_masked(mu, v, a, kept)
        np.testing.assert_allclose((m.mean[place], m.var[place]), want, rtol=1e-8, atol=1e-12)


@given(images(smallest=2, largest=7))
def test_mean_pool_and_normalise_moments(pixels: Pixels) -> None:
    rng = pixels.rng
    mean, var = gaussians(rng, pixels.shape)
    m, _ = MeanPool(2).forward({}, Moments(mean, var), Propagated())
    np.testing.assert_allclose(m.mean, batch_last(plain.mean_pool(batch_first(mean), 2)), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(m.var, batch_last(plain.mean_pool_variance(batch_first(var), 2)), rtol=1e-12)
    centre, spread = rng.random(pixels.channels), rng.uniform(0.2, 1, pixels.channels)
    m, _ = Normalise(tuple(centre), tuple(spread)).forward({}, Moments(mean, var), Propagated())
    for c in range(pixels.channels):
        np.testing.assert_allclose(m.mean[:, c], (mean[:, c] - centre[c]) / spread[c], rtol=1e-12)
        np.testing.assert_allclose(m.var[:, c], var[:, c] / spread[c] ** 2, rtol=1e-12)


def test_flatten_is_channels_first_as_in_pytorch() -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 5))
    m, _ = Flatten().forward({}, Moments(batch_last(x), batch_last(x)), EXPECTATION)
    for a in (m.mean, m.var):
        np.testing.assert_array_equal(a, x.reshape(2, -1).T)
