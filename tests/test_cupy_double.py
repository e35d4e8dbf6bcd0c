"""The double itself, and what the engine computes with it: the same numbers as with NumPy."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import cupy_double
import numpy as np
import pytest
from cupy_double import Module, ndarray, synchronisations

from npsnn import models, objectives
from npsnn.affine import Conv2d, Linear, MeanPool, Normalise
from npsnn.backend import namespace, special, to_device, to_host
from npsnn.layers import Flatten, Layer, MaxPool, ReLU, Want
from npsnn.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.network import flatten, unflatten
from npsnn.noise import PreactivationNoise
from npsnn.ops import conv, gaussian, linear, loss, pool
from npsnn.ops.gaussian import RULES
from npsnn.optim import unit_norm
from npsnn.streams import Stream


def tree(f: Callable[[Any], Any], value: Any) -> Any:
    """f applied to every array inside tuples, lists, dictionaries and Moments."""
    if isinstance(value, Moments):
        return Moments(tree(f, value.mean), tree(f, value.var))
    if isinstance(value, (tuple, list)):
        return type(value)(tree(f, v) for v in value)
    if isinstance(value, dict):
        return {k: tree(f, v) for k, v in value.items()}
    return f(value) if isinstance(value, (np.ndarray, np.generic, ndarray)) else value


def leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    tree(found.append, value)
    return found


def same(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    """Every array of the double's result is one of the double, and holds NumPy's numbers and dtype."""
    ours, theirs = leaves(ours), leaves(theirs)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(a, ndarray), f"a NumPy {type(b).__name__} came out of a computation on the GPU"
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a.array, b, rtol=rtol, atol=1e-12 if rtol < 1e-6 else 1e-5)


def on_both(cupy: Module, f: Callable[..., Any], *args: Any) -> Any:
    """f's result with NumPy, once f's result with the double is known to be the same."""
    theirs = f(*args)
    same(f(*tree(cupy.asarray, args)), theirs)
    return theirs


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return np.abs(values(*shape, seed=1)) + 0.1


def test_the_double_refuses_what_cupy_refuses(cupy: Module) -> None:
    x, host = cupy.ones((2, 3)), np.ones((2, 3))
    refused: list[Callable[[], Any]] = [
        lambda: np.asarray(x),
        lambda: np.sqrt(x),
        lambda: x + host,
        lambda: host + x,
        lambda: cupy.add(x, host),
        lambda: cupy.sqrt([1.0, 2.0]),
        lambda: x.sum(initial=1.0),
        lambda: x.__setitem__(0, host[0]),
        lambda: [0, 1][cupy.asarray(1)],
    ]
    for f in refused:
        with pytest.raises(TypeError):
            f()
    for missing in (lambda: cupy.vecdot, lambda: cupy.errstate, lambda: x.tofoo, lambda: x.__array_namespace__):
        with pytest.raises(AttributeError):
            missing()
    for method in ("normal", "permutation", "shuffle", "choice"):
        with pytest.raises(AttributeError, match=method):
            getattr(cupy.random.default_rng(0), method)


def test_the_double_keeps_arrays_and_counts_waits(cupy: Module) -> None:
    x = cupy.asarray(np.arange(6.0).reshape(2, 3))
    assert isinstance(x.sum(), ndarray) and x.sum().shape == () and isinstance(x[0, 1], ndarray)
    x[:, 1] += 10
    row = x[1]
    row *= 2
    np.testing.assert_array_equal(x.get(), [[0, 11, 2], [6, 28, 10]])
    out = cupy.empty(3)
    assert cupy.multiply(x[0], 2, out=out) is out
    with synchronisations() as waits:
        assert x.sum() > 0 and float(x.max()) == 28 and int(x.argmax()) == 4
        x[x > 5] = 0
        x.get()
    assert waits == {"bool": 1, "float": 1, "int": 1, "mask": 1, "get": 1}


@pytest.mark.skipif(find_spec("cupy") is None, reason="CuPy is not installed; its wheel is enough, without a GPU")
def test_the_double_has_nothing_that_cupy_has_not() -> None:
    cupy, special = import_module("cupy"), import_module("cupyx.scipy.special")
    parts = (cupy, cupy_double.NAMES), (special, cupy_double.SPECIAL_NAMES), (cupy.ndarray, cupy_double.METHODS)
    assert [name for part, names in parts for name in names if not hasattr(part, name)] == []
    assert [name for name in cupy_double.GENERATOR_NAMES if not hasattr(cupy.random.Generator, name)] == []
    assert cupy.ndarray.__module__ == ndarray.__module__
    for name in ("__array_namespace__", "__index__"):
        assert hasattr(cupy.ndarray, name) == hasattr(ndarray, name)


def test_arrays_of_another_device_are_refused(cupy: Module) -> None:
    x = cupy.ones(3)
    with cupy.cuda.Device(1), pytest.raises(ValueError, match="current device"):
        x + 1


def test_the_library_is_found_from_the_array(cupy: Module) -> None:
    x = cupy.ones(3)
    assert namespace(x, None, 2.0) is cupy and namespace(np.ones(3)) is np
    assert special(x).__name__ == "cupyx.scipy.special"
    with pytest.raises(TypeError, match="one library"):
        namespace(x, np.ones(3))
    assert isinstance(to_host(x), np.ndarray) and isinstance(to_device(np.ones(3), "cuda"), ndarray)


IMAGE, LABELS = values(6, 3, 6, 4), np.array([0, 2, 1, 1])
MEANS, VARS = values(5, 4), positive(5, 4)
COVARIANCE = np.einsum("iax,jax->ijx", values(3, 5, 4), values(3, 5, 4))

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
]


def convolution(x: Any, w: Any, dy: Any, stride: int, padding: int) -> Any:
    cols = conv.columns(x, w.shape[1:3], stride, padding)
    y = conv.conv2d(cols, w, x.shape[-1])
    back = conv.conv2d_input_backward(dy, w, stride, padding, x.shape)
    return y, back, conv.conv2d_weight_backward(dy, cols, w.shape)


@pytest.mark.parametrize(("f", "args"), OPS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_operations(cupy: Module, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    on_both(cupy, f, *args)


@pytest.mark.parametrize("rule", [*RULES.values(), gaussian.DETERMINISTIC], ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rules(cupy: Module, rule: gaussian.Rule, dtype: Any) -> None:
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
    (Normalise((0.1, 0.2), (0.5, 2.0)), (2, 6, 6)),
    (ReLU(), (2, 6, 6)),
    (Flatten(), (2, 6, 6)),
    (PreactivationNoise(0.5), (2, 6, 6)),
]
NOISES: list[Noise] = [EXPECTATION, *map(Propagated, RULES.values())]
NETWORK_NOISES = dict(zip(["off", *RULES, "sampled"], [*NOISES, Sampled(Stream(3))], strict=True))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("noise", NOISES, ids=["off", *RULES])
def test_layers(cupy: Module, layer: Layer, shape: tuple[int, ...], noise: Noise) -> None:
    params, _ = layer.init(np.random.default_rng(0), shape)
    params = {k: p.astype(float) for k, p in params.items()}
    inner = (shape[1], shape[0], shape[2], 3) if len(shape) == 3 else (shape[0], 3)

    def both_ways(params: Any, mean: Any, var: Any) -> Any:
        m, backward = layer.forward(params, Moments(mean, var), noise)
        return m, backward(Moments(m.mean * 2, None if m.var is None else m.var * 3), Want.BOTH)

    on_both(cupy, both_ways, params, values(*inner), None)
    if isinstance(noise, Propagated):
        on_both(cupy, both_ways, params, values(*inner), positive(*inner))


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, o) for k in NETWORK_NOISES for o in objectives.OBJECTIVES if o != "win-probability" or k in RULES],
)
def test_lenet5(cupy: Module, kind: str, name: str) -> None:
    noise, model = NETWORK_NOISES[kind], models.lenet5()
    flat = {k: p.astype(float) for k, p in flatten(model.init(np.random.default_rng(0))).items()}

    def step(flat: Any, x: Any, labels: Any) -> Any:
        m, backward = model.network.forward(unflatten(flat), Moments(x), noise)
        value, cotangent = objectives.OBJECTIVES[name](m, labels)
        return m, value, backward(cotangent, Want.BOTH)

    x = np.random.default_rng(1).uniform(size=(28, 1, 28, 3))
    theirs = step(flat, x, LABELS[:3])
    same(step(*tree(cupy.asarray, (flat, x, LABELS[:3]))), theirs, 1e-9)
