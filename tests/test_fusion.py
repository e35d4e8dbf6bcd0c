"""Fused functions on the double: the same bits as their operations one by one, in as few kernels as they say."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cupy_double import Module
from cupy_graph_double import launches
from on_device import leaves, on_both, positive, tree, values

from npsnn import models, objectives
from npsnn.backend import Later, fused, later, namespace, settled
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d
from npsnn.layers.base import Want
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool
from npsnn.ops import activation, gaussian, loss, norm, pool
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

SHAPE = (4, 3, 6, 5)
MEAN, VAR, DM, DV = values(*SHAPE), positive(*SHAPE) ** 4, values(*SHAPE, seed=2), values(*SHAPE, seed=3)
SECOND = values(*SHAPE, seed=4)
WEIGHTS, MANY, VECTORS = values(3), values(16, 3, 16, 20), values(3, 8)
FAR = np.concatenate([MEAN, 30 * MEAN])

LABELS, VARS = np.array([0, 2, 1, 1, 0, 2, 2, 0]), positive(3, 8)
JOINT = np.einsum("iax,jax->ijx", values(3, 5, 8), values(3, 5, 8))

Case = tuple[Callable[..., Any], tuple[Any, ...], Any]


def rectified(rule: str) -> Callable[..., Any]:
    def both_ways(mean: Any, var: Any, dm: Any, dv: Any) -> Any:
        m, v, saved = RULES[rule].rectify(mean, var)
        return m, v, saved, RULES[rule].rectify_backward(dm, dv, saved)

    return both_ways


def largest(rule: str) -> Callable[..., Any]:
    def both_ways(m1: Any, v1: Any, m2: Any, v2: Any, dm: Any, dv: Any) -> Any:
        m, v, saved = RULES[rule].maximum(m1, v1, m2, v2)
        # every second row of one array of each kind, as pooling has them
        means, variances = m1 * 0 - 1, None if v1 is None or (dv is None and rule != "exact") else m1 * 0 - 1
        parts = [None if whole is None else whole[i::2] for i in (0, 1) for whole in (means, variances)]
        RULES[rule].maximum_backward(dm[::2], None if dv is None else dv[::2], tree(lambda a: a[::2], saved), parts)
        return m, v, saved, means, variances

    return both_ways


def pooled(rule: gaussian.Rule, k: int) -> Callable[..., Any]:
    def both_ways(mean: Any, var: Any, dm: Any, dv: Any) -> Any:
        m, v, saved = pool.max_pool(mean, var, k, rule)
        size = slice(0, m.shape[0]), slice(None), slice(0, m.shape[2])
        back = pool.max_pool_backward(dm[size], None if dv is None else dv[size], saved, k, rule)
        return m, v, back

    return both_ways


def summed(k: int) -> Callable[..., Any]:
    def both_ways(x: Any) -> Any:
        y = pool.sum_pool(x, k)
        return y, pool.sum_pool_backward(y, k, x.shape)

    return both_ways


def with_slopes(rule: gaussian.Rule) -> Callable[..., Any]:
    def both_ways(mean: Any, var: Any, slope: Any, dm: Any, dv: Any) -> Any:
        y, v, saved = activation.prelu(mean, var, slope, rule)
        back = activation.prelu_backward(dm, dv, slope, saved, rule)
        return y, v, back, activation.prelu_slope_backward(dm, dv, slope, saved)

    return both_ways


def normalised(x: Any, w: Any, b: Any, dy: Any) -> Any:
    y, mean, var, saved = norm.batch_norm(x, w, b, 1e-5, x.size // len(w), lambda sums: sums)
    dw, db = norm.batch_norm_weight_backward(dy, saved)
    return settled(y), mean, var, dw, db, norm.batch_norm_backward(dy, w, dw, db, saved)


def normalised_by_averages(x: Any, v: Any, w: Any, dy: Any, dv: Any) -> Any:
    mean, var, saved = norm.fixed_norm(x, v, (w, w), (w, w * w), 1e-5)
    dmean, dvar = norm.fixed_norm_backward(dy, dv, saved)
    return settled(mean), var, settled(dmean), dvar, norm.fixed_norm_weight_backward(dy, dv, saved)


def units(f: Any) -> Callable[..., Any]:
    return lambda mean, var, labels: objectives.in_units(f, Moments(mean, var), labels)[1]


CASES: dict[str, Case] = {
    "exact ReLU": (rectified("exact"), (MEAN, VAR, DM, DV), 2),
    "exact ReLU, far": (rectified("exact"), (FAR, FAR * FAR / 1000, FAR, FAR), 2),
    "exact ReLU, dm": (rectified("exact"), (MEAN, VAR, DM, None), 2),
    "exact ReLU, dv": (rectified("exact"), (MEAN, VAR, None, DV), 2),
    "exact ReLU, nothing": (rectified("exact"), (MEAN, VAR, None, None), 1),
    "Laplace ReLU": (rectified("laplace"), (MEAN, VAR, DM, DV), 2),
    "Laplace ReLU, dv": (rectified("laplace"), (MEAN, VAR, None, DV), 2),
    "linear ReLU": (rectified("linear"), (MEAN, VAR, DM, DV), 2),
    "ReLU": (rectified("linear"), (MEAN, None, DM, None), 2),
    # two or four kernels prepare what is written to
    "Clark": (largest("exact"), (MEAN, VAR, SECOND, VAR, DM, DV), 2 + 4),
    "Clark, dm": (largest("exact"), (MEAN, VAR, SECOND, VAR, DM, None), 2 + 4),
    "winner": (largest("laplace"), (MEAN, VAR, SECOND, VAR, DM, DV), 2 + 4),
    "winner, dm": (largest("laplace"), (MEAN, VAR, SECOND, VAR, DM, None), 2 + 2),
    "winner of means": (largest("linear"), (MEAN, None, SECOND, None, DM, None), 2 + 2),
    **{
        f"{rule.name} pooling of {k}": (pooled(rule, k), (MEAN, VAR, DM, DV), kernels)
        # where rows are left over, what is written to is set to 0 first
        for rule in RULES.values()
        for k, kernels in ((2, 2), (3, 2 + 2))
    },
    "exact pooling, dm": (pooled(gaussian.EXACT, 2), (MEAN, VAR, DM, None), 2),
    "Laplace pooling, dm": (pooled(gaussian.LAPLACE, 2), (MEAN, VAR, DM, None), 2),
    "pooling": (pooled(gaussian.DETERMINISTIC, 2), (MEAN, None, DM, None), 2),
    "pooling of 3": (pooled(gaussian.DETERMINISTIC, 3), (MEAN, None, DM, None), 2 + 1),
    # of few numbers a channel, the slopes are copied to have gaps
    **{f"{rule.name} PReLU": (with_slopes(rule), (MEAN, VAR, WEIGHTS, DM, DV), 3 + 1) for rule in RULES.values()},
    "exact PReLU, dm": (with_slopes(gaussian.EXACT), (MEAN, VAR, WEIGHTS, DM, None), 3 + 1),
    "PReLU": (with_slopes(gaussian.DETERMINISTIC), (MEAN, None, WEIGHTS, DM, None), 3 + 1),
    "PReLU of many": (with_slopes(gaussian.DETERMINISTIC), (MANY, None, WEIGHTS, MANY, None), 4),
    "PReLU of vectors": (with_slopes(gaussian.DETERMINISTIC), (VECTORS, None, WEIGHTS, VECTORS, None), 3 + 1),
    "BatchNorm": (normalised, (MEAN, WEIGHTS, WEIGHTS, DM), 5 + 2 + 2),
    "BatchNorm of many": (normalised, (MANY, WEIGHTS, WEIGHTS, MANY), 7 + 3 + 2),
    "BatchNorm of vectors": (normalised, (VECTORS, WEIGHTS, WEIGHTS, VECTORS), 5 + 2 + 2),
    "moved averages": (norm.moved_averages, (WEIGHTS, WEIGHTS**2, WEIGHTS[::-1], WEIGHTS**4, 0.1), 1),
    # the case itself squares, and the backward pass scales sums by channel and copies the means to have gaps
    "fixed BatchNorm": (normalised_by_averages, (MEAN, None, WEIGHTS, DM, None), 1 + 2 + 1 + 3),
    "fixed BatchNorm with variances": (normalised_by_averages, (MEAN, VAR, WEIGHTS, DM, DV), 1 + 2 + 1 + 7),
    "squared error": (loss.squared_error, (VECTORS, LABELS), 4),
    "cross-entropy": (loss.cross_entropy, (VECTORS, LABELS), {np.float32: 9, np.float64: 9 + 7}),
    "win probability": (loss.win_probability, (VECTORS, VARS, LABELS), 1 + 3 + 1 + 2 + 3),
    "win probability, joint": (loss.win_probability, (VECTORS, JOINT, LABELS), 1 + 4 + 1 + 2 + 4),
    "ln win probability": (loss.log_win_probability, (VECTORS, VARS, LABELS), {np.float32: 10, np.float64: 13}),
    "ln win probability, joint": (loss.log_win_probability, (VECTORS, JOINT, LABELS), {np.float32: 12, np.float64: 15}),
    "units": (units(objectives.mse), (VECTORS, None, LABELS), 1 + 4 + 2 + 2),
    "units with variances": (units(objectives.noise_aware), (VECTORS, VARS, LABELS), 2 + 17 + 4 + 3),
    "sums of 2": (summed(2), (MEAN,), 2),
    "sums of 3": (summed(3), (MEAN,), 2 + 1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("f", "args", "kernels"), CASES.values(), ids=CASES)
def test_one_kernel_gives_the_bits_of_the_operations(
    cupy: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kernels: Any,
    dtype: Any,
) -> None:
    """A real GPU joins products and sums, and rounds otherwise: what cancels, by as much as the arguments."""
    exact = isinstance(cupy, Module)
    args = tree(lambda a: cupy.asarray(a.astype(dtype) if a.dtype.kind == "f" else a), args)
    found = []
    for fuse in ("1", "0"):
        monkeypatch.setenv("NPSNN_FUSE", fuse)
        with launches() as started:
            found.append(leaves(f(*args)))
        if exact and fuse == "1":
            assert len(started) == (kernels[dtype] if isinstance(kernels, dict) else kernels)
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype and ours.dtype in (dtype, np.dtype(bool))
        scale = 0 if exact else {"float32": 1e-4, "float64": 1e-9}[np.dtype(dtype).name]
        largest = max(float(abs(a).max()) for a in (theirs, *leaves(args)))
        np.testing.assert_allclose(ours.get(), theirs.get(), 0, scale * largest)


@pytest.mark.parametrize("rule", ["exact", "laplace"])
def test_the_far_tail_asks_the_host_nothing_and_is_a_cpus(double: ModuleType, rule: str) -> None:
    mean, var = np.linspace(-70, 70, 200), np.ones(200)
    ours = gaussian.RULES[rule].rectify(double.asarray(mean), double.asarray(var))
    theirs = gaussian.RULES[rule].rectify(mean, var)
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-15)


@fused
def _shifted(x: Any, b: Any) -> Any:
    return x + b


@fused
def _root(x: Any, y: Any) -> Any:
    return namespace(x).sqrt(x * y)


def test_what_comes_later_is_a_part_of_the_next_kernel(double: ModuleType) -> None:
    x, b = double.ones((4, 2, 4, 3)), double.asarray(np.array([3.0, 8.0]))[:, None, None]
    with launches() as started:
        first = later(_shifted, x, b)
        found = _root(later(_shifted, first, b)[::2], first[::2])
        assert len(started) == 1 and (first.shape, first.ndim, first.dtype) == (x.shape, 4, x.dtype)
        np.testing.assert_array_equal(found.get()[1, :, 2, 1], np.sqrt([28.0, 153.0]))
        assert settled(first) is settled(first) and len(started) == 2
        _root(first, x)
        assert len(started) == 3 and settled(x) is x
    assert type(later(_shifted, np.ones(2), 1.0)) is np.ndarray


def test_nothing_comes_later_without_fusion(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSNN_FUSE", "0")
    assert isinstance(later(_shifted, double.ones(2), 1.0), double.ndarray)


class Doubled(ReLU):
    """A layer with a forward of its own, which takes and gives arrays."""

    def forward(self, params: Any, m: Moments, noise: Noise) -> Any:
        assert not isinstance(m.mean, Later)
        out, back = super().forward(params, m, noise)
        assert not isinstance(out.mean, Later)
        return Moments(2 * out.mean), lambda g, want: back(Moments(2 * g.mean), want)


BLOCK = Sequential((("conv", Conv2d(3, 3, padding=1)), ("bn", BatchNorm()), ("relu", ReLU()), ("bn2", BatchNorm())))
BLOCKS = {
    "block": (("conv", Conv2d(3, 1)), ("block", Residual(BLOCK, Sequential(()))), ("relu", ReLU())),
    "two branches": (
        ("block", Residual(BLOCK, Sequential((("conv", Conv2d(3, 1)), ("bn", BatchNorm()))))),
        ("relu", ReLU()),
    ),
    "last": (("conv", Conv2d(3, 1)), ("bn", BatchNorm())),
    "own layer": (("conv", Conv2d(3, 1)), ("relu", Doubled()), ("bn", BatchNorm()), ("relu2", Doubled())),
    "pooling": (("conv", Conv2d(3, 3)), ("pool", MaxPool(2)), ("prelu", PReLU())),
    "noise": (("conv", Conv2d(3, 3)), ("noise", PreactivationNoise(0.3)), ("pool", MaxPool(2)), ("relu", ReLU())),
    "noise of channels": (
        ("conv", Conv2d(3, 3)),
        ("noise", PreactivationNoise(0.3, "channel")),
        ("relu", ReLU()),
        ("noise2", PreactivationNoise(0.2, "unit")),
        ("bn", BatchNorm()),
    ),
    "pooling of 1": (("conv", Conv2d(3, 3)), ("pool", MaxPool(1)), ("relu", ReLU())),
}


class SameDraw(Stream):
    """A stream that draws the same numbers on every device."""

    def at(self, name: str) -> "SameDraw":
        return self

    def normal(self, like: Any) -> Any:
        return namespace(like).asarray(values(*like.shape))


KINDS = {
    "off": EXPECTATION,
    "training": Expectation(training=WHOLE),
    "": Propagated(),
    "drawn": Sampled(SameDraw(0)),
}


@pytest.mark.parametrize("noise", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("layers", BLOCKS.values(), ids=BLOCKS)
def test_layers_that_leave_work_to_the_next_give_the_same_numbers(cupy: ModuleType, layers: Any, noise: Noise) -> None:
    network = Sequential(layers)
    params, _ = network.init(np.random.default_rng(0), (2, 6, 6))
    flat = {k: p + 0.1 * values(*p.shape) for k, p in flatten(params).items()}
    flat |= {k: np.abs(p) + 0.5 for k, p in flat.items() if k.endswith("running_var")}

    def both_ways(flat: Any, x: Any) -> Any:
        m, backward = network.forward(unflatten(flat), Moments(x), noise)
        return m, backward(Moments(m.mean * 2), Want.BOTH)

    on_both(cupy, both_ways, flat, values(6, 2, 6, 5))


LIMITS = {
    ("lenet5", "off", "cross-entropy"): 59,
    ("lenet5", "laplace", "noise-aware"): 112,
    ("lenet5", "exact", "noise-aware"): 111,
    ("lenetpp", "training", "cross-entropy"): 141,
    ("resnet18", "training", "cross-entropy"): 518,
}


@pytest.mark.parametrize(
    ("name", "kind", "objective"),
    [pytest.param(*step, marks=[pytest.mark.slow] * (step[0] == "resnet18")) for step in LIMITS],
)
def test_a_step_starts_few_kernels(double: ModuleType, name: str, kind: str, objective: str) -> None:
    """Forward, loss and backward of a small batch, without the optimiser: no more kernels than today."""
    shape = (3, 32, 32) if name == "resnet18" else (1, 28, 28)
    noisy = kind in RULES
    model = models.build(name, shape, 10, 0.6 if noisy else 0.0, "preactivation" if name == "lenet5" else "features")
    noise = Propagated(RULES[kind]) if noisy else Expectation(training=WHOLE)
    params = tree(double.asarray, model.init(np.random.default_rng(0)))
    x = double.asarray(np.random.default_rng(1).random((shape[1], shape[0], shape[2], 4)).astype(np.float32))
    labels = double.asarray(np.arange(4))
    for _ in range(2):  # constants come to the device in the first
        with launches() as started:
            m, backward = model.network.forward(params, Moments(x), noise)
            backward(objectives.OBJECTIVES[objective](m, labels)[1], Want.PARAMS)
    assert len(started) <= LIMITS[name, kind, objective]
