"""Noise with a standard deviation for each channel or unit, noise that a batch shares, and the scale of a draw."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cupy_double import Module, synchronisations
from on_device import on_both
from small_networks import SHAPE, images

from npsnn.classifier import Classifier
from npsnn.layers import Conv2d, FeatureNoise, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.layers.base import LAYERS, Want, shares_draw
from npsnn.layers.moments import EXPECTATION, WHOLE, Moments, Noise, Propagated, Sampled
from npsnn.models import Model
from npsnn.streams import Stream

X = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
SIGMA = {
    "scalar": np.array(0.7),
    "channel": np.array([0.3, 0.9]),
    "unit": np.random.default_rng(1).uniform(0.1, 1.0, (2, 3, 4)),
}
each_scope = pytest.mark.parametrize("scope", SIGMA)


def of_units(scope: str) -> np.ndarray:
    """The standard deviation of each unit in the engine's order (H, C, W), by a loop."""
    sigma, found = SIGMA[scope], np.zeros((3, 2, 4))
    for c, h, w in np.ndindex(2, 3, 4):
        found[h, c, w] = sigma if scope == "scalar" else sigma[c] if scope == "channel" else sigma[c, h, w]
    return found


@each_scope
def test_each_unit_has_the_noise_of_its_own_entry(scope: str) -> None:
    layer, params, s = PreactivationNoise(0.7, scope), {"sigma": SIGMA[scope]}, of_units(scope)[..., None]
    drawn, _ = layer.forward(params, Moments(X), Sampled(Stream(3)))
    np.testing.assert_allclose(drawn.mean, X + s * Stream(3).normal(X), rtol=1e-14)
    for before in (None, X * X):
        carried, _ = layer.forward(params, Moments(X, before), Propagated())
        np.testing.assert_allclose(carried.var, (0 if before is None else before) + s * s + 0 * X, rtol=1e-14)
    assert layer.forward(params, Moments(X), EXPECTATION)[0].var is None


@each_scope
def test_a_shared_draw_is_one_for_the_batch_and_has_the_same_law(scope: str) -> None:
    layer, params, s = PreactivationNoise(0.7, scope, shared=True), {"sigma": SIGMA[scope]}, of_units(scope)
    (drawn, _), (later, _) = (layer.forward(params, Moments(X), Sampled(Stream(3, first=n))) for n in (0, 5))
    noise = drawn.mean - X
    np.testing.assert_allclose(noise, np.broadcast_to(noise[..., :1], X.shape), atol=1e-14)
    assert np.abs(later.mean - drawn.mean).min() > 0
    many = np.stack(
        [layer.forward(params, Moments(0 * X), Sampled(Stream(3, first=n)))[0].mean[..., 0] for n in range(4000)]
    )
    assert np.abs((many**2).mean(axis=0) / s**2 - 1).max() < 5 * np.sqrt(2 / 4000)
    kept = PreactivationNoise(0.7, scope).forward(params, Moments(X), Propagated())[0]
    assert (layer.forward(params, Moments(X), Propagated())[0].var == kept.var).all()


@each_scope
@pytest.mark.parametrize("shared", [False, True])
def test_on_a_gpu_it_is_the_same_and_nothing_is_asked(
    cupy: ModuleType, same_draws: None, scope: str, shared: bool
) -> None:
    layer = PreactivationNoise(0.7, scope, shared)

    def passed(sigma: Any, x: Any, g: Any, noise: Noise) -> Any:
        out, back = layer.forward({"sigma": sigma}, Moments(x), noise)
        var = None if out.var is None else out.var * 2
        return out.mean, var, back(Moments(g, None if var is None else g * g), Want.BOTH)

    for noise in (Sampled(Stream(2), WHOLE, 0.3), Propagated(on=True), EXPECTATION):
        on_both(cupy, passed, SIGMA[scope], X, X[::-1].copy(), noise)
        with synchronisations() as waits:
            passed(*map(cupy.asarray, (SIGMA[scope], X, X)), noise)
        assert not waits


def test_the_level_of_several_is_their_root_mean_square() -> None:
    layer, params = PreactivationNoise(0.4, "channel"), {"sigma": np.array([0.0, 2.0])}
    assert float(layer.level(params)) == pytest.approx(np.sqrt(2))
    np.testing.assert_allclose(layer.at_level(params, 1.0)["sigma"], [0, np.sqrt(2)])
    np.testing.assert_allclose(layer.capped(params, 1.0)["sigma"], [0, np.sqrt(2)])
    assert (layer.capped(params, 1.5)["sigma"] == params["sigma"]).all()
    off = layer.at_level(params, 0.0)
    assert not layer.draws(off) and float(layer.slope(off, {"sigma": np.ones(2)})) == 0
    np.testing.assert_allclose(layer.at_level(off, 0.3)["sigma"], [0.3, 0.3])
    assert layer.forward(off, Moments(X), Propagated())[0].var is None


@pytest.mark.parametrize(
    ("layer", "name"),
    [(PreactivationNoise(0.7), "sigma"), (PreactivationNoise(0.7, "unit", True), "sigma"), (FeatureNoise(0.7), "L")],
)
def test_the_scale_is_a_factor_of_the_noise_and_of_its_slope(layer: Any, name: str) -> None:
    x = X.reshape(-1, 5)[:6]
    params = {k: p.astype(np.float64) for k, p in layer.init(np.random.default_rng(0), (6,))[0].items()}
    g = np.random.default_rng(2).standard_normal(x.shape)
    passes = [layer.forward(params, Moments(x), Sampled(Stream(1), None, scale)) for scale in (1.0, 0.25, 0.0)]
    (one, quarter, none), slopes = [m.mean for m, _ in passes], [back(Moments(g), Want.BOTH)[1] for _, back in passes]
    np.testing.assert_allclose(quarter - x, (one - x) / 4, rtol=1e-12)
    np.testing.assert_allclose(slopes[1][name], slopes[0][name] / 4, rtol=1e-12)
    assert (none == x).all()
    assert (layer.forward(params, Moments(x), Sampled(Stream(1), None, 1))[0].mean == one).all()


def network(*noises: PreactivationNoise, average: int = 1) -> Classifier:
    layers: Any = [("conv", Conv2d(4, 3, padding=1))]
    layers += [(f"noise{i}", noise) for i, noise in enumerate(noises)]
    layers += [("relu", ReLU()), ("flatten", Flatten()), ("fc", Linear(3, joint=True))]
    model = Model("scopes", Sequential(tuple(layers)), SHAPE, 3)
    return Classifier(model, model.init(np.random.default_rng(1)), threads=1, average=average).astype(np.float64)


@pytest.mark.parametrize("average", [1, 3])
def test_the_scale_reaches_every_layer_and_every_draw_of_an_average(average: int) -> None:
    quiet = network(PreactivationNoise(0.5), PreactivationNoise(0.5, "channel"), average=average)
    x, stream = images(2), Stream(4)
    none = quiet.scores(x, Sampled(stream, None, 0.0)).mean
    np.testing.assert_allclose(none, quiet.scores(x, EXPECTATION).mean, rtol=1e-12)
    half = quiet.with_sigma({"noise0": 0.25, "noise1": 0.25})
    found = quiet.scores(x, Sampled(stream, None, 0.5)).mean
    np.testing.assert_allclose(found, half.scores(x, Sampled(stream)).mean, rtol=1e-12)


def test_on_a_gpu_another_scale_is_another_graph(double: Module) -> None:
    there, x = network(PreactivationNoise(0.5)).to("cuda"), double.asarray(images(2))
    found = [there.scores(x, Sampled(Stream(4), None, scale)).mean for scale in (1.0, 0.0, 1.0)]
    assert bool((found[0] == found[2]).all()) and bool((found[0] != found[1]).all())


def test_a_model_says_whether_its_draws_are_shared() -> None:
    assert not network(PreactivationNoise(0.3), PreactivationNoise(0.3, "unit")).model.shares_draws
    assert network(PreactivationNoise(0.3), PreactivationNoise(0.3, shared=True)).model.shares_draws
    assert not shares_draw(ReLU())


def test_an_older_file_has_neither_scope_nor_share() -> None:
    entry = {"name": "noise", "type": "PreactivationNoise", "sigma": 0.3}
    spec = network().spec | {"layers": [*network().spec["layers"][:1], entry, *network().spec["layers"][1:]]}
    assert dict(Model.from_spec(spec).network.layers)["noise"] == PreactivationNoise(0.3, "scalar", False)


def test_several_sizes_are_checked_saved_and_set() -> None:
    noisy = network(PreactivationNoise(0.3, "channel"), PreactivationNoise(0.2, "unit", shared=True))
    assert Model.from_spec(noisy.spec) == noisy.model
    assert noisy.params["noise0"]["sigma"].shape == (4,) and noisy.params["noise1"]["sigma"].shape == (4, 3, 4)
    assert noisy.sigmas == pytest.approx({"noise0": 0.3, "noise1": 0.2}, rel=1e-6)
    assert noisy.with_sigma({"noise1": 0.7}).sigmas["noise1"] == pytest.approx(0.7)
    flat = {f"{k}.{n}": p for k, own in noisy.params.items() for n, p in own.items()}
    noisy.model.check(flat)
    flat["noise0.sigma"] = np.array([0.1, -0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"sigma must be >= 0 and finite, got -0\.1"):
        noisy.model.check(flat)


@pytest.mark.parametrize(
    ("given", "said"), [({"scope": "pixel"}, "scope must be one of scalar"), ({"shared": 1}, "shared")]
)
def test_what_is_no_scope_and_no_share_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(PreactivationNoise(0.3), **given)
    assert LAYERS.decode(LAYERS.encode(PreactivationNoise(0.3, "unit", True))) == PreactivationNoise(0.3, "unit", True)
