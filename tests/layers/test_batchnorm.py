"""The layer BatchNorm in training and in evaluation, and who may tell whether a network couples its batch."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from on_device import same
from strategies import Pixels, batch_first, batch_last, frozen, images, variances

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Params, Want, couples_batch
from npsnn.layers.batchnorm import BatchNorm, is_statistic
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.ops.gaussian import RULES
from npsnn.reference import normalisation
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

TRAINING = Expectation(training=WHOLE)
IMAGES = images(smallest=2, largest=5)
PIXELS = Pixels(5, batch=3, channels=2, height=3, width=4)
LAYER = BatchNorm(epsilon=1e-3)
each_form = pytest.mark.parametrize("vectors", [False, True], ids=["images", "vectors"])


def values(pixels: Pixels, vectors: bool = False) -> tuple[np.ndarray, np.ndarray, Params, np.random.Generator]:
    """Mean and variance of the input, and parameters that are not the initial ones."""
    rng, c = pixels.rng, pixels.channels
    shape = (c, pixels.batch + 2) if vectors else pixels.shape
    params = {"w": rng.normal(size=c), "b": rng.normal(size=c)}
    params |= {"running_mean": rng.normal(size=c), "running_var": variances(rng, c)}
    return frozen(rng.normal(1, 2, shape)), frozen(variances(rng, shape)), params, rng


@each_form
@given(IMAGES)
def test_training_gradients(vectors: bool, pixels: Pixels) -> None:
    x, _, params, rng = values(pixels, vectors)
    m, back = LAYER.forward(params, Moments(x), TRAINING)
    gm = frozen(rng.normal(size=x.shape))
    g, grads = back(Moments(gm), Want.BOTH)

    def f(a: Arrays) -> float:
        return (LAYER.forward(params | a, Moments(a["x"]), TRAINING)[0].mean * gm).sum()

    assert m.var is None and g.var is None
    learned = {k: params[k] for k in ("w", "b")}
    check_gradient(f, {"x": x} | learned, {"x": g.mean} | {k: grads[k] for k in learned})


@given(IMAGES)
def test_training_normalises_by_the_batch_and_reports_its_statistics(pixels: Pixels) -> None:
    x, _, params, _ = values(pixels)
    m, back = LAYER.forward(params, Moments(x), TRAINING)
    mean, var = normalisation.channel_statistics(batch_first(x))
    wanted = normalisation.batch_norm(batch_first(x), params["w"], params["b"], mean, var, LAYER.epsilon)
    np.testing.assert_allclose(m.mean, batch_last(wanted), rtol=1e-9, atol=1e-11)
    _, found = back(m, Want.PARAMS)
    count = x.size // len(mean)
    np.testing.assert_allclose(found["running_mean"], mean, rtol=1e-10)
    np.testing.assert_allclose(found["running_var"], var * count / (count - 1), rtol=1e-10)
    assert found.keys() == params.keys()


@pytest.mark.parametrize("noise", [EXPECTATION, Sampled(Stream(0)), *map(Propagated, RULES.values())])
@pytest.mark.parametrize("with_var", [False, True], ids=["number", "Gaussian"])
@given(IMAGES)
def test_evaluation_gradients(noise: Noise, with_var: bool, pixels: Pixels) -> None:
    x, v, params, rng = values(pixels)
    arrays = {"x": x} | ({"v": v} if with_var else {}) | {k: params[k] for k in ("w", "b")}
    _, back = LAYER.forward(params, Moments(x, arrays.get("v")), noise)
    gm, gv = frozen(rng.normal(size=x.shape)), frozen(rng.normal(size=x.shape)) if with_var else None
    g, grads = back(Moments(gm, gv), Want.BOTH)

    def f(a: Arrays) -> float:
        out, _ = LAYER.forward(params | a, Moments(a["x"], a.get("v")), noise)
        return (out.mean * gm).sum() + ((out.var * gv).sum() if with_var else 0)

    check_gradient(f, arrays, {"x": g.mean} | ({"v": g.var} if with_var else {}) | grads)
    assert not any(is_statistic(name) for name in grads)


@pytest.mark.parametrize("noise", [TRAINING, Sampled(Stream(0), training=WHOLE), Propagated(training=WHOLE)])
def test_without_variance_every_noise_is_trained_alike(noise: Noise) -> None:
    x, _, params, _ = values(PIXELS)
    m, _ = LAYER.forward(params, Moments(x), noise.at("anywhere"))
    np.testing.assert_array_equal(m.mean, LAYER.forward(params, Moments(x), TRAINING)[0].mean)


def test_training_under_a_propagated_variance_is_refused() -> None:
    x, v, params, _ = values(PIXELS)
    with pytest.raises(
        ValueError, match=r"BatchNorm\(.*cannot be trained under a propagated variance: .*last BatchNorm"
    ):
        LAYER.forward(params, Moments(x, v), Propagated(training=WHOLE))


@pytest.mark.parametrize("shape", [(2, 1), (1, 2, 1, 1), (2, 0)])
def test_training_needs_two_numbers_a_channel(shape: tuple[int, ...]) -> None:
    params = values(PIXELS)[2]
    with pytest.raises(ValueError, match="more than one number a channel"):
        LAYER.forward(params, Moments(np.ones(shape)), TRAINING)
    assert LAYER.forward(params, Moments(np.ones(shape)), EXPECTATION)[0].mean.shape == shape


def test_running_averages_move_by_the_momentum() -> None:
    x, _, params, _ = values(PIXELS)
    layer = BatchNorm(momentum=0.25)
    _, batch = layer.forward(params, Moments(x), TRAINING)[1](Moments(x), Want.PARAMS)
    moved = layer.moved(params, batch)
    assert moved.keys() == {"running_mean", "running_var"}
    for name, value in moved.items():
        np.testing.assert_allclose(value, 0.75 * params[name] + 0.25 * batch[name], rtol=1e-12)
    np.testing.assert_allclose(moved["running_mean"], 0.75 * params["running_mean"] + 0.25 * x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(
        moved["running_var"], 0.75 * params["running_var"] + 0.25 * x.var(axis=(0, 2, 3), ddof=1)
    )


def test_statistics_are_told_by_their_names() -> None:
    assert is_statistic("running_var") and is_statistic("block1.body.bn2.running_mean")
    assert not is_statistic("bn1.w") and not is_statistic("running_mean.w") and not is_statistic("x_running_mean")


@pytest.mark.parametrize("shape", [(5,), (5, 3, 2)])
def test_it_starts_as_the_identity_of_standard_numbers(shape: tuple[int, ...]) -> None:
    params, out = BatchNorm().init(np.random.default_rng(0), shape)
    assert out == shape and {p.dtype for p in params.values()} == {np.dtype(np.float32)}
    x = np.random.default_rng(1).normal(size=(3, 5, 2, 4) if len(shape) == 3 else (5, 4)).astype("f")
    m, _ = BatchNorm().forward(params, Moments(x), EXPECTATION)
    np.testing.assert_allclose(m.mean, x, rtol=1e-5)


def test_a_gpu_computes_the_same(cupy: ModuleType) -> None:
    x, v, params, _ = values(PIXELS)
    there = {k: cupy.asarray(p) for k, p in params.items()}
    for noise, var in ((TRAINING, None), (EXPECTATION, v)):
        m, back = LAYER.forward(params, Moments(x, var), noise)
        far, far_back = LAYER.forward(
            there, Moments(cupy.asarray(x), None if var is None else cupy.asarray(var)), noise
        )
        same((far, far_back(far, Want.BOTH)), (m, back(m, Want.BOTH)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\]"),
        ({"epsilon": 0.0}, "epsilon > 0"),
        ({"epsilon": float("nan")}, "epsilon > 0"),
        ({"momentum": "0.1"}, "momentum must be of the type float"),
    ],
)
def test_impossible_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(**options)


def test_it_needs_channels() -> None:
    with pytest.raises(
        ValueError, match=r"needs an image \(C, H, W\) or a vector \(features,\), got the shape \(3, 4\)"
    ):
        BatchNorm().init(np.random.default_rng(0), (3, 4))


def test_whether_a_batch_is_coupled() -> None:
    plain, coupled = Sequential((("fc", Linear(2)),)), Sequential((("fc", Linear(2)), ("bn", BatchNorm())))
    assert not plain.couples_batch and coupled.couples_batch
    assert not couples_batch(ReLU()) and couples_batch(BatchNorm())
    for body, shortcut, answer in ((plain, plain, False), (coupled, plain, True), (plain, coupled, True)):
        block = Residual(body, shortcut)
        assert block.couples_batch is answer
        assert Sequential((("block", block), ("relu", ReLU()))).couples_batch is answer
