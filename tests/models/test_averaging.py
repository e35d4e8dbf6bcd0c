"""Answers averaged over draws of the noise: their law, their gradient, and that one draw is what it was."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from small_networks import SHAPE, convolutional, images, linear, on_features, predicted

from npsnn import attacks, bounds
from npsnn.classifier import Classifier
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.models.averaging import forward
from npsnn.objectives import OBJECTIVES
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

X = images(4)
LABELS = np.array([0, 1, 2, 1])


NETWORKS = {"last": linear, "first": convolutional, "features": on_features}
NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
Make = Callable[[], Classifier]


def spread(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and variance of each logit of (draws, classes), and the standard error of the variance."""
    centred = (drawn - drawn.mean(axis=0)) ** 2
    return drawn.mean(axis=0), drawn.var(axis=0, ddof=1), centred.std(axis=0) / sqrt(len(drawn))


@pytest.mark.slow
@NETWORK
def test_the_variance_of_an_average_is_a_part_of_one_draws(network: Make) -> None:
    """By 10,000 answers of each, within five standard errors."""
    one, copies = network(), np.repeat(X[:1], 10_000, axis=0)
    mean, var, error = spread(one.sample(copies, 0, draws=1)[0])
    averaged_mean, averaged_var, averaged_error = spread(one.averaging(4).sample(copies, 1, draws=1)[0])
    assert (np.abs(averaged_var - var / 4) < 5 * np.hypot(averaged_error, error / 4)).all()
    assert (np.abs(averaged_mean - mean) < 5 * np.sqrt(var * (1 + 1 / 4) / 10_000)).all()
    assert (var > 1e-3).all()


@NETWORK
def test_moments_keep_the_mean_and_divide_the_variance(network: Make) -> None:
    one = network()
    for rule in ("exact", "laplace", "linear"):
        (mean, var), (averaged_mean, averaged_var) = one.moments(X, rule), one.averaging(3).moments(X, rule)
        np.testing.assert_array_equal(averaged_mean, mean)
        np.testing.assert_allclose(averaged_var, var / 3, rtol=1e-12)
    noise, quiet = Propagated(), one.with_sigma(0).averaging(3)
    np.testing.assert_allclose(one.averaging(3).scores(X, noise).var, one.scores(X, noise).var / 3, rtol=1e-12)
    assert (quiet.moments(X)[1] == 0).all()
    np.testing.assert_array_equal(one.averaging(3).predict(X), one.predict(X))


def test_on_features_an_average_is_smaller_noise() -> None:
    """W(f + mean z_i) + b: exactly the law of L/√n, in closed form and in draws."""
    average, smaller = on_features().averaging(9), on_features().with_sigma(on_features().sigma / 3)
    for ours, theirs in zip(average.moments(X), smaller.moments(X), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for objective in ("expected-cross-entropy", "least-win-probability", "noise-aware"):
        found = [attacks.closed_form(c, objective)(X, LABELS, Stream(0)) for c in (average, smaller)]
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)
    W, b, f = average.params["fc"]["w"], average.params["fc"]["b"], average.params["noise"]["L"]
    drawn = average.scores(X, Sampled(Stream(5))).mean
    still = average.predict(X).T
    eps = [Stream(5).at("average", i, "noise").normal(np.empty((5, 4))) for i in range(9)]
    np.testing.assert_allclose(drawn - still, W @ (f @ np.mean(eps, axis=0)), rtol=1e-9, atol=1e-12)
    assert b.shape == (3,)


@NETWORK
def test_an_average_is_the_mean_of_keyed_draws(network: Make) -> None:
    one, stream = network(), Stream(7).from_sample(11)
    drawn = [one.scores(X, Sampled(stream.at("average", i))).mean for i in range(3)]
    assert len({d.tobytes() for d in drawn}) == 3
    np.testing.assert_allclose(one.averaging(3).scores(X, Sampled(stream)).mean, np.mean(drawn, axis=0), rtol=1e-12)
    tail = one.averaging(3).scores(X[2:], Sampled(stream.from_sample(13))).mean
    np.testing.assert_allclose(tail, np.mean(drawn, axis=0)[:, 2:], rtol=1e-12)


@NETWORK
def test_one_draw_is_what_it_was(network: Make) -> None:
    """The numbers of a network that knows of no averaging, bit for bit."""
    one, x = network(), X
    m = Moments(one.to_engine(x))
    for noise in (EXPECTATION, Sampled(Stream(3).at("draw", 0)), Propagated()):
        plain, backward = one.model.network.forward(one.params, m, noise)
        ours, again = forward(one.model, one.params, m, noise, 1)
        assert ours.mean.tobytes() == plain.mean.tobytes() == one.averaging(1).scores(x, noise).mean.tobytes()
        g = Moments(np.ones_like(plain.mean), None if plain.var is None else np.ones_like(plain.var))
        assert again(g, Want.BOTH)[1].keys() == backward(g, Want.BOTH)[1].keys()


@pytest.mark.slow
@NETWORK
@pytest.mark.parametrize("objective", ["cross-entropy", "noise-aware"])
@pytest.mark.parametrize("noise", [Sampled(Stream(9)), Propagated()], ids=["sampled", "propagated"])
def test_gradients_are_those_of_the_objective_at_the_mean_logits(network: Make, objective: str, noise: Any) -> None:
    averaged = network().averaging(3)

    def f(a: Arrays) -> float:
        return averaged.loss_gradient(a["x"], LABELS, noise, OBJECTIVES[objective])[0].sum()

    value, gradient = averaged.loss_gradient(X, LABELS, noise, OBJECTIVES[objective])
    m = averaged.scores(X, noise)
    np.testing.assert_allclose(value, OBJECTIVES[objective](m, LABELS)[0], rtol=1e-12)
    check_gradient(f, {"x": X}, {"x": gradient}, step=1e-5)


def test_the_layers_before_the_noise_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = on_features().averaging(6), []
    conv = type(network.model.network.layers[0][1])
    apply = conv.apply
    monkeypatch.setattr(conv, "apply", lambda self, w, *given: seen.append(w) or apply(self, w, *given))
    network.loss_gradient(X, LABELS, Sampled(Stream(0)), OBJECTIVES["cross-entropy"])
    assert len(seen) == 1


@pytest.mark.slow
def test_judging_and_attacks_meet_averaged_answers() -> None:
    """An answer of many draws is that of the mean logits; each target's network is the averaging one."""
    names = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd")
    network, plan = linear(sigma=1.0), attacks.Plan(names, average=400, draws=3, eot=2, eps=(0.1,), steps=2)
    labels = predicted(network, X)
    single, many = (attacks.accuracy(c, X, labels, 20).mean for c in (network, network.averaging(400)))
    assert single < 0.9 and many > 0.95
    assert plan.judging().defended(network).average == 400
    assert attacks.Judging().defended(network.averaging(5)).average == 5
    assert attacks.Judging(average=1).defended(network.averaging(5)).average == 1
    for attack in plan.made():
        assert attack.source.of(plan.judging().defended(network)).classifier.average == 400
    (result,) = attacks.evaluate(network, X, labels, replace(plan, attacks=("fgsm",), eps=(0.0,)))
    assert result.accuracy.mean > 0.95 and result.gradient_passes == 2


def test_the_bound_on_the_gap_is_that_of_the_smaller_noise() -> None:
    x_adv = np.clip(X + 0.1, 0, 1)
    average, smaller = on_features().averaging(4), on_features().with_sigma(on_features().sigma / 2)
    found = [bounds.gap(c, X, x_adv, LABELS, draws=50) for c in (average, smaller)]
    np.testing.assert_allclose(found[0].lipschitz, found[1].lipschitz, rtol=1e-5)
    np.testing.assert_array_equal(found[0].gap, found[1].gap)


@pytest.mark.parametrize("average", [0, -3, 1.5, "2", True])
def test_an_average_is_over_one_draw_at_least(average: Any) -> None:
    for make in (linear().averaging, lambda n: replace(linear(), average=n)):
        with pytest.raises(ValueError, match=f"average must be (a whole number )?>= 1, got {average!r}"):
            make(average)
    if not isinstance(average, str | float | bool):
        with pytest.raises(ValueError, match=f"average must be (a whole number )?>= 1, got {average}"):
            attacks.Plan(average=average)


def test_an_average_has_no_gradient_by_the_parameters() -> None:
    network = linear()
    m, backward = forward(network.model, network.params, Moments(network.to_engine(X)), Sampled(Stream(0)), 2)
    assert m.mean.shape == (3, 4) and network.to_engine(X).shape == (*SHAPE[1:2], SHAPE[0], SHAPE[2], 4)
    with pytest.raises(ValueError, match="gradients by the image alone"):
        backward(m, Want.PARAMS)
