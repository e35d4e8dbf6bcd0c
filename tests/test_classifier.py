"""The classifier for users: shapes, values, errors, and the same bits for any number of threads."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.objectives import OBJECTIVES, losses, mse
from npsnn.ops.gaussian import RULES
from npsnn.reference import montecarlo, plain
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

CONVOLUTIONAL = Model(
    "small",
    Sequential(
        (
            ("conv", Conv2d(3, 3, padding=1)),
            ("noise", PreactivationNoise(0.5)),
            ("pool", MaxPool(2)),
            ("relu", ReLU()),
            ("flatten", Flatten()),
            ("fc", Linear(4, joint=True)),
        )
    ),
    (2, 6, 5),
    4,
    micro_batch=3,
)
# One hidden layer: its units are independent, so the logits' mean and variance are exact.
PERCEPTRON = Model(
    "perceptron",
    Sequential(
        (
            ("flatten", Flatten()),
            ("fc1", Linear(6)),
            ("noise", PreactivationNoise(0.7)),
            ("relu", ReLU()),
            ("fc2", Linear(3, joint=True)),
        )
    ),
    (1, 2, 2),
    3,
)


def classifier(model: Model = CONVOLUTIONAL, dtype: type = np.float64, threads: int = 1) -> Classifier:
    rng = np.random.default_rng(3)
    flat = {
        k: p + (0.2 * rng.normal(size=p.shape) if k.endswith(".b") else 0) for k, p in flatten(model.init(rng)).items()
    }
    return Classifier(model, unflatten({k: np.asarray(p, dtype) for k, p in flat.items()}), threads)


def data(count: int, model: Model = CONVOLUTIONAL, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    return rng.uniform(0.05, 0.95, (count, *model.shape)).astype(dtype), rng.integers(model.classes, size=count)


def test_predict_is_the_network_without_noise() -> None:
    network = classifier()
    x, _ = data(7)
    p = flatten(network.params)
    y = plain.cross_correlation(x, p["conv.w"], p["conv.b"], padding=1)
    hidden = np.maximum(plain.max_pool(y, 2), 0).reshape(7, -1)
    np.testing.assert_allclose(network.predict(x), plain.linear(hidden, p["fc.w"], p["fc.b"]), rtol=1e-10)


@pytest.mark.parametrize("rule", list(RULES))
def test_moments_are_the_marginals_of_the_logits(rule: str) -> None:
    network = classifier()
    x, _ = data(7)
    p = flatten(network.params)
    y = plain.cross_correlation(x, p["conv.w"], p["conv.b"], padding=1)
    v = np.full_like(y, p["noise.sigma"] ** 2)
    m, v = plain.rectify(*plain.max_pool_moments(y, v, 2, rule), rule)
    mean, var = network.moments(x, rule)
    np.testing.assert_allclose(mean, plain.linear(m.reshape(7, -1), p["fc.w"], p["fc.b"]), rtol=1e-9)
    np.testing.assert_allclose(var, plain.linear_variance(v.reshape(7, -1), p["fc.w"]), rtol=1e-9)


@pytest.mark.slow
def test_moments_and_samples_of_a_perceptron_agree_with_draws() -> None:
    network = classifier(PERCEPTRON)
    x, _ = data(1, PERCEPTRON)
    mean, var = network.moments(x)
    p = flatten(network.params)
    layers = [(p["fc1.w"], p["fc1.b"]), (p["fc2.w"], p["fc2.b"])]
    draws = montecarlo.network(x.reshape(-1), layers, 0.7, 200_000, np.random.default_rng(0))[-1]
    assert montecarlo.estimate(draws).deviations(mean[0], var[0]) < 5
    own = network.sample(np.repeat(x, 5000, axis=0), 1, draws=4).reshape(-1, 3)
    assert montecarlo.estimate(own).deviations(mean[0], var[0]) < 5


def test_without_sigma_there_is_no_variance() -> None:
    network = classifier().with_sigma(0)
    x, _ = data(4)
    mean, var = network.moments(x)
    np.testing.assert_array_equal(mean, network.predict(x))
    assert (var == 0).all() and network.sigma == 0
    np.testing.assert_array_equal(network.sample(x, 0, draws=2), [mean, mean])


def test_with_sigma_changes_a_copy_only() -> None:
    network = classifier()
    assert network.with_sigma(0.25).sigma == 0.25 and network.sigma == 0.5
    x, _ = data(2)
    _, low = network.with_sigma(0.1).moments(x, "linear")
    _, high = network.with_sigma(0.2).moments(x, "linear")
    np.testing.assert_allclose(high, 4 * low, rtol=1e-12)
    for sigma in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="sigma must be >= 0 and finite"):
            network.with_sigma(sigma)


def test_samples_are_keyed_by_draw_and_image() -> None:
    network = classifier()
    x, _ = data(7)
    same = np.repeat(x[:1], 7, axis=0)
    drawn = network.sample(same, 5, draws=3)
    assert drawn.shape == (3, 7, 4)
    assert len(np.unique(drawn[..., 0])) == 21, "two images or two draws share their noise"
    np.testing.assert_array_equal(network.sample(same, Stream(5), draws=3), drawn)
    np.testing.assert_array_equal(network.sample(same, 5, draws=2), drawn[:2])
    np.testing.assert_allclose(network.sample(same[:4], 5, draws=3), drawn[:, :4], rtol=1e-12)
    whole = replace(network, model=replace(network.model, micro_batch=64))
    np.testing.assert_allclose(whole.sample(same, 5, draws=3), drawn, rtol=1e-12)
    assert (network.sample(same, 6, draws=3) != drawn).all()
    first, second = (network.sample(same, np.random.default_rng(1), draws=1) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rule", list(RULES))
# the expected cross-entropy has the integral's gradient by the variance, not that of its 64 points
@pytest.mark.parametrize("objective", [o for o in losses() if o != "expected-cross-entropy"])
def test_input_gradient(rule: str, objective: str) -> None:
    network = classifier()
    x, labels = data(4)

    def f(a: Arrays) -> float:
        return network.loss_gradient(a["x"], labels, Propagated(RULES[rule]), OBJECTIVES[objective])[0].sum()

    check_gradient(f, {"x": x}, {"x": network.input_gradient(x, labels, objective, rule)}, step=1e-5)


def test_input_gradient_without_noise_and_for_an_own_objective() -> None:
    network = classifier().with_sigma(0)
    x, labels = data(5)
    target = np.eye(4)[labels]

    def f(a: Arrays) -> float:
        return ((network.predict(a["x"]) - target) ** 2).sum() / 4

    gradient = network.input_gradient(x, labels, "mse")
    check_gradient(f, {"x": x}, {"x": gradient}, step=1e-5)
    np.testing.assert_array_equal(network.input_gradient(x, labels, mse), gradient)


def total_variance(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
    """An objective that the mean does not enter."""
    trace = np.broadcast_to(np.eye(4)[:, :, None], m.var.shape)
    return (m.var * trace).sum(axis=(0, 1)), Moments(0 * m.mean, trace)


@pytest.mark.parametrize("rule", list(RULES))
def test_input_gradient_of_the_variance_alone(rule: str) -> None:
    network = classifier()
    x, labels = data(4)
    gradient = network.input_gradient(x, labels, total_variance, rule)
    check_gradient(lambda a: network.moments(a["x"], rule)[1].sum(), {"x": x}, {"x": gradient}, step=1e-5)


def test_a_sure_prediction_keeps_its_gradient_in_single_precision() -> None:
    x, _ = data(5)
    found = {}
    for dtype in (np.float32, np.float64):
        network = classifier(dtype=dtype).with_sigma(0)
        sure = replace(network, params=network.params | {"fc": {k: 300 * p for k, p in network.params["fc"].items()}})
        labels = sure.predict(x).argmax(axis=1)
        found[dtype] = sure.input_gradient(x, labels, "cross-entropy")
    sizes = np.abs(found[np.float64]).max(axis=(1, 2, 3), keepdims=True)
    assert (sizes > 0).all() and sizes.min() < 1e-60, "the case is no test of small gradients"
    direction = found[np.float64] / sizes
    again = found[np.float32] / np.abs(found[np.float32]).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(again, direction, atol=1e-3)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(threads: int, dtype: type) -> None:
    x, labels = data(20, dtype=dtype)
    one, many = classifier(dtype=dtype), classifier(dtype=dtype, threads=threads)
    for f in (
        lambda c: c.predict(x),
        lambda c: c.input_gradient(x, labels),
        lambda c: c.moments(x)[1],
        lambda c: c.sample(x, 1, draws=2),
    ):
        np.testing.assert_array_equal(f(many), f(one))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_image_and_one_image(count: int, threads: int) -> None:
    network = classifier(threads=threads)
    x, labels = data(count)
    mean, var = network.moments(x)
    assert network.predict(x).shape == mean.shape == var.shape == (count, 4)
    assert network.sample(x, 0, draws=2).shape == (2, count, 4)
    assert network.input_gradient(x, labels).shape == x.shape
    if count:
        more, more_labels = np.concatenate([x, x]), np.concatenate([labels, labels])
        np.testing.assert_allclose(network.predict(x), network.predict(more)[:1], rtol=1e-12)
        np.testing.assert_allclose(
            network.input_gradient(x, labels), network.input_gradient(more, more_labels)[:1], rtol=1e-10
        )


def test_images_are_computed_in_the_networks_precision() -> None:
    x, labels = data(3, dtype=np.float32)
    for dtype in (np.float32, np.float64):
        network = classifier(dtype=dtype)
        found = [network.predict(x), *network.moments(x), network.sample(x, 0, 1)]
        assert {a.dtype for a in found} == {np.dtype(dtype)}
        assert network.input_gradient(x, labels).dtype == np.float64
    np.testing.assert_allclose(classifier(dtype=np.float32).predict(x), classifier().predict(x), rtol=1e-4, atol=1e-5)


def test_images_are_not_written_to() -> None:
    network = classifier()
    x, labels = data(4)
    x.flags.writeable = labels.flags.writeable = False
    network.predict(x), network.moments(x), network.sample(x, 0, 1), network.input_gradient(x, labels)


CALLS = {
    "predict": lambda c, x: c.predict(x),
    "moments": lambda c, x: c.moments(x),
    "sample": lambda c, x: c.sample(x, 0, 1),
    "input_gradient": lambda c, x: c.input_gradient(x, np.zeros(len(x), int)),
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x + 1, ValueError, r"in \[0, 1\], got values from 1"),
        (lambda x: x - 1, ValueError, r"in \[0, 1\], got values from -0"),
        (lambda x: x * np.nan, ValueError, "must be finite .* got a NaN"),
        (lambda x: np.where(x > 0.5, np.inf, x), ValueError, "must be finite"),
        (lambda x: x[:, :1], ValueError, r"shape \(N, 2, 6, 5\), got \(4, 1, 6, 5\)"),
        (lambda x: x[0], ValueError, r"shape \(N, 2, 6, 5\), got \(2, 6, 5\)"),
        (lambda x: (255 * x).astype(int), TypeError, r"floats in .* or uint8, got int64; divide 8-bit values by 255"),
        (lambda x: x > 0.5, TypeError, r"floats in .* or uint8, got bool$"),
        (lambda x: x + 0j, TypeError, "or uint8, got complex128"),
        (lambda x: x.astype(str), TypeError, "or uint8, got <U"),
        (lambda x: np.where(x == x.max(), 1.00001, x).astype(np.float32), ValueError, "got values from .* to 1.00001$"),
        (lambda x: np.ma.masked_less(x, 0.5), ValueError, "images must be plain numbers, got masked ones"),
        (lambda x: [x[0].tolist(), [0.5]], ValueError, "images must form an array, got list"),
    ],
)
def test_images_that_are_not(call: str, change: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    x, _ = data(4)
    with pytest.raises(error, match=message):
        CALLS[call](classifier(), change(x))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), r"labels must be 4 integers, got int64 of the shape \(2,\)"),
        (np.zeros((4, 1), int), "must be 4 integers"),
        (np.zeros(4), "must be 4 integers, got float64"),
        (np.array([0, 1, 2, 4]), "must be in 0 ... 3, got 0 to 4"),
        (np.array([0, -1, 2, 3]), "must be in 0 ... 3, got -1 to 3"),
    ],
)
def test_labels_that_are_not(labels: np.ndarray, message: str) -> None:
    x, _ = data(4)
    with pytest.raises(ValueError, match=message):
        classifier().input_gradient(x, labels)


def test_unknown_choices_are_named() -> None:
    network, (x, labels) = classifier(), data(2)
    with pytest.raises(ValueError, match="unknown propagation 'clark', expected one of laplace, exact, linear"):
        network.moments(x, "clark")
    with pytest.raises(ValueError, match="unknown objective 'hinge', expected one of noise-aware, mse"):
        network.input_gradient(x, labels, "hinge")
    with pytest.raises(ValueError, match="draws must be >= 1, got 0"):
        network.sample(x, 0, draws=0)
    with pytest.raises(ValueError, match="threads must be >= 1"):
        replace(network, threads=0).predict(x)
