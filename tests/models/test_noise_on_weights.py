"""Networks with noise on their weights: what asks for their noise, attacks them, certifies them and measures them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cupy_double import Module
from small_networks import SHAPE, convolutional, images, on_weights

from npsnn import attacks
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.audit.layerwise import layerwise
from npsnn.certify import smoothing
from npsnn.classifier import Classifier
from npsnn.layers import Conv2d, FeatureNoise, Flatten, Linear, NoisyConv2d, NoisyLinear, PreactivationNoise, Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import flatten, unflatten
from npsnn.models import Model, without_noise
from npsnn.objectives import OBJECTIVES
from npsnn.streams import Stream
from npsnn.train import diagnostics
from npsnn.train.constraints import UnitFilters, noisy_weights
from npsnn.workers.threads import Threads

X, LABELS = images(5), np.array([0, 1, 2, 1, 0])


def network(model: Model | None = None) -> Classifier:
    model = model or on_weights()
    return Classifier(model, model.init(np.random.default_rng(1)), threads=1).astype(np.float64)


def last_alone(joint: bool = True, **noise: Any) -> Classifier:
    """A deterministic convolution and a Bayesian last layer."""
    layers: Any = (("conv", Conv2d(3, 3)), ("flatten", Flatten()), ("fc", NoisyLinear(3, joint, **noise)))
    return network(Model("last alone", Sequential(layers), SHAPE, 3))


def test_it_is_random_says_what_it_shares_and_is_saved() -> None:
    noisy = network()
    assert noisy.random and noisy.model.noisy and noisy.model.shares_draws
    assert list(noisy.sigmas) == ["first", "noise", "block.body.conv", "last"]
    assert list(noisy.sigmas.values()) == pytest.approx([0.25, 0.3, 0.2, 0.1], rel=1e-6)
    assert Model.from_spec(noisy.spec) == noisy.model
    flat = flatten(noisy.params)
    assert {"first.alpha", "noise.sigma", "block.body.conv.rho", "last.rho_b"} <= flat.keys()
    noisy.model.check(flat)
    with pytest.raises(ValueError, match=r"last\.rho holds a NaN or an inf"):
        noisy.model.check(flat | {"last.rho": flat["last.rho"] - np.inf})
    direct = dict(noisy.model.convolving("direct").network.layers)["first"]
    assert direct == replace(NoisyConv2d(3, 3, padding=1, scope="channel"), method="direct")


def test_without_its_noise_it_is_plain_layers_that_take_the_same_weights() -> None:
    noisy = network()
    quiet = without_noise(noisy.model)
    kinds = [type(layer) for _, layer in quiet.network.layers]
    assert NoisyConv2d not in kinds and kinds[0] is Conv2d and kinds[-1] is Linear and not quiet.noisy
    assert not any(isinstance(layer, NoiseLayer) for layer in dict(quiet.network.layers)["block"].body.layers)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(Classifier(quiet, noisy.params, threads=1).predict(X), noisy.predict(X))


def test_its_noise_is_set_turned_off_and_back_on() -> None:
    noisy = network()
    off = noisy.with_sigma(0)
    assert not off.random and set(off.sigmas.values()) == {0.0}
    np.testing.assert_array_equal(off.sample(X, 0, 1)[0], noisy.predict(X))
    each = noisy.with_sigma(dict.fromkeys(noisy.sigmas, 0.0))
    assert not each.random and flatten(each.params)["last.rho"].max() == -1e4
    np.testing.assert_array_equal(each.sample(X, 0, 1)[0], noisy.predict(X))
    louder = each.with_sigma({"first": 0.5, "last": 0.2})
    assert louder.sigmas == pytest.approx({"first": 0.5, "noise": 0, "block.body.conv": 0, "last": 0.2})
    np.testing.assert_array_equal(flatten(louder.params)["last.w"], flatten(noisy.params)["last.w"])


def test_all_images_of_a_micro_batch_have_one_draw_and_each_draw_its_own() -> None:
    alike = np.repeat(X[:1], 5, axis=0)
    drawn = network(on_weights(micro_batch=3)).sample(alike, 0, 2)
    np.testing.assert_allclose(drawn[:, :3], drawn[:, :1] + 0 * drawn[:, :3], rtol=1e-12)
    assert (drawn[:, 0] != drawn[:, 3]).all() and (drawn[0] != drawn[1]).all()
    averaged = network().averaging(2).scores(X, Sampled(Stream(3))).mean
    each = [network().scores(X, Sampled(Stream(3).at("average", i))).mean for i in range(2)]
    np.testing.assert_allclose(averaged, np.mean(each, axis=0), rtol=1e-12)


def test_the_gradients_of_an_attack_are_over_separate_draws() -> None:
    noisy = network()
    one, other = (sampled(noisy, 1)(X, LABELS, Stream(n))[1] for n in (0, 1))
    assert np.abs(one - other).max() > 0
    loss, mean = sampled(noisy, 3)(X, LABELS, Stream(0))
    draws = [Sampled(Stream(0).at("draw", d)) for d in range(3)]
    each = [noisy.loss_gradient(X, LABELS, noise, OBJECTIVES["cross-entropy"]) for noise in draws]
    np.testing.assert_allclose(mean, np.mean([g for _, g in each], axis=0), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(loss, np.mean([v for v, _ in each], axis=0), rtol=1e-12)


def test_the_closed_form_of_a_bayesian_last_layer_is_exact_and_aims_at_the_expected_loss() -> None:
    found = closed_form(last_alone())
    assert found.objective == OBJECTIVES["expected-cross-entropy"]
    assert closed_form(last_alone(), "cross-entropy").kind == "expectation", "the noise leaves the mean"
    assert closed_form(last_alone(joint=False)).objective == OBJECTIVES["noise-aware"]
    assert closed_form(network()).objective == OBJECTIVES["win-probability"]
    features = (("flatten", Flatten()), ("noise", FeatureNoise(0.3)), ("fc", NoisyLinear(3, joint=True)))
    both = network(Model("both", Sequential(features), SHAPE, 3))
    assert closed_form(both, "mse").kind == "expectation"
    several = network(Model("both", Sequential((("first", PreactivationNoise(0.3)), *features)), SHAPE, 3))
    assert closed_form(several, "mse").kind == "closed-form"
    assert several.scores(X, Propagated()).var.shape == (3, 3, 5)  # type: ignore[union-attr]


def test_a_draw_that_images_share_is_known_of_a_part_of_them() -> None:
    target, columns = known(network(), 3), [1, 4]
    some = X[columns], LABELS[columns]
    part = target(*some, Stream(0).chosen(columns))[1]
    np.testing.assert_allclose(part, target(X, LABELS, Stream(0))[1][columns], rtol=1e-9, atol=1e-12)
    misread = 1 - attacks.accuracy(network(), X, LABELS, 1, 3).each
    np.testing.assert_array_equal(target.misread(*some, 1, Stream(0).chosen(columns)), misread[columns])


def test_a_draw_that_images_share_is_no_vote() -> None:
    with pytest.raises(ValueError, match="noise of first has one draw for all examples of a batch"):
        smoothing(network())
    assert smoothing(network().with_sigma(0), 0.25).sigma == 0.25


def test_the_weights_with_noise_are_its_own() -> None:
    model = on_weights()
    assert model.noisy_weights == "first.w" and not model.before_noise.layers
    assert sorted(noisy_weights(model)) == ["block.body.conv.w", "first.w", "first.w", "last.w"]
    assert [name for name, _ in last_alone().model.before_noise.layers] == ["conv", "flatten"]
    params = flatten(network().params)
    held = UnitFilters("l2").after(model, params)
    np.testing.assert_allclose((held["last.w"] ** 2).sum(axis=1), 1)


def test_noise_is_measured_at_its_own_input_behind_noisy_weights() -> None:
    noisy = network()
    found = diagnostics.inputs(noisy, X, ["noise"])
    plain = Conv2d(3, 3, padding=1).forward(noisy.params["first"], Moments(noisy.to_engine(X)), EXPECTATION)[0]
    np.testing.assert_array_equal(found["noise"], plain.mean)
    with Threads(2) as workers:
        ratios = diagnostics.ratios(noisy, np.round(255 * X).astype(np.uint8), workers)
    assert list(ratios) == list(noisy.sigmas)
    w = flatten(noisy.params)["last.w"]
    assert ratios["last"] == pytest.approx(np.abs(w).mean() / 0.1)
    w = flatten(noisy.params)["first.w"]
    assert ratios["first"] == pytest.approx(np.abs(w).mean() / (0.25 * w.std(ddof=1)))
    grads = {k: np.ones_like(p) for k, p in flatten(noisy.params).items()}
    assert diagnostics.slopes(noisy.model, flatten(noisy.params), grads).keys() == noisy.sigmas.keys()


def test_the_rules_are_compared_with_draws_of_the_weights() -> None:
    fit = layerwise(last_alone(spread="free", start=0.2), X[:2], LABELS[:2], draws=400)
    assert fit.refusal == "" and fit.trust.startswith("The closed form is exact")
    exact = next(f for f in fit.layers if f.rule == "exact")
    assert exact.mean_error < 4 * fit.mean_floor and abs(exact.sd_ratio - 1) < 0.15
    sizes = convolutional().model.network.layers
    unit = Sequential(tuple((n, PreactivationNoise(0.3, "unit") if n == "noise" else layer) for n, layer in sizes))
    own = network(Model("unit", unit, SHAPE, 3))
    own.params["noise"]["sigma"][:2] *= 3
    fit = layerwise(own, X[:1], LABELS[:1], draws=1000)
    ratios = {f.rule: f.sd_ratio for f in fit.layers if f.layer == "noise"}
    assert ratios["covariance"] == pytest.approx(ratios["exact"]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("average", [1, 2])
def test_on_a_gpu_its_answers_are_graphs_with_new_draws(double: Module, same_draws: None, average: int) -> None:
    ours = network().averaging(average)
    there = ours.to("cuda")
    for noise in (Sampled(Stream(1)), Sampled(Stream(2, first=7)), Propagated(), EXPECTATION):
        wanted = ours.loss_gradient(X, LABELS, noise, OBJECTIVES["cross-entropy"])
        found = there.loss_gradient(double.asarray(X), LABELS, noise, OBJECTIVES["cross-entropy"])
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-9, atol=1e-12)
    assert there.passes.random and expectation(there)(X, LABELS, Stream(0))[1].any()


def test_noise_that_was_planted_wrong_is_seen() -> None:
    """Noise that is half as large again is not what the draws say."""
    noisy = last_alone(spread="free", start=0.3)
    flat = flatten(noisy.params)
    wrong = replace(noisy, params=unflatten(flat | {"fc.rho": flat["fc.rho"] + 0.4}))
    right, planted = (n.scores(X[:1], Propagated()).var[:, :, 0] for n in (noisy, wrong))  # type: ignore[index]
    draws = np.stack([noisy.scores(X[:1], Sampled(Stream(2, first=n))).mean[:, 0] for n in range(1000)])
    var = draws.var(axis=0)
    assert np.abs(var / np.diagonal(right) - 1).max() < 5 * np.sqrt(2 / 1000)
    assert np.abs(var / np.diagonal(planted) - 1).min() > 5 * np.sqrt(2 / 1000)
