"""Several noise layers in one network: gradients, the closed form against draws and against the plain formulas.

Where units stay independent the closed form is the law of the draws: affine maps of each unit by itself, the sum of two
branches of a fixed input, and the joint last layer.
"""

from typing import Any

import numpy as np
import pytest
from small_networks import images, several
from strategies import frozen

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Want
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.reference import gaussian_head, plain
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

D, CLASSES, DRAWS = 4, 3, 200_000
NOISES = {name: Propagated(rule) for name, rule in RULES.items()} | {
    "sampled": Sampled(Stream(4)),
    "expectation": EXPECTATION,
}
each_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=list(NOISES))


def sequence(*layers: Any) -> Sequential:
    return Sequential(tuple((f"{type(layer).__name__}{i}", layer) for i, layer in enumerate(layers)))


def noise(sigma: float = 0.5) -> PreactivationNoise:
    return PreactivationNoise(sigma)


NETWORKS = {
    "two": sequence(noise(), BatchNorm(), noise(0.8), Linear(CLASSES, joint=True)),
    "two with a rectifier": sequence(noise(), ReLU(), noise(0.8), Linear(CLASSES, joint=True)),
    "one branch": sequence(Residual(sequence(BatchNorm(), noise()), Sequential(())), Linear(CLASSES, joint=True)),
    "other branch": sequence(Residual(sequence(BatchNorm()), sequence(noise())), Linear(CLASSES, joint=True)),
    "both branches": sequence(Residual(sequence(noise()), sequence(BatchNorm(), noise(0.8))), Linear(3, joint=True)),
    "a block after noise": sequence(noise(0.6), Residual(sequence(noise()), Sequential(())), Linear(3, joint=True)),
    "noise, then features": sequence(noise(), BatchNorm(), FeatureNoise(0.7), Linear(CLASSES, joint=True)),
    "diagonal features": sequence(noise(), FeatureNoise(0.7, "diagonal"), Linear(CLASSES, joint=True)),
    "scalar features": sequence(noise(), FeatureNoise(0.7, "scalar"), Linear(CLASSES, joint=True)),
    "features after a block": sequence(
        Residual(sequence(noise()), Sequential(())), noise(0.3), FeatureNoise(0.7), Linear(CLASSES, joint=True)
    ),
}
DROPPED = "a block after noise"
"""Both branches carry the noise of one input, whose covariance is dropped (audit N15): no law."""
each_network = pytest.mark.parametrize("name", NETWORKS)


def drawn(name: str, seed: int = 0) -> tuple[Sequential, Arrays, np.random.Generator]:
    """A network and its parameters, flat, away from where they start."""
    network, rng = NETWORKS[name], np.random.default_rng(seed)
    params, shape = network.init(rng, (D,))
    assert shape == (CLASSES,)
    flat = {k: p * rng.uniform(0.5, 1.5, p.shape) + 0.3 * rng.normal(size=p.shape) for k, p in flatten(params).items()}
    flat |= {k: np.abs(p) + 0.1 for k, p in flat.items() if "var" in k or "sigma" in k}
    return network, {k: np.tril(p) if k.endswith(".L") and p.ndim == 2 else p for k, p in flat.items()}, rng


@pytest.mark.slow
@each_noise
@each_network
def test_gradients(name: str, noise: Noise) -> None:
    network, flat, rng = drawn(name)
    x = rng.choice([-1, 1], (D, 3)) * rng.uniform(0.2, 1.5, (D, 3))

    def forward(a: Arrays) -> Any:
        given = {k: np.tril(p) if k.endswith(".L") and p.ndim == 2 else p for k, p in a.items() if k != "x"}
        return network.forward(unflatten(given), Moments(a["x"]), noise)

    m, back = forward({"x": frozen(x)} | {k: frozen(p) for k, p in flat.items()})
    assert m.var is None or m.var.shape == (CLASSES, CLASSES, 3)
    assert (m.var is None) == (not isinstance(noise, Propagated))
    gm, gv = rng.normal(size=m.mean.shape), None if m.var is None else rng.normal(size=m.var.shape)
    g, grads = back(Moments(gm, gv), Want.BOTH)
    found = {k: p for k, p in flatten(grads).items() if "running" not in k}

    def f(a: Arrays) -> float:
        out, _ = forward(flat | a)
        return float((out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum()))

    assert found.keys() == {k for k in flat if "running" not in k}
    check_gradient(f, {"x": x} | {k: flat[k] for k in found}, {"x": g.mean} | found, step=1e-5)
    mean_only, _ = back(Moments(gm), Want.INPUT)
    assert mean_only.var is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != DROPPED])
def test_the_closed_form_is_the_law_of_the_draws(name: str) -> None:
    network, flat, rng = drawn(name, seed=1)
    x, params = rng.normal(size=(D, 1)), unflatten(flat)
    m, _ = network.forward(params, Moments(x), Propagated())
    many, _ = network.forward(params, Moments(np.broadcast_to(x, (D, DRAWS))), Sampled(Stream(2)))
    deviation = many.mean - m.mean
    products = deviation[:, None] * deviation
    error = products.std(axis=2) / np.sqrt(DRAWS)
    assert (np.abs(deviation.mean(axis=1)) < 5 * many.mean.std(axis=1) / np.sqrt(DRAWS)).all()
    assert (np.abs(products.mean(axis=2) - m.var[..., 0]) < 5 * error).all()


def test_a_block_after_noise_drops_the_covariance_of_its_branches() -> None:
    network, flat, rng = drawn(DROPPED)
    m, _ = network.forward(unflatten(flat), Moments(rng.normal(size=(D, 2))), Propagated())
    first, second = (flat[k] for k in flat if k.endswith("sigma"))
    W = flat["Linear2.w"]
    want = plain.linear_variance(np.full((1, D), 2 * first**2 + second**2), W)[0]
    np.testing.assert_allclose(np.diagonal(m.var)[0], want, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_two_noises_with_a_rectifier_are_the_plain_formulas(rule: str) -> None:
    network, flat, rng = drawn("two with a rectifier")
    x = rng.normal(size=(D, 2))
    m, _ = network.forward(unflatten(flat), Moments(x), Propagated(RULES[rule]))
    first, second = (flat[k] for k in flat if k.endswith("sigma"))
    W, b = flat["Linear3.w"], flat["Linear3.b"]
    for n in range(2):
        mean, var = plain.rectify(x[:, n], np.full(D, first**2), rule)
        np.testing.assert_allclose(m.mean[:, n], plain.linear(mean[None], W, b)[0], rtol=1e-12)
        S = gaussian_head.covariance_after_variances(W, np.zeros((D, D)), var + second**2)
        np.testing.assert_allclose(m.var[..., n], S, rtol=1e-12)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "scalar"])
def test_feature_noise_after_variances_is_the_plain_formula(covariance: str) -> None:
    rng = np.random.default_rng(5)
    layer, head = FeatureNoise(0.7, covariance), Linear(CLASSES, joint=True)
    L = rng.normal(size=layer.init(rng, (D,))[0]["L"].shape)
    own = {"L": np.tril(L) if covariance == "full" else L}
    params = {"noise": own, "last": {"w": rng.normal(size=(CLASSES, D)), "b": rng.normal(size=CLASSES)}}
    W, L = params["last"]["w"], layer.factor(own, D)
    mean, var = rng.normal(size=(D, 2)), rng.uniform(0.1, 1, (D, 2))
    network = Sequential((("noise", layer), ("last", head)))
    m, back = network.forward(params, Moments(frozen(mean), frozen(var)), Propagated())
    gm, gv = rng.normal(size=m.mean.shape), rng.normal(size=m.var.shape)
    g, grads = back(Moments(frozen(gm), frozen(gv)), Want.BOTH)
    slopes = [gaussian_head.covariance_after_variances_slopes(gv[..., n], W, L, var[:, n]) for n in range(2)]
    for n, (dv, _, _) in enumerate(slopes):
        np.testing.assert_allclose(m.var[..., n], gaussian_head.covariance_after_variances(W, L, var[:, n]), rtol=1e-12)
        np.testing.assert_allclose(g.var[:, n], dv, rtol=1e-10)
    np.testing.assert_allclose(grads["last"]["w"], gm @ mean.T + sum(dW for _, dW, _ in slopes), rtol=1e-10)
    want = layer.gradient(sum(dL for _, _, dL in slopes))
    np.testing.assert_allclose(grads["noise"]["L"], want["L"], rtol=1e-10)


def test_feature_noise_that_is_off_leaves_the_variances_as_they_are() -> None:
    layer, x, var = FeatureNoise(0.0), np.ones((D, 2)), np.full((D, 2), 0.3)
    m, back = layer.forward({"L": np.zeros((D, D))}, Moments(x, var), Propagated())
    assert m.var is var
    g, grads = back(Moments(x, var), Want.BOTH)
    assert g.var is var and (grads["L"] == 0).all()
    drawn_, back = layer.forward({"L": np.eye(D)}, Moments(x, var), Sampled(Stream(0)))
    assert drawn_.var is var and back(Moments(x, var), Want.BOTH)[0].var is var


@pytest.mark.slow
def test_each_layer_draws_its_own_numbers() -> None:
    network = Sequential((("a", noise(1.0)), ("b", noise(1.0))))
    x = np.zeros((D, 5000))
    one, off = {"sigma": np.array(1.0)}, {"sigma": np.array(0.0)}
    first, second, both = (
        network.forward({"a": a, "b": b}, Moments(x), Sampled(Stream(1)))[0].mean
        for a, b in ((one, off), (off, one), (one, one))
    )
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(x.size)
    np.testing.assert_allclose(both, first + second, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("features", [0.0, 0.6], ids=["pre-activations", "features as well"])
@pytest.mark.parametrize("objective", ["cross-entropy", "noise-aware"])
@pytest.mark.parametrize("noise", [Propagated(), Sampled(Stream(3))], ids=["propagated", "sampled"])
def test_gradients_of_a_network_with_several(features: float, objective: str, noise: Noise) -> None:
    network, labels = several(features=features), np.array([0, 2])
    x, flat = images(2), flatten(network.params)
    f, batch = OBJECTIVES[objective], network.to_engine(x)

    def run(a: Arrays) -> Any:
        given = {k: np.tril(p) if k.endswith(".L") else p for k, p in a.items() if k != "x"}
        return network.model.network.forward(unflatten(given), Moments(a["x"]), noise)

    m, back = run(flat | {"x": batch})
    g, grads = back(f(m, labels)[1], Want.BOTH)
    assert flatten(grads).keys() == flat.keys()
    check_gradient(
        lambda a: f(run(flat | a)[0], labels)[0].sum(), flat | {"x": batch}, flatten(grads) | {"x": g.mean}, entries=6
    )
