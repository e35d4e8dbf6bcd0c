"""The layer of A2SNN's noise: what it adds, its gradients, its closed form against draws, and how it is scaled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen

from npsnn import models
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import COVARIANCES, FeatureNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, with_feature_noise
from npsnn.ops.gaussian import EXACT, LAPLACE
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

D = 4
HEAD = Sequential((("noise", FeatureNoise(0.5)), ("last", Linear(3, joint=True))))
each_kind = pytest.mark.parametrize("covariance", COVARIANCES)


def drawn(covariance: str, rng: np.random.Generator) -> Params:
    """Parameters away from where they start."""
    params, _ = FeatureNoise(0.7, covariance).init(rng, (D,))
    L = params["L"].astype(np.float64)
    return {"L": L * rng.uniform(0.5, 1.5, L.shape) + (np.tril(rng.normal(size=(D, D)), -1) if L.ndim == 2 else 0)}


def head(covariance: str, rng: np.random.Generator) -> tuple[Sequential, Params]:
    network = Sequential((("noise", FeatureNoise(0.5, covariance)), ("last", Linear(3, joint=True))))
    return network, {"noise": drawn(covariance, rng), "last": {"w": rng.normal(size=(3, D)), "b": rng.normal(size=3)}}


@each_kind
@pytest.mark.parametrize("noise", [EXPECTATION, Sampled(Stream(3)), Propagated()], ids=["off", "sampled", "propagated"])
@given(SEEDS, st.integers(1, 3))
def test_gradients(covariance: str, noise: Noise, seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    network, params = head(covariance, rng)
    x = rng.normal(size=(D, batch))
    m, back = network.forward(params, Moments(frozen(x)), noise)
    gm, gv = rng.normal(size=m.mean.shape), None if m.var is None else rng.normal(size=m.var.shape)
    g, grads = back(Moments(gm, gv), Want.BOTH)
    assert g is not None and (m.var is None) == (not isinstance(noise, Propagated))
    assert m.var is None or m.var.shape == (3, 3, batch)

    def f(a: Arrays) -> float:
        flat = {k: np.tril(p) if p.ndim == 2 and k == "noise.L" else p for k, p in a.items() if k != "x"}
        out, _ = network.forward(unflatten(flat), Moments(a["x"]), noise)
        return float((out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum()))

    check_gradient(f, flatten(params) | {"x": x}, flatten(grads) | {"x": g.mean})


@pytest.mark.slow
@each_kind
def test_the_closed_form_is_the_law_of_the_draws(covariance: str) -> None:
    rng = np.random.default_rng(1)
    network, params = head(covariance, rng)
    x, draws = rng.normal(size=(D, 1)), 200_000
    m, _ = network.forward(params, Moments(x), Propagated())
    many, _ = network.forward(params, Moments(np.broadcast_to(x, (D, draws))), Sampled(Stream(2)))
    deviation = many.mean - m.mean
    covariance_drawn = deviation @ deviation.T / draws
    assert m.var is not None
    S = m.var[..., 0]
    error = np.sqrt((S**2 + np.outer(np.diag(S), np.diag(S))) / draws)
    assert (np.abs(deviation.mean(axis=1)) < 5 * np.sqrt(np.diag(S) / draws)).all()
    assert (np.abs(covariance_drawn - S) < 5 * error).all()


@each_kind
def test_the_covariance_is_of_its_kind(covariance: str) -> None:
    layer = FeatureNoise(0.5, covariance)
    L = layer.factor(drawn(covariance, np.random.default_rng(0)), D)
    sigma = L @ L.T
    off = np.abs(sigma - np.diag(np.diag(sigma))).max()
    assert L.shape == (D, D) and (np.triu(L, 1) == 0).all()
    assert (off > 0) == (covariance == "full")
    assert (np.ptp(np.diag(sigma)) == 0) == (covariance == "scalar")


@each_kind
def test_the_level_is_read_and_set(covariance: str) -> None:
    layer, rng = FeatureNoise(0.5, covariance), np.random.default_rng(0)
    start, _ = layer.init(rng, (D,))
    assert float(layer.level(start)) == pytest.approx(0.5)
    params = drawn(covariance, rng)
    L = layer.factor(params, D)
    assert float(layer.level(params)) == pytest.approx(np.sqrt(np.trace(L @ L.T) / D))
    louder = layer.at_level(params, 3.0)
    assert float(layer.level(louder)) == pytest.approx(3.0)
    np.testing.assert_allclose(louder["L"], params["L"] * 3 / layer.level(params), rtol=1e-12)
    off = layer.at_level(params, 0.0)
    assert float(layer.level(off)) == 0 and off["L"].shape == params["L"].shape
    assert float(layer.level(layer.at_level(off, 0.25))) == pytest.approx(0.25)


@each_kind
def test_the_slope_is_the_derivative_by_the_level(covariance: str) -> None:
    layer, rng = FeatureNoise(0.5, covariance), np.random.default_rng(0)
    params, weight = drawn(covariance, rng), rng.normal(size=(D, D))

    def f(level: float) -> float:
        return float((layer.factor(layer.at_level(params, level), D) * weight).sum())

    level, h = float(layer.level(params)), 1e-5
    slope = layer.slope(params, layer.gradient(np.tril(weight)))
    assert float(slope) == pytest.approx((f(level + h) - f(level - h)) / (2 * h), rel=1e-8)
    assert float(layer.slope(layer.at_level(params, 0.0), layer.gradient(weight))) == 0


@pytest.mark.parametrize("noise", [Sampled(Stream(3)), Propagated()], ids=["sampled", "propagated"])
def test_without_noise_the_head_is_deterministic(noise: Noise) -> None:
    network, params = head("full", np.random.default_rng(0))
    params["noise"] = {"L": np.zeros((D, D))}
    x = Moments(np.ones((D, 2)))
    m, _ = network.forward(params, x, noise)
    plain, _ = network.forward(params, x, EXPECTATION)
    assert m.var is None and (m.mean == plain.mean).all()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="covariance must be one of full, diagonal, scalar, got 'isotropic'"):
        FeatureNoise(0.5, "isotropic")
    with pytest.raises(ValueError, match="sigma must be >= 0"):
        FeatureNoise(-1.0)
    with pytest.raises(ValueError, match="needs a vector"):
        FeatureNoise(0.5).init(np.random.default_rng(0), (1, 2, 2))
    with pytest.raises(ValueError, match="after feature noise comes the last layer"):
        Model("m", Sequential((("flatten", Flatten()), ("noise", FeatureNoise(1.0)), ("fc", Linear(2)))), (1, 2, 2), 2)
    with pytest.raises(ValueError, match="must end in a linear layer"):
        with_feature_noise(Model("m", Sequential((("flatten", Flatten()), ("relu", ReLU()))), (1, 1, 2), 2), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(models.MODELS))
def test_every_model_takes_noise_on_its_features(name: str) -> None:
    model = models.build(name, (1, 28, 28), 7, 0.5, "features", "diagonal", 5)
    network = Classifier(model, model.init(np.random.default_rng(0)))
    names = [n for n, _ in model.network.layers]
    # the features of A2SNN's authors go through a ReLU first (audit B14)
    before = names[-4:-2] if name == "resnet18-authors" else names[-3:-2]
    assert before[0] == "bottleneck" and names[-2] == "noise"
    assert names.count("noise") == names.count("bottleneck") == 1
    assert network.params["noise"]["L"].shape == (5,) and network.sigma == 0.5
    x = np.random.default_rng(1).random((2, 1, 28, 28)).astype(np.float32)
    mean, var = network.moments(x)
    assert mean.shape == var.shape == (2, 7) and (var > 0).all()
    np.testing.assert_array_equal(mean, network.predict(x))
    # nothing but the last layer sees the noise: the rules cannot differ
    np.testing.assert_array_equal(var, network.moments(x, LAPLACE)[1])
    np.testing.assert_array_equal(var, network.moments(x, EXACT)[1])
    assert Model.from_spec(model.spec()) == model


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_cap_scales_the_noise_down_and_never_up(covariance: str) -> None:
    layer = FeatureNoise(1.0, covariance)
    params = {"L": layer.init(np.random.default_rng(0), (4,))[0]["L"] * np.float32(-1.5)}
    assert layer.capped(params, 1.5)["L"].tobytes() == params["L"].tobytes()
    capped = layer.capped(params, 0.5)
    np.testing.assert_allclose(layer.level(capped), 0.5, rtol=1e-6)
    np.testing.assert_allclose(capped["L"], params["L"] / 3, rtol=1e-6)
    nothing = layer.capped({"L": params["L"] * 0}, 0.5)["L"]
    assert not nothing.any() and nothing.dtype == np.float32
