"""The bounds on what an attack can take, against the plain formulas and against simulation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from npsnn import bounds, models
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, with_feature_noise
from npsnn.reference import theorem
from npsnn.streams import Stream


def network(sigma: float = 0.4) -> Classifier:
    layers = (("flatten", Flatten()), ("fc1", Linear(12)), ("relu", ReLU()), ("fc2", Linear(4, joint=True)))
    model = with_feature_noise(Model("small", Sequential(layers), (1, 3, 3), 4), sigma, bottleneck=6)
    rng = np.random.default_rng(0)
    params = model.init(rng)
    params["noise"]["L"] += np.tril(0.2 * rng.standard_normal((6, 6))).astype(np.float32)
    params["fc2"]["b"] += 0.3 * rng.standard_normal(4).astype(np.float32)
    return Classifier(model, params)


@given(SEEDS, st.integers(2, 5), st.integers(1, 6))
def test_functions_are_the_plain_ones(seed: int, classes: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    # as many features as differences of logits at least, or the plain distance has no inverse to take
    features = max(features, classes - 1)
    W, b, f, shift = (rng.normal(size=n) for n in ((classes, features), classes, features, features))
    L = np.tril(0.3 * rng.normal(size=(features, features)), -1) + np.diag(rng.uniform(0.3, 1, features))
    k = int(rng.integers(classes))
    mu, s = bounds.pairs(W, b, L, f, k)
    np.testing.assert_allclose((mu, s), theorem.pairs(W, b, L, f, k), rtol=1e-10, atol=1e-12)
    delta = bounds.pair_reach(W, shift, k)
    np.testing.assert_allclose(delta, theorem.pair_reach(W, shift, k), rtol=1e-10, atol=1e-12)
    for name, arguments in {
        "pairs_with_margin": (delta, mu, s),
        "pairs_tight": (delta, s),
        "pairs_lipschitz": (delta, s),
        "feature_distance": (L, shift),
        "difference_distance": (W, L, shift, k),
        "theorem1": (0.7, 0.4),
        "binary_tight": (0.7, 0.4),
        "binary_with_margin": (0.7, 0.4, 0.3),
        "total_variation": (1.3,),
        "neyman_pearson": (0.8, 1.3),
    }.items():
        found, wanted = (getattr(module, name)(*arguments) for module in (bounds, theorem))
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-12), name
    distance = bounds.difference_distance(W, L, shift, k)
    assert distance <= bounds.feature_distance(L, shift) * (1 + 1e-9)


@pytest.mark.slow
def test_the_gap_of_a_network_and_its_bounds() -> None:
    noisy, rng = network(), np.random.default_rng(1)
    x = rng.random((20, 1, 3, 3)).astype(np.float32)
    x_adv = np.clip(x + rng.uniform(-0.5, 0.5, x.shape).astype(np.float32), 0, 1)
    labels = noisy.predict(x).argmax(axis=1)
    draws = 4000
    found = bounds.gap(noisy, x, x_adv, labels, draws)
    for name in ("with_margin", "neyman_pearson", "total_variation", "tight", "lipschitz"):
        excess = found.gap - getattr(found, name)
        assert (excess <= 5 * found.standard_error + 5 / draws).all(), name
    assert (found.with_margin <= found.tight + 1e-12).all() and (found.tight <= found.lipschitz + 1e-12).all()
    assert (found.gap > 0.05).any(), "the attack was to take something"
    right = [(noisy.sample(z, 7, 500).argmax(axis=2) == labels).mean(axis=0) for z in (x, x_adv)]
    np.testing.assert_allclose(found.clean, right[0], atol=0.12)
    np.testing.assert_allclose(found.gap, right[0] - right[1], atol=0.15)


def test_an_image_that_is_not_attacked_loses_nothing() -> None:
    noisy = network()
    x = np.random.default_rng(1).random((3, 1, 3, 3)).astype(np.float32)
    found = bounds.gap(noisy, x, x, np.zeros(3, int), 50)
    for values in (found.gap, found.with_margin, found.neyman_pearson, found.total_variation, found.lipschitz):
        np.testing.assert_allclose(values, 0, atol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    x, labels = np.zeros((2, 1, 3, 3), np.float32), np.zeros(2, int)
    with pytest.raises(ValueError, match="noise on the features"):
        bounds.gap(network().with_sigma(0), x, x, labels)
    plain = models.lenet5((1, 28, 28))
    with pytest.raises(ValueError, match="noise on the features"):
        bounds.gap(Classifier(plain, plain.init(np.random.default_rng(0))), x, x, labels)
    with pytest.raises(ValueError, match="draws must be >= 2, got 1"):
        bounds.gap(network(), x, x, labels, draws=1)
    with pytest.raises(ValueError, match="labels must be 1 integers"):
        bounds.gap(network(), x, x[:1], labels)


def test_a_pair_that_no_noise_tells_apart_has_the_limits() -> None:
    """Two classes of one vector: no shift and no noise moves the difference of their logits."""
    assert bounds.theorem1(0.0, 0.0) == bounds.binary_tight(0.0, 0.0) == 0
    assert bounds.binary_tight(0.1, 0.0) == 1 and bounds.theorem1(0.1, 0.0) > 1e100
    assert bounds.binary_with_margin(0.1, 0.0, 0.2) == 0 and bounds.binary_with_margin(0.3, 0.0, 0.2) == 1
    classifier = network()
    last = classifier.model.network.layers[-1][0]
    w = classifier.params[last]["w"].copy()
    w[1] = w[0]
    alike = replace(classifier, params=classifier.params | {last: classifier.params[last] | {"w": w}})
    x, labels = np.random.default_rng(0).random((3, *classifier.model.shape)), np.array([0, 1, 2])
    found = bounds.gap(alike, x, 1 - x, labels, draws=20)
    assert all(np.isfinite(values).all() for values in vars(found).values())


def test_a_shift_along_which_there_is_no_noise_is_infinitely_far() -> None:
    """Noise that leaves the differences of logits alone hides no change of them, however small it is."""
    W, L, shift = np.eye(3), np.diag([0.0, 0.0, 1.0]), np.array([-5.0, 0, 0])
    assert bounds.difference_distance(W, L, shift, 0) == bounds.feature_distance(L, shift) == np.inf
    assert bounds.difference_distance(W, L, 1e-3 * shift, 0) == np.inf
    assert bounds.total_variation(np.inf) == 1
    assert [bounds.neyman_pearson(p, np.inf) for p in (0.0, 0.7, 1.0)] == [0.0, 0.7, 1.0]
    # noise that is 1e16 times smaller in one direction hides no shift there, however small beside the others it is
    assert bounds.feature_distance(np.diag([1, 1e-16]), np.array([1, 1e-15])) > 10
    assert bounds.feature_distance(np.diag([1, 1e-10]), np.array([1, 1e-9])) == pytest.approx(101**0.5)
    along = np.array([0, 0, 2.0])
    assert bounds.feature_distance(L, along) == pytest.approx(2)
    assert bounds.difference_distance(W, L, along + 3.0, 0) == pytest.approx(2), "all logits move by 3"


@given(SEEDS, st.integers(0, 5), st.floats(-8, 8))
def test_noise_of_any_rank_and_size_reaches_what_it_spans(seed: int, rank: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    factor = 10.0**power * rng.normal(size=(5, rank)) @ rng.normal(size=(rank, 5))
    W, e = rng.normal(size=(4, 5)), rng.normal(size=5)
    inside = factor @ e
    assert bounds.feature_distance(factor, inside) <= np.linalg.norm(e) * (1 + 1e-9)
    assert bounds.difference_distance(W, factor, inside, 1) <= np.linalg.norm(e) * (1 + 1e-9)
    outside = inside + 1e-3 * (1 + np.linalg.norm(inside)) * rng.normal(size=5)
    assert (bounds.feature_distance(factor, outside) == np.inf) == (rank < 5)
    assert (bounds.difference_distance(W, factor, outside, 1) == np.inf) == (rank < 3)


def test_bounds_hold_where_the_noise_has_few_directions() -> None:
    noisy = network()
    noisy.params["noise"]["L"][1:] = 0
    x = np.random.default_rng(1).random((40, 1, 3, 3)).astype(np.float32)
    found = bounds.gap(noisy, x, np.zeros_like(x), noisy.predict(x).argmax(axis=1), 2000)
    assert (found.gap > 0.3).any(), "the attack was to take something"
    for name in ("with_margin", "neyman_pearson", "total_variation", "tight", "lipschitz"):
        assert (found.gap - getattr(found, name) <= 5 * found.standard_error + 5 / 2000).all(), name


def test_what_no_bound_is_for() -> None:
    for call, message in (
        (lambda: bounds.theorem1(0.1, -1.0), "s must be a standard deviation >= 0, got -1.0"),
        (lambda: bounds.binary_tight(0.1, [1.0, np.nan]), "s must be a standard deviation"),
        (lambda: bounds.neyman_pearson(2, 0.3), "p must be a probability and distance >= 0, got 2 and 0.3"),
        (lambda: bounds.total_variation(-1.0), "distance must be >= 0, got -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    classifier = network()
    x = np.zeros((0, *classifier.model.shape))
    with pytest.raises(ValueError, match="there must be at least one image, got none"):
        bounds.gap(classifier, x, x, np.zeros(0, int))


def test_each_image_meets_noise_of_its_own() -> None:
    """And the same whoever is beside it."""
    noisy, rng = network(2.0), np.random.default_rng(1)
    x, x_adv = (np.repeat(rng.random((1, 1, 3, 3)), 6, axis=0) for _ in range(2))
    labels = noisy.predict(x).argmax(axis=1)
    found = bounds.gap(noisy, x, x_adv, labels, 400, Stream(0))
    assert 0 < found.clean[0] < 1 and len(set(found.clean)) > 2
    rest = bounds.gap(noisy, x[2:], x_adv[2:], labels[2:], 400, Stream(0).from_sample(2))
    np.testing.assert_array_equal(rest.clean, found.clean[2:])
