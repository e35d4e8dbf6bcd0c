"""Two branches in parallel: whole gradients, what is computed on the way back, and the names inside."""

import numpy as np
import pytest
from spies import Spy
from strategies import batch_last, frozen

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Backward, Want
from npsnn.layers.containers import Residual, Sequential, leaves
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.ops.gaussian import RULES, Rule
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

NOISES = {name: Propagated(rule) for name, rule in RULES.items()} | {
    "sampled": Sampled(Stream(4)),
    "expectation": EXPECTATION,
}
each_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=list(NOISES))
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
BODY = Sequential((("conv", Conv2d(2, 3, padding=1)), ("relu", ReLU()), ("conv2", Conv2d(2, 1, bias=False))))
PROJECTION = Sequential((("conv", Conv2d(2, 1)),))
IDENTITY = Sequential(())
shortcuts = pytest.mark.parametrize("shortcut", [IDENTITY, PROJECTION], ids=["identity", "projection"])


def block(shortcut: Sequential, seed: int = 0) -> tuple[Residual, Arrays, Arrays, np.random.Generator]:
    """A residual block, its parameters, flat, and moments of its input."""
    layer, rng = Residual(BODY, shortcut), np.random.default_rng(seed)
    params, shape = layer.init(rng, (2, 4, 3))
    assert shape == (2, 4, 3)
    flat = {k: rng.normal(size=p.shape) for k, p in flatten(params).items()}
    return layer, flat, {"x": batch_last(rng.normal(size=(3, *shape))), "var": 0.1 + rng.random((4, 2, 3, 3))}, rng


@shortcuts
@pytest.mark.parametrize("with_var", [False, True], ids=["number", "Gaussian"])
@each_noise
def test_gradients_of_a_residual(noise: Noise, with_var: bool, shortcut: Sequential) -> None:
    layer, flat, inputs, rng = block(shortcut)
    arrays = flat | (inputs if with_var else {"x": inputs["x"]})

    def forward(a: Arrays) -> tuple[Moments, Backward]:
        params = unflatten({k: a[k] for k in flat})
        return layer.forward(params, Moments(frozen(a["x"]), a.get("var")), noise)

    m, back = forward(arrays)
    assert (m.var is not None) == with_var
    gm, gv = rng.normal(size=m.mean.shape), rng.normal(size=m.mean.shape) if with_var else None
    g, grads = back(Moments(frozen(gm), None if gv is None else frozen(gv)), Want.BOTH)

    def f(a: Arrays) -> float:
        out, _ = forward(a)
        return (out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum())

    gradients = {"x": g.mean} | ({"var": g.var} if with_var else {}) | flatten(grads)
    check_gradient(f, arrays, gradients, entries=8, step=1e-5)


@shortcuts
def test_a_residual_adds_means_and_variances(shortcut: Sequential) -> None:
    layer, flat, inputs, _ = block(shortcut)
    params, x = unflatten(flat), Moments(inputs["x"], inputs["var"])
    m, _ = layer.forward(params, x, Propagated())
    body, _ = BODY.forward(params["body"], x, Propagated())
    other, _ = shortcut.forward(params.get("shortcut", {}), x, Propagated())
    np.testing.assert_array_equal(m.mean, body.mean + other.mean)
    np.testing.assert_array_equal(m.var, body.var + other.var)


@shortcuts
def test_a_residual_computes_what_is_wanted(shortcut: Sequential) -> None:
    layer, flat, inputs, _ = block(shortcut)
    m, back = layer.forward(unflatten(flat), Moments(inputs["x"], inputs["var"]), Propagated())
    g, grads = back(m, Want.BOTH)
    only, none = back(m, Want.INPUT)
    nothing, found = back(m, Want.PARAMS)
    np.testing.assert_array_equal(only.mean, g.mean)
    np.testing.assert_array_equal(only.var, g.var)
    assert none == {} and nothing is None
    assert flatten(found).keys() == flatten(grads).keys() == flat.keys()
    for k, value in flatten(grads).items():
        np.testing.assert_array_equal(flatten(found)[k], value)


def test_a_residual_that_comes_first_computes_nothing_below_its_parameters() -> None:
    spies = {name: Spy([]) for name in ("below", "body", "shortcut", "above")}
    body = Sequential((("spy", spies["body"]), ("fc", Linear(3)), ("above", spies["above"])))
    residual = Residual(body, Sequential((("spy", spies["shortcut"]),)))
    net = Sequential((("below", spies["below"]), ("block", residual)))
    params, _ = net.init(np.random.default_rng(0), (3,))
    assert flatten(params).keys() == {"block.body.fc.w", "block.body.fc.b"}
    m, back = net.forward(params, Moments(np.ones((3, 1))), EXPECTATION)
    nothing, grads = back(m, Want.PARAMS)
    assert nothing is None and flatten(grads).keys() == flatten(params).keys()
    assert [len(spies[name].seen) for name in ("below", "body", "shortcut", "above")] == [0, 0, 0, 1]
    back(m, Want.INPUT)
    assert all(spies[name].seen[-1] == Want.INPUT for name in spies)


def test_the_branches_of_a_residual_draw_their_own_numbers() -> None:
    noisy = Sequential((("noise", PreactivationNoise(1.0)),))
    layer, x = Residual(noisy, noisy), np.zeros((4, 1000))
    draw = {"noise": {"sigma": np.array(1.0)}}
    off = {"noise": {"sigma": np.array(0.0)}}
    first, second, both = (
        layer.forward({"body": a, "shortcut": b}, Moments(x), Sampled(Stream(0)).at("block"))[0].mean
        for a, b in ((draw, off), (off, draw), (draw, draw))
    )
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(x.size)
    np.testing.assert_allclose(both, first + second, rtol=1e-12)


@each_rule
def test_a_residual_after_noise_that_is_one_number(rule: Rule) -> None:
    body = Sequential((("pool", MaxPool(2)), ("relu", ReLU())))
    residual = Residual(body, Sequential((("pool", MeanPool(2)),)))
    net = Sequential((("noise", PreactivationNoise(0.7)), ("block", residual)))
    x, rng = batch_last(np.random.default_rng(0).normal(size=(2, 3, 4, 4))), np.random.default_rng(1)
    arrays = {"x": x, "noise.sigma": np.array(0.7)}

    def forward(a: Arrays) -> tuple[Moments, Backward]:
        return net.forward({"noise": {"sigma": a["noise.sigma"]}}, Moments(a["x"]), Propagated(rule))

    m, back = forward(arrays)
    gm, gv = rng.normal(size=(2, *m.mean.shape))
    g, grads = back(Moments(gm, gv), Want.BOTH)

    def f(a: Arrays) -> float:
        out, _ = forward(a)
        return (out.mean * gm).sum() + (out.var * gv).sum()

    check_gradient(f, arrays, {"x": g.mean} | flatten(grads), step=1e-5)


def test_both_branches_must_have_one_shape() -> None:
    with pytest.raises(ValueError, match=r"one output shape, got \(2, 4, 3\) and \(1, 4, 3\)"):
        Residual(BODY, Sequential((("conv", Conv2d(1, 1)),))).init(np.random.default_rng(0), (2, 4, 3))
    with pytest.raises(ValueError, match="shortcut must be of the type Sequential"):
        Residual(BODY, ReLU())


def test_leaves_are_named_like_the_flat_parameters() -> None:
    net = Sequential((("first", ReLU()), ("block", Residual(BODY, PROJECTION)), ("last", Flatten())))
    found = dict(leaves(net))
    assert list(found) == [
        "first",
        "block.body.conv",
        "block.body.relu",
        "block.body.conv2",
        "block.shortcut.conv",
        "last",
    ]
    params, _ = net.init(np.random.default_rng(0), (2, 4, 3))
    assert {name.rpartition(".")[0] for name in flatten(params)} <= found.keys()
    assert found["block.body.conv2"] is BODY.layers[2][1]
    assert dict(leaves(ReLU(), "relu")) == {"relu": ReLU()}
