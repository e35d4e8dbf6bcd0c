"""Layers in sequence: whole gradients, what is computed on the way back, and flat parameters."""

import numpy as np
import pytest
from spies import Spy
from strategies import batch_last, frozen

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.ops.gaussian import RULES, Rule
from npsnn.reference import plain
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, Function, check_directional, check_gradient

NET = Sequential(
    (
        ("normalise", Normalise((0.4, 0.6), (0.3, 0.5))),
        ("conv", Conv2d(3, 3, stride=1, padding=1)),
        ("noise", PreactivationNoise(0.6)),
        ("pool", MaxPool(2)),
        ("relu", ReLU()),
        ("mean", MeanPool(2)),
        ("flatten", Flatten()),
        ("fc1", Linear(5)),
        ("noise2", PreactivationNoise(0.3)),
        ("relu2", ReLU()),
        ("fc2", Linear(4, joint=True)),
    )
)
SHAPE = (2, 9, 8)
NOISES = {name: Propagated(rule) for name, rule in RULES.items()} | {
    "sampled": Sampled(Stream(4)),
    "expectation": EXPECTATION,
}
each_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=list(NOISES))
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def values(seed: int = 0, batch: int = 2) -> tuple[Arrays, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    params, _ = NET.init(rng, SHAPE)
    flat = {
        k: p.astype(np.float64) + (0.3 * rng.normal(size=p.shape) if k.endswith("b") else 0)
        for k, p in flatten(params).items()
    }
    return flat, batch_last(rng.random((batch, *SHAPE))), rng


def loss_and_gradients(noise: Noise, with_var: bool, seed: int = 0) -> tuple[Function, Arrays, Arrays]:
    """A random linear function of the output's moments; its arguments and its gradients."""
    flat, x, rng = values(seed)
    arrays = {"x": x} | ({"var": 0.1 + rng.random(x.shape)} if with_var else {}) | flat
    m, back = NET.forward(unflatten(flat), Moments(frozen(x), arrays.get("var")), noise)
    gm, gv = rng.normal(size=m.mean.shape), None if m.var is None else rng.normal(size=m.var.shape)
    g, grads = back(Moments(gm, gv), Want.BOTH)

    def f(a: Arrays) -> float:
        params = unflatten({k: v for k, v in a.items() if k not in ("x", "var")})
        out, _ = NET.forward(params, Moments(a["x"], a.get("var")), noise)
        return (out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum())

    return f, arrays, {"x": g.mean} | ({"var": g.var} if with_var else {}) | flatten(grads)


@pytest.mark.slow
@each_noise
@pytest.mark.parametrize("with_var", [False, True], ids=["image", "uncertain image"])
def test_gradients_of_a_whole_network(noise: Noise, with_var: bool) -> None:
    f, arrays, gradients = loss_and_gradients(noise, with_var)
    check_directional(f, arrays, gradients, np.random.default_rng(1))
    check_gradient(f, arrays, gradients, entries=6, step=1e-5)


@each_noise
def test_what_is_not_wanted_is_not_returned(noise: Noise) -> None:
    flat, x, _ = values()
    m, back = NET.forward(unflatten(flat), Moments(x), noise)
    g, grads = back(m, Want.BOTH)
    only, none = back(m, Want.INPUT)
    nothing, only_grads = back(m, Want.PARAMS)
    np.testing.assert_array_equal(only.mean, g.mean)
    assert none == {} and nothing is None
    assert flatten(only_grads).keys() == flat.keys()
    for k, value in flatten(grads).items():
        np.testing.assert_array_equal(flatten(only_grads)[k], value)


def test_nothing_below_the_first_parameters_is_computed_for_parameters_only() -> None:
    below, above = Spy([]), Spy([])
    net = Sequential((("below", below), ("fc", Linear(2)), ("above", above)))
    params, _ = net.init(np.random.default_rng(0), (3,))
    m, back = net.forward(params, Moments(np.ones((3, 1))), EXPECTATION)
    back(m, Want.PARAMS)
    assert below.seen == [] and len(above.seen) == 1 and Want.INPUT in above.seen[0]
    back(m, Want.INPUT)
    assert below.seen == [Want.INPUT]


@each_rule
@pytest.mark.parametrize("sigma", [0.0, None], ids=["sigma 0", "var 0"])
def test_zero_variance_equals_the_deterministic_network(rule: Rule, sigma: float | None) -> None:
    flat, x, rng = values(3)
    flat = flat | {"noise.sigma": np.array(0.0), "noise2.sigma": np.array(0.0)}
    plain_m, plain_back = NET.forward(unflatten(flat), Moments(x), EXPECTATION)
    var = np.zeros_like(x) if sigma is None else None
    m, back = NET.forward(unflatten(flat), Moments(x, var), Propagated(rule))
    np.testing.assert_array_equal(m.mean, plain_m.mean)
    assert m.var is None if var is None else (m.var == 0).all()
    gm = rng.normal(size=m.mean.shape)
    gv = None if var is None else rng.normal(size=m.var.shape)
    (want, want_grads), (g, grads) = plain_back(Moments(gm), Want.BOTH), back(Moments(gm, gv), Want.BOTH)
    np.testing.assert_allclose(g.mean, want.mean, rtol=1e-13, atol=1e-15)
    for k, value in flatten(want_grads).items():
        np.testing.assert_allclose(flatten(grads)[k], value, rtol=1e-13, atol=1e-15)


@each_noise
def test_two_forwards_may_precede_one_backward(noise: Noise) -> None:
    flat, x, _ = values()
    params = unflatten(flat)
    m, back = NET.forward(params, Moments(x), noise)
    want, want_grads = back(m, Want.BOTH)
    _, first = NET.forward(params, Moments(x), noise)
    _, second = NET.forward(params, Moments(1 - x), noise)
    second(m, Want.BOTH)
    got, grads = first(m, Want.BOTH)
    np.testing.assert_array_equal(got.mean, want.mean)
    for k, value in flatten(want_grads).items():
        np.testing.assert_array_equal(flatten(grads)[k], value)


def test_values_by_hand() -> None:
    flat, x, _ = values()
    m, _ = NET.forward(unflatten(flat), Moments(x), Propagated(RULES["laplace"]))
    images = (x.transpose(3, 1, 0, 2) - np.array([0.4, 0.6])[:, None, None]) / np.array([0.3, 0.5])[:, None, None]
    y = plain.cross_correlation(images, flat["conv.w"], flat["conv.b"], 1, 1)
    v = np.full_like(y, flat["noise.sigma"] ** 2)
    y, v = plain.rectify(*plain.max_pool_moments(y, v, 2, "laplace"), "laplace")
    y, v = (a.reshape(2, -1) for a in (plain.mean_pool(y, 2), plain.mean_pool_variance(v, 2)))
    y, v = plain.linear(y, flat["fc1.w"], flat["fc1.b"]), plain.linear_variance(v, flat["fc1.w"])
    y, v = plain.rectify(y, v + flat["noise2.sigma"] ** 2, "laplace")
    np.testing.assert_allclose(m.mean.T, plain.linear(y, flat["fc2.w"], flat["fc2.b"]), rtol=1e-10)
    np.testing.assert_allclose(m.var.transpose(2, 0, 1), plain.linear_covariance(v, flat["fc2.w"]), rtol=1e-10)


def test_every_noise_layer_draws_its_own_numbers() -> None:
    net = Sequential((("a", PreactivationNoise(1.0)), ("b", PreactivationNoise(1.0))))
    params = {"a": {"sigma": np.array(1.0)}, "b": {"sigma": np.array(0.0)}}
    x = np.zeros((4, 1000))
    first, _ = net.forward(params, Moments(x), Sampled(Stream(0)))
    second, _ = net.forward({"a": params["b"], "b": params["a"]}, Moments(x), Sampled(Stream(0)))
    assert (first.mean != second.mean).all()
    assert abs(np.corrcoef(first.mean.ravel(), second.mean.ravel())[0, 1]) < 5 / np.sqrt(x.size)


def test_init_names_only_layers_with_parameters_and_gives_the_output_shape() -> None:
    params, shape = NET.init(np.random.default_rng(0), SHAPE)
    assert set(params) == {"conv", "noise", "fc1", "noise2", "fc2"} and shape == (4,)
    with pytest.raises(ValueError, match=r"MaxPool\(size=2\).*got 1 x 8"):
        NET.init(np.random.default_rng(0), (2, 1, 8))


def test_flat_parameters_round_trip() -> None:
    params, _ = NET.init(np.random.default_rng(0), SHAPE)
    flat = flatten(params)
    assert "conv.w" in flat and "noise.sigma" in flat and len(flat) == 8
    again = flatten(unflatten(flat))
    assert again.keys() == flat.keys() and all(again[k] is flat[k] for k in flat)
    assert unflatten({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    assert unflatten([("a.b", 1)]) == {"a": {"b": 1}}
