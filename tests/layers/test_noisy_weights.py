"""Noisy weights: against the plain formulas, draws by hand, the plain layers, and a GPU's double."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cupy_double import synchronisations
from on_device import on_both

from npsnn.layers import Conv2d, FeatureNoise, Linear, NoisyConv2d, NoisyLinear, Sequential
from npsnn.layers.base import Params, Want, shares_draw
from npsnn.layers.moments import EXPECTATION, WHOLE, Moments, Noise, Propagated, Sampled
from npsnn.layers.noisy_weights import OFF
from npsnn.reference import montecarlo, noisy_weights, plain
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

RNG = np.random.default_rng(0)
IMAGES, VECTORS = RNG.standard_normal((5, 2, 4, 3)), RNG.standard_normal((6, 3))
NOISES: dict[str, dict[str, Any]] = {
    "layer": {"scope": "layer"},
    "channel": {"scope": "channel"},
    "element": {"scope": "element"},
    "paper": {"scope": "layer", "through_std": True},
    "free": {"spread": "free"},
}
each_noise = pytest.mark.parametrize("name", NOISES)
CASES = [(kind, name) for kind in ("conv", "linear", "joint") for name in NOISES]
each_case = pytest.mark.parametrize(("kind", "name"), CASES)
LEFT = {Sampled(Stream(1)): "a draw", Propagated(on=True): "the closed form", EXPECTATION: "no noise"}


def made(kind: str, name: str) -> tuple[Any, Params, np.ndarray]:
    """A layer, parameters away from their start in float64, and an input."""
    noise, x = NOISES[name], IMAGES if kind == "conv" else VECTORS
    layer = NoisyConv2d(3, 3, 2, 1, **noise) if kind == "conv" else NoisyLinear(4, kind == "joint", **noise)
    rng = np.random.default_rng(3)
    params, _ = layer.init(rng, (2, 5, 4) if kind == "conv" else (6,))
    params = {k: p * rng.uniform(0.5, 1.5, p.shape) for k, p in params.items()}
    return layer, params | {"b": rng.standard_normal(params["b"].shape)}, x


def variances(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(5).uniform(0.2, 1.0, x.shape)


def sizes_by_hand(name: str, params: Params) -> tuple[np.ndarray, np.ndarray]:
    if name == "free":
        return np.exp(params["rho"]), np.exp(params["rho_b"])
    return noisy_weights.relative(params["w"], params["alpha"]), np.zeros(len(params["w"]))


@each_case
@pytest.mark.parametrize("incoming", [False, True], ids=["of an image", "of a variance"])
def test_the_moments_are_the_plain_ones(kind: str, name: str, incoming: bool) -> None:
    layer, params, x = made(kind, name)
    v = variances(x) if incoming else np.zeros_like(x)
    out, _ = layer.forward(params, Moments(x, v if incoming else None), Propagated())
    s, s_b = sizes_by_hand(name, params)
    if kind == "conv":
        given = [z.transpose(3, 1, 0, 2) for z in (x, v)]
        wanted = noisy_weights.convolution_variance(*given, params["w"], s, s_b, 2, 1).transpose(2, 1, 3, 0)
        mean = plain.cross_correlation(given[0], params["w"], params["b"], 2, 1).transpose(2, 1, 3, 0)
    else:
        found = noisy_weights.linear_covariance(x.T, v.T, params["w"], s, s_b)
        wanted = found.transpose(1, 2, 0) if kind == "joint" else np.diagonal(found, axis1=1, axis2=2).T
        mean = plain.linear(x.T, params["w"], params["b"]).T
    np.testing.assert_allclose(out.mean, mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(out.var, wanted, rtol=1e-12, atol=1e-13)


@each_case
def test_a_draw_is_the_plain_layer_with_the_weights_of_the_draw(kind: str, name: str) -> None:
    layer, params, x = made(kind, name)
    s, s_b = sizes_by_hand(name, params)
    stream = Stream(8, first=5)
    eps, eps_b = (
        z.one_draw().normal(np.empty((*p.shape, 1)))[..., 0] for z, p in ((stream, s), (stream.at("bias"), s_b))
    )
    drawn = {"w": params["w"] + 0.5 * s * eps, "b": params["b"] + 0.5 * s_b * eps_b}
    wanted, back = layer.quiet().forward(drawn, Moments(x), EXPECTATION)
    found, own = layer.forward(params, Moments(x), Sampled(stream, None, 0.5))
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12)
    g = Moments(np.random.default_rng(1).standard_normal(found.mean.shape))
    (below, grads), (dx, plain_grads) = own(g, Want.BOTH), back(g, Want.BOTH)
    np.testing.assert_allclose(below.mean, dx.mean, rtol=1e-12, atol=1e-13)
    by_eps = 0.5 * plain_grads["w"] * eps  # PNI: dalpha = Σ g∘ε std(w); Adv-BNN: drho = g∘ε∘exp(rho)
    if name == "free":
        np.testing.assert_allclose(grads["rho"], by_eps * s, rtol=1e-12)
        np.testing.assert_allclose(grads["rho_b"], 0.5 * plain_grads["b"] * eps_b * s_b, rtol=1e-12)
    else:
        over = {0: None, 1: tuple(range(1, eps.ndim))}.get(params["alpha"].ndim, ())
        by_size = by_eps.sum(axis=over) if over != () else by_eps
        np.testing.assert_allclose(grads["alpha"], by_size * noisy_weights.spread(params["w"]), rtol=1e-12)
    same = np.allclose(grads["w"], plain_grads["w"], rtol=1e-12, atol=1e-13)
    assert same == (name != "paper"), "the code's std(w) has no gradient, the paper's has"


@pytest.mark.parametrize("kind", ["conv", "linear", "joint"])
@each_noise
def test_without_noise_it_is_the_plain_layer_bit_for_bit(kind: str, name: str) -> None:
    layer, params, x = made(kind, name)
    own = {"w": params["w"], "b": params["b"]}
    for off in (params, layer.at_level(params, 0.0)):
        for noise in LEFT:
            if off is params and noise != EXPECTATION:
                continue
            for m in (Moments(x), Moments(x, variances(x))):
                found, back = layer.forward(off, m, noise)
                wanted, plain_back = layer.quiet().forward(own, m, noise)
                assert found.mean.tobytes() == wanted.mean.tobytes(), LEFT[noise]
                if wanted.var is not None:
                    np.testing.assert_array_equal(found.var, wanted.var)
                g = Moments(np.cos(found.mean))
                (dx, grads), (plain_dx, plain_grads) = back(g, Want.BOTH), plain_back(g, Want.BOTH)
                np.testing.assert_array_equal(dx.mean, plain_dx.mean)
                for key, value in plain_grads.items():
                    np.testing.assert_array_equal(grads[key], value)
    assert not layer.draws(layer.at_level(params, 0.0))
    assert layer.forward(layer.at_level(params, 0.0), Moments(x), Propagated())[0].var is None


def test_with_rho_far_below_everything_the_gradients_are_finite_and_the_noise_comes_back() -> None:
    layer = NoisyLinear(4, spread="free", start=0.0)
    params, _ = layer.init(np.random.default_rng(0), (6,))
    assert params["rho"].dtype == np.float32 and (params["rho"] == OFF).all() and float(layer.level(params)) == 0
    x = VECTORS.astype(np.float32)
    for noise in (Sampled(Stream(1)), Propagated(on=True)):
        out, back = layer.forward(params, Moments(x), noise)
        _, grads = back(Moments(out.mean, out.var), Want.BOTH)
        assert not grads["rho"].any() and not grads["rho_b"].any()
    louder = layer.at_level(params, 0.3)
    np.testing.assert_allclose(np.exp(louder["rho"]), 0.3, rtol=1e-6)
    assert float(layer.level(louder)) == pytest.approx(0.3) and louder.keys() == params.keys()


def test_the_sign_of_alpha_is_free() -> None:
    layer, params, x = made("linear", "channel")
    params["alpha"] = params["alpha"] * [1, -1, 1, -1]
    assert float(layer.level(params)) == pytest.approx(np.sqrt((params["alpha"] ** 2).mean()))
    same = layer.forward(params | {"alpha": abs(params["alpha"])}, Moments(x), Propagated())[0]
    np.testing.assert_array_equal(layer.forward(params, Moments(x), Propagated())[0].var, same.var)
    for moved in (layer.at_level(params, 3.0), layer.capped(params, 0.1)):
        assert (np.sign(moved["alpha"]) == [1, -1, 1, -1]).all()
    one = NoisyLinear(4)
    assert float(one.level({"alpha": np.array(-0.2)})) == 0.2
    assert float(one.capped({"alpha": np.array(-0.2)}, 0.1)["alpha"]) == pytest.approx(-0.1)
    assert float(one.slope({"alpha": np.array(-0.2)}, {"alpha": np.array(3.0)})) == pytest.approx(-3)


@pytest.mark.parametrize("name", ["channel", "free"])
def test_a_joint_last_layer_has_the_covariance_of_draws(name: str) -> None:
    """The logits of fixed features are Gaussian besides; behind noise on the features they are not."""
    layer, params, x = made("joint", name)
    L, count = np.tril(np.random.default_rng(2).standard_normal((6, 6))) / 2, 2000
    alone, noisy = Sequential((("last", layer),)), Sequential((("noise", FeatureNoise(0.5)), ("last", layer)))
    network, own = (noisy, {"noise": {"L": L}, "last": params}) if name == "free" else (alone, {"last": params})
    out, _ = network.forward(own, Moments(x[:, :1]), Propagated())
    assert out.var is not None
    draws = [network.forward(own, Moments(x[:, :1]), Sampled(Stream(2, first=n)))[0].mean[:, 0] for n in range(count)]
    apart = np.stack(draws) - out.mean[:, 0]
    found = montecarlo.estimate(apart[:, :, None] * apart[:, None])
    assert np.abs((found.mean - out.var[..., 0]) / found.mean_error).max() < 5
    assert np.abs(apart.mean(axis=0) / np.sqrt(np.diagonal(out.var[..., 0]) / count)).max() < 5
    kurtosis = (apart**4).mean(axis=0) / (apart**2).mean(axis=0) ** 2 - 3
    assert (np.abs(kurtosis).max() < 5 * np.sqrt(24 / count)) == (network is alone)


@pytest.mark.parametrize("common", [False, True])
def test_the_gradients_behind_a_covariance(common: bool) -> None:
    layer, params, x = made("joint", "free")
    layers = Sequential((("noise", FeatureNoise(0.5)), ("last", layer)))
    flat = {f"last.{k}": p for k, p in params.items()} | {"noise.L": np.eye(6) * 0.7}
    v = variances(x)
    rng = np.random.default_rng(4)
    gm, gv = rng.standard_normal((4, 3)), rng.standard_normal((4, 4, 3))

    def passed(a: Arrays) -> Any:
        own = {"noise": {"L": np.tril(a["noise.L"])}, "last": {k[5:]: p for k, p in a.items() if k[:5] == "last."}}
        return layers.forward(own, Moments(a["x"], None if common else a["v"]), Propagated())

    arrays = flat | {"x": x} | ({} if common else {"v": v})
    below, grads = passed(arrays)[1](Moments(gm, gv), Want.BOTH)
    found = {f"{k}.{n}": g for k, own in grads.items() for n, g in own.items()} | {"x": below.mean, "v": below.var}

    def f(a: Arrays) -> float:
        out, _ = passed(a)
        return float((out.mean * gm).sum() + (out.var * gv).sum())

    check_gradient(f, arrays, {k: found[k] for k in arrays})


@pytest.mark.parametrize(("kind", "name"), [*CASES[:5], ("linear", "free"), ("joint", "channel"), ("joint", "free")])
def test_on_a_gpu_it_is_the_same_and_nothing_is_asked(cupy: ModuleType, same_draws: None, kind: str, name: str) -> None:
    layer, params, x = made(kind, name)

    def passed(params: Any, x: Any, v: Any, noise: Noise) -> Any:
        out, back = layer.forward(params, Moments(x, v), noise)
        g = Moments(out.mean * 2, None if out.var is None else out.var * out.var)
        return out, back(g, Want.BOTH), layer.level(params), layer.ratio(params), layer.capped(params, 0.1)

    for noise in (Sampled(Stream(2, first=3), WHOLE, 0.3), Propagated(on=True), EXPECTATION):
        for v in (None, variances(x)):
            on_both(cupy, passed, params, x, v, noise)
            there = (
                {k: cupy.asarray(p) for k, p in params.items()},
                cupy.asarray(x),
                v if v is None else cupy.asarray(v),
            )
            with synchronisations() as waits:
                passed(*there, noise)
            assert not waits


def test_winograds_method_takes_noisy_weights_too() -> None:
    layer = NoisyConv2d(4, 3, padding=1, method="winograd", spread="free", start=0.2)
    rng = np.random.default_rng(0)
    params, _ = layer.init(rng, (3, 8, 8))
    x = rng.standard_normal((8, 3, 8, 5)).astype(np.float32)
    direct = replace(layer, method="direct")
    for noise in (Sampled(Stream(2)), Propagated()):
        (a, back), (b, direct_back) = (one.forward(params, Moments(x), noise) for one in (layer, direct))
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-4, atol=1e-5)
        g = Moments(np.cos(a.mean), None if a.var is None else np.sin(a.var))
        for key, value in direct_back(g, Want.BOTH)[1].items():
            np.testing.assert_allclose(back(g, Want.BOTH)[1][key], value, rtol=1e-3, atol=1e-4, err_msg=key)


def test_what_it_is_without_noise() -> None:
    assert NoisyConv2d(3, 5, 2, 1, False, "direct").quiet() == Conv2d(3, 5, 2, 1, False, "direct")
    assert NoisyLinear(3, True, "free").quiet() == Linear(3, True)
    assert shares_draw(NoisyLinear(3)) and shares_draw(NoisyConv2d(3, 3))
    assert isinstance(NoisyConv2d(3, 3), Conv2d) and isinstance(NoisyLinear(3), Linear)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"spread": "wide"}, "spread must be one of relative, free"),
        ({"scope": "unit"}, "scope must be one of layer, channel, element"),
        ({"start": -0.1}, "sigma must be >= 0"),
        ({"spread": "free", "scope": "element"}, "scope and through_std are for relative spread"),
        ({"spread": "free", "through_std": True}, "scope and through_std are for relative spread"),
        ({"features": 0}, "features must be >= 1"),
    ],
)
def test_what_is_no_noise_of_weights_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NoisyLinear(**{"features": 3} | given)
    if "features" not in given:
        with pytest.raises(ValueError, match=said):
            NoisyConv2d(3, 3, **given)
    with pytest.raises(ValueError, match="needs two weights at least for their spread, got one"):
        NoisyLinear(1).init(np.random.default_rng(0), (1,))
