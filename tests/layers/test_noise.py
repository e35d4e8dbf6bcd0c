"""Noise layers: what they add, their gradients, and the closed form against draws."""

import numpy as np
import pytest
from hypothesis import given
from strategies import Pixels, frozen, images, signed, variances

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.pool import MaxPool
from npsnn.ops.gaussian import EXACT, RULES
from npsnn.ops.loss import win_probability
from npsnn.reference import montecarlo, plain
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

LAYER = PreactivationNoise(0.7)
DRAWS = 200_000


def params_of(sigma: float = 0.7) -> Params:
    return {"sigma": np.array(sigma)}


def check_noise(pixels: Pixels, var: np.ndarray | None, noise: Noise, dvar: bool = True) -> None:
    rng = pixels.rng
    mean = signed(rng, pixels.shape)
    m, back = LAYER.forward(params_of(), Moments(frozen(mean), None if var is None else frozen(var)), noise)
    gm = rng.normal(size=m.mean.shape)
    gv = rng.normal(size=m.mean.shape) if dvar and m.var is not None else None
    g, grads = back(Moments(gm, gv), Want.BOTH)
    arrays, gradients = {"mean": mean, "sigma": np.array(0.7)}, {"mean": g.mean, "sigma": grads["sigma"]}
    if var is not None:
        arrays, gradients = arrays | {"var": var}, gradients | {"var": g.var}
    assert var is not None or g.var is None

    def f(a: Arrays) -> float:
        out, _ = LAYER.forward({"sigma": a["sigma"]}, Moments(a["mean"], a.get("var")), noise)
        return (out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum())

    check_gradient(f, arrays, gradients)


@pytest.mark.parametrize("with_var", [True, False])
@pytest.mark.parametrize("dvar", [True, False], ids=["both cotangents", "mean only"])
@pytest.mark.parametrize("noise", [EXPECTATION, Sampled(Stream(3)), Propagated()], ids=["off", "sampled", "propagated"])
@given(images(largest=4))
def test_gradients(with_var: bool, dvar: bool, noise: Noise, pixels: Pixels) -> None:
    check_noise(pixels, variances(pixels.rng, pixels.shape) if with_var else None, noise, dvar)


@given(images(largest=4))
def test_propagated_variance_is_added(pixels: Pixels) -> None:
    mean, var = signed(pixels.rng, pixels.shape), variances(pixels.rng, pixels.shape)
    for before, want in ((None, np.full_like(mean, 0.49)), (var, var + 0.49)):
        m, _ = LAYER.forward(params_of(), Moments(mean, before), Propagated())
        np.testing.assert_array_equal(m.mean, mean)
        np.testing.assert_allclose(m.var, want, rtol=1e-14)


def test_expectation_leaves_the_mean_and_has_no_variance() -> None:
    x = np.random.default_rng(0).random((2, 1, 2, 3))
    m, back = LAYER.forward(params_of(), Moments(x), EXPECTATION)
    assert m.var is None and (m.mean == x).all()
    assert back(Moments(x), Want.BOTH)[1]["sigma"] == 0


@pytest.mark.parametrize("noise", [Sampled(Stream(3)), Propagated()], ids=["sampled", "propagated"])
def test_zero_sigma_is_the_deterministic_network(noise: Noise) -> None:
    x = np.random.default_rng(0).random((2, 1, 2, 3))
    m, back = LAYER.forward(params_of(0.0), Moments(x), noise)
    assert m.var is None and (m.mean == x).all()
    g, _ = back(Moments(x), Want.BOTH)
    assert g.var is None and (g.mean == x).all()


def test_one_stream_gives_the_same_numbers_and_another_does_not() -> None:
    x = np.zeros((3, 2, 3, 4))

    def drawn(stream: Stream) -> np.ndarray:
        return LAYER.forward(params_of(), Moments(x), Sampled(stream))[0].mean

    np.testing.assert_array_equal(drawn(Stream(1).at("a")), drawn(Stream(1).at("a")))
    for other in (Stream(2).at("a"), Stream(1).at("b"), Stream(1)):
        assert (drawn(Stream(1).at("a")) != drawn(other)).all()
    assert len(np.unique(drawn(Stream(1)))) == x.size


@pytest.mark.parametrize("sigma", [-0.1, float("inf"), float("nan")])
def test_sigma_must_be_a_standard_deviation(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be >= 0 and finite, got"):
        PreactivationNoise(sigma)


@pytest.mark.parametrize("mu", [-2.0, -0.3, 0.0, 0.8, 4.0])
def test_the_plain_formulas_are_the_integrals_of_their_laws(mu: float) -> None:
    want = plain.rectified_moments_by_integration(mu, 1.3)
    np.testing.assert_allclose(plain.rectified_moments(mu, 1.3), want, rtol=1e-10)
    want = plain.maximum_moments_by_integration([mu, 0.4], [1.3, 0.6])
    np.testing.assert_allclose(plain.maximum_clark(mu, 1.3, 0.4, 0.6), want, rtol=1e-10)


def test_the_maximum_of_a_correlated_pair_agrees_with_draws() -> None:
    rng = np.random.default_rng(3)
    shared, own = rng.standard_normal((2, DRAWS))
    pair = np.stack([0.2 + shared, -0.1 + 0.6 * shared + 0.5 * own])  # variances 1 and 0.61, covariance 0.6
    estimate = montecarlo.estimate(pair.max(axis=0)[:, None])
    m, v = plain.maximum_clark(0.2, 1, -0.1, 0.61, c=0.6)
    assert estimate.deviations(np.array([m]), np.array([v])) < 5


def first_layer(seed: int = 2, units: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequential, Params]:
    """x (3,), W (units, 3), b (units,) and the engine's layers and parameters for them."""
    rng = np.random.default_rng(seed)
    x, W, b = rng.random(3), rng.normal(size=(units, 3)), 0.3 * rng.normal(size=units)
    net = Sequential((("fc", Linear(units)), ("noise", LAYER), ("relu", ReLU())))
    return x, W, b, net, {"fc": {"w": W, "b": b}, "noise": params_of()}


def test_exact_moments_of_a_noisy_relu_layer_agree_with_draws() -> None:
    x, W, b, net, params = first_layer()
    m, _ = net.forward(params, Moments(x[:, None]), Propagated(EXACT))
    draws = montecarlo.relu(montecarlo.preactivation(x, W, b, 0.7, DRAWS, np.random.default_rng(0)))
    assert montecarlo.estimate(draws).deviations(m.mean[:, 0], m.var[:, 0]) < 5
    printed, _ = net.forward(params, Moments(x[:, None]), Propagated(RULES["laplace"]))
    assert montecarlo.estimate(draws).deviations(printed.mean[:, 0], printed.var[:, 0]) > 50


def test_the_engines_own_draws_have_the_exact_moments() -> None:
    x, _, _, net, params = first_layer()
    m, _ = net.forward(params, Moments(x[:, None]), Propagated(EXACT))
    drawn, _ = net.forward(params, Moments(np.repeat(x[:, None], 20_000, axis=1)), Sampled(Stream(0)))
    assert montecarlo.estimate(drawn.mean.T).deviations(m.mean[:, 0], m.var[:, 0]) < 5


def test_exact_pooling_of_a_pair_of_noisy_units_agrees_with_draws() -> None:
    rng = np.random.default_rng(5)
    mean = rng.normal(size=(2, 1, 8, 1)) * 0.5
    net = Sequential((("noise", LAYER), ("pool", MaxPool(2))))
    wide = np.concatenate([mean, np.full_like(mean, -1e6)], axis=2)[:, :, [0, 8, 1, 9, 2, 10, 3, 11]]  # 2 by 1 windows
    m, _ = net.forward({"noise": params_of()}, Moments(wide), Propagated(EXACT))
    z = montecarlo.gaussian(mean[:, 0, :4, 0], np.full((2, 4), 0.49), DRAWS, rng)
    assert montecarlo.estimate(z.max(axis=1)).deviations(m.mean[0, 0, :, 0], m.var[0, 0, :, 0]) < 5


def test_joint_covariance_and_win_probabilities_agree_with_draws() -> None:
    rng = np.random.default_rng(6)
    W, b, mean, var = rng.normal(size=(4, 5)), rng.normal(size=4), rng.normal(size=5), rng.uniform(0.1, 1, 5)
    head = Linear(4, joint=True)
    m, _ = head.forward({"w": W, "b": b}, Moments(mean[:, None], var[:, None]), Propagated(EXACT))
    logits = montecarlo.affine(montecarlo.gaussian(mean, var, DRAWS, rng), W, b)
    centred = logits - logits.mean(axis=0)
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(axis=0) / np.sqrt(DRAWS)
    assert (np.abs(products.mean(axis=0) - m.var[..., 0]) < 5 * error).all()
    for k in range(4):
        won = montecarlo.wins(logits, k).mean(axis=1)
        value, _, _ = win_probability(m.mean, m.var, np.array([k]))
        assert abs(value.item() - won.mean()) < 5 * won.std() / np.sqrt(DRAWS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cap_is_exact(dtype: type) -> None:
    layer = PreactivationNoise(0.5)
    for sigma in (0.3, 0.7, 5.0):
        capped = layer.capped({"sigma": np.array(sigma, dtype)}, 0.7)["sigma"]
        assert capped == dtype(min(sigma, 0.7)) and capped.dtype == dtype
