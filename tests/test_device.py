"""The engine's operations, layers and networks on a GPU: the same numbers as with NumPy.

The GPU is the double, or with NPSNN_TEST_CUPY=1 a real one.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cupy_fusion_double import Fusion
from on_device import on_both, positive, same, tree, values

from npsnn import models, objectives
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Layer, Want
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import COVARIANCES, FeatureNoise, PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten
from npsnn.ops import answers, conv, expected, feature_noise, gaussian, linear, loss, pool, winograd
from npsnn.ops.gaussian import RULES
from npsnn.optim import SGD, Adam, Optimizer, unit_norm
from npsnn.streams import Stream

IMAGE, LABELS = values(6, 3, 6, 4), np.array([0, 2, 1, 1])
MEANS, VARS = values(5, 4), positive(5, 4)
FACTOR = np.tril(values(5, 5)) + 3 * np.eye(5)
ALIGNMENTS = (feature_noise.alignment, feature_noise.pairwise_alignment, feature_noise.log_trace)
COVARIANCE = np.einsum("iax,jax->ijx", values(3, 5, 4), values(3, 5, 4))

POOLED = values(5, 3, 4), values(3, 4)
OPS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (conv.pad_image, (IMAGE, 2)),
    (lambda x, w, g: convolution(x, w, g, 1, 2), (IMAGE, values(2, 5, 5, 3), values(6, 2, 6, 4))),
    (lambda x, w, g: convolution(x, w, g, 2, 0), (IMAGE, values(2, 2, 2, 3), values(3, 2, 3, 4))),
    (linear.linear, (MEANS, values(3, 5))),
    (linear.linear_input_backward, (values(3, 4), values(3, 5))),
    (linear.linear_weight_backward, (values(3, 4), MEANS)),
    (linear.joint_covariance, (VARS, values(3, 5))),
    (linear.joint_covariance_backward, (values(3, 3, 4), VARS, values(3, 5))),
    (pool.sum_pool, (IMAGE, 2)),
    (pool.sum_pool_backward, (values(3, 3, 3, 4), 2, IMAGE.shape)),
    (loss.one_hot, (values(3, 4), LABELS)),
    (loss.squared_error, (values(3, 4), LABELS)),
    (loss.cross_entropy, (values(3, 4), LABELS)),
    (lambda m, labels: loss.win_probability(m, None, labels), (values(3, 4), LABELS)),
    *[
        (f, (values(3, 4), v, LABELS))
        for f in (loss.win_probability, loss.log_win_probability)
        for v in (positive(3, 4), COVARIANCE, 0 * COVARIANCE)
    ],
    (unit_norm, (values(4, 2, 2, 3), "l1")),
    (unit_norm, (values(4, 2, 2, 3), "l2")),
    (feature_noise.max_entropy, (FACTOR,)),
    (feature_noise.log_entropy, (3 * FACTOR,)),
    *[(f, (values(3, 5), FACTOR)) for f in ALIGNMENTS],
    (expected.expected_cross_entropy, (values(3, 4), COVARIANCE, LABELS, values(8, 3))),
    *[(expected.expected_probability, (values(3, 4), v, LABELS, values(8, 3))) for v in (positive(3, 4), COVARIANCE)],
    (answers.log_mean_probability, (values(5, 3, 4),)),
    (lambda z, g: answers.log_mean_probability_backward(g, *answers.log_mean_probability(z)[1:]), POOLED),
    (answers.votes, (values(5, 3, 4),)),
]


def convolution(x: Any, w: Any, dy: Any, stride: int, padding: int) -> Any:
    cols = conv.columns(x, w.shape[1:3], stride, padding)
    y = conv.conv2d(cols, w, x.shape[-1])
    back = conv.conv2d_input_backward(dy, w, stride, padding, x.shape)
    return y, back, conv.conv2d_weight_backward(dy, cols, w.shape)


@pytest.mark.parametrize(("f", "args"), OPS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_operations(cupy: ModuleType, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    on_both(cupy, f, *args)


@pytest.mark.parametrize("rule", [*RULES.values(), gaussian.DETERMINISTIC], ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rules(cupy: ModuleType, rule: gaussian.Rule, dtype: Any) -> None:
    mean, dy = 3 * values(6, 2, 6, 5).astype(dtype), values(3, 2, 3, 5).astype(dtype)
    plain = rule is gaussian.DETERMINISTIC
    var = None if plain else (positive(6, 2, 6, 5) ** 4 * 0.1).astype(dtype)

    def pooled(mean: Any, var: Any, dy: Any) -> Any:
        m, v, saved = pool.max_pool(mean, var, 2, rule)
        back = pool.max_pool_backward(dy, None if plain else dy * 2, saved, 2, rule)
        return m, v, back, pool.max_pool_backward(dy, None, saved, 2, rule)

    def rectified(mean: Any, var: Any) -> Any:
        m, v, saved = rule.rectify(mean, var)
        return m, v, rule.rectify_backward(mean, var, saved), rule.rectify_backward(mean, None, saved)

    for f, args in ((pooled, (mean, var, dy)), (rectified, (mean, var))):
        same(f(*tree(cupy.asarray, args)), f(*args), 1e-12 if dtype == np.float64 else 1e-5)


LAYERS: list[tuple[Layer, tuple[int, ...]]] = [
    (Conv2d(3, 3, padding=1), (2, 6, 6)),
    (Conv2d(3, 3, stride=2), (2, 7, 7)),
    (Linear(4), (6,)),
    (Linear(4, joint=True), (6,)),
    (MeanPool(2), (2, 6, 6)),
    (MaxPool(3), (2, 7, 7)),
    (OverlappingMaxPool(3, 2, 1), (2, 7, 7)),
    (Normalise((0.1, 0.2), (0.5, 2.0)), (2, 6, 6)),
    (ReLU(), (2, 6, 6)),
    (Flatten(), (2, 6, 6)),
    (PreactivationNoise(0.5), (2, 6, 6)),
    (PReLU(), (2, 6, 6)),
    (PReLU(), (6,)),
    (BatchNorm(), (2, 6, 6)),
    (BatchNorm(), (6,)),
    (Residual(Sequential((("conv", Conv2d(2, 3, padding=1)),)), Sequential(())), (2, 6, 6)),
    *[(FeatureNoise(0.5, kind), (6,)) for kind in COVARIANCES],
    (Sequential((("noise", FeatureNoise(0.5)), ("last", Linear(4, joint=True)))), (6,)),
]
NOISES: list[Noise] = [EXPECTATION, *map(Propagated, RULES.values())]
NETWORK_NOISES = dict(zip(["off", *RULES, "sampled"], [*NOISES, Sampled(Stream(3))], strict=True))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("noise", NOISES, ids=["off", *RULES])
def test_layers(cupy: ModuleType, layer: Layer, shape: tuple[int, ...], noise: Noise) -> None:
    params, _ = layer.init(np.random.default_rng(0), shape)
    params = unflatten({k: p.astype(float) for k, p in flatten(params).items()})
    inner = (shape[1], shape[0], shape[2], 3) if len(shape) == 3 else (shape[0], 3)

    def both_ways(params: Any, mean: Any, var: Any) -> Any:
        m, backward = layer.forward(params, Moments(mean, var), noise)
        return m, backward(Moments(m.mean * 2, None if m.var is None else m.var * 3), Want.BOTH)

    on_both(cupy, both_ways, params, values(*inner), None)
    if isinstance(noise, Propagated):
        on_both(cupy, both_ways, params, values(*inner), positive(*inner))


@pytest.mark.parametrize("r", winograd.OUTPUTS)
def test_winograd(cupy: ModuleType, r: int) -> None:
    """By its functions: layers take it in single precision alone."""

    def both_ways(x: Any, w: Any) -> Any:
        y, saved = winograd.winograd(x, w, 1)
        return y, *winograd.winograd_backward(y * 2, w, saved, 1, x.shape, True)

    on_both(cupy, both_ways, values(7, 2, 6, 3), values(2, r, r, 2))


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("fuse", ["0", "1"])
@pytest.mark.parametrize("layer", [BatchNorm(), *map(partial(FeatureNoise, 0.5), COVARIANCES)], ids=str)
def test_layers_in_training(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, layer: Layer, fuse: str) -> None:
    monkeypatch.setenv("NPSNN_FUSE", fuse)
    params, _ = layer.init(np.random.default_rng(0), (6,))
    noise = Expectation(training=WHOLE) if isinstance(layer, BatchNorm) else Sampled(Stream(0))

    def both_ways(params: Any, x: Any, dy: Any) -> Any:
        m, backward = layer.forward(params, Moments(x), noise)
        return m, backward(Moments(dy), Want.BOTH)

    on_both(cupy, both_ways, {k: p.astype(float) for k, p in params.items()}, values(6, 8), values(6, 8, seed=1))


@pytest.mark.parametrize("fuse", ["0", "1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [SGD(), SGD(0.1, 0.0), SGD(0.1, 0.9, 0.1), Adam(), Adam(0.1, 0.1)], ids=str)
def test_update_rules(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, optimizer: Optimizer, dtype: Any, fuse: str
) -> None:
    monkeypatch.setenv("NPSNN_FUSE", fuse)

    def steps(params: Any, grads: Any) -> Any:
        state = optimizer.init(params)
        for step in (1, 2):
            params, state = optimizer.update(params, grads, state, 0.1, step, {"a.w"})
        return params, state

    flat = {"a.w": values(3, 4), "a.b": values(3), "noise.sigma": np.array(0.5)}
    flat = {k: p.astype(dtype) for k, p in flat.items()}
    grads = {k: (2 * p + 1).astype(dtype) for k, p in flat.items()}
    theirs = steps(flat, grads)
    same(steps(*tree(cupy.asarray, (flat, grads))), theirs, 1e-12 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9, 0.1), SGD(0.1, 0.0), Adam(0.1, 0.1)], ids=str)
def test_update_rules_take_arrays_for_numbers(cupy: ModuleType, optimizer: Optimizer) -> None:
    """Of any precision: a parameter keeps its own, and no rate is rounded before it must be."""
    flat = {"a.w": values(3, 4).astype(np.float32), "a.b": values(3), "noise.sigma": np.float32(0.5)}
    params, grads = tree(cupy.asarray, (flat, {k: 2 * p + 1 for k, p in flat.items()}))
    state = optimizer.init(params)
    found, wanted = (params, state), (params, state)
    for step in (1, 2, 3):
        lr = 0.1 / step
        there = cupy.asarray(np.array([lr, step], np.float64))
        found = optimizer.update(found[0], grads, found[1], there[0], there[1], {"a.w"})
        wanted = optimizer.update(wanted[0], grads, wanted[1], lr, step, {"a.w"})
    same(found, tree(cupy.asnumpy, wanted), 1e-15)


def test_fusion_is_for_the_gpu_alone_and_can_be_switched_off(
    double: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kernels(xp: Any) -> int:
        before, params = Fusion.calls, {"w": xp.ones(2)}
        Adam().update(params, params, Adam().init(params), 0.1, 1)
        return Fusion.calls - before

    monkeypatch.delenv("NPSNN_FUSE", raising=False)
    assert kernels(double) == 1 and kernels(np) == 0
    monkeypatch.setenv("NPSNN_FUSE", "0")
    assert kernels(double) == 0


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, o) for k in NETWORK_NOISES for o in objectives.losses() if o != "win-probability" or k in RULES],
)
def test_lenet5(cupy: ModuleType, kind: str, name: str) -> None:
    noise, model = NETWORK_NOISES[kind], models.lenet5()
    flat = {k: p.astype(float) for k, p in flatten(model.init(np.random.default_rng(0))).items()}

    def step(flat: Any, x: Any, labels: Any) -> Any:
        m, backward = model.network.forward(unflatten(flat), Moments(x), noise)
        value, cotangent = objectives.OBJECTIVES[name](m, labels)
        return m, value, backward(cotangent, Want.BOTH)

    x = np.random.default_rng(1).uniform(size=(28, 1, 28, 3))
    theirs = step(flat, x, LABELS[:3])
    same(step(*tree(cupy.asarray, (flat, x, LABELS[:3]))), theirs, 1e-9)
