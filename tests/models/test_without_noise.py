"""Networks without a noise layer, and networks whose noise is switched off and on again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features

import npsnn
from npsnn import attacks, bounds, train
from npsnn.attacks.plan import choices
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.files import json_files
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Propagated, Sampled
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, with_feature_noise
from npsnn.objectives import OBJECTIVES, TARGETED
from npsnn.runs import checkpoint
from npsnn.streams import Stream

X = images(6)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def plain() -> Classifier:
    """The convolutional network without its noise layer."""
    noisy = convolutional()
    layers = tuple((name, layer) for name, layer in noisy.model.network.layers if name != "noise")
    params = {name: p for name, p in noisy.params.items() if name != "noise"}
    return replace(noisy, model=replace(noisy.model, network=Sequential(layers)), params=params)


def test_a_plain_network_answers_like_one_whose_noise_is_off() -> None:
    network, quiet = plain(), convolutional().with_sigma(0)
    assert (network.sigma, network.random, network.model.noisy) == (0, False, False)
    for ours, theirs in zip(network.moments(X), quiet.moments(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(network.sample(X, 0, 2), quiet.sample(X, 0, 2))
    np.testing.assert_array_equal(network.averaging(3).sample(X, 0, 1)[0], network.predict(X))
    np.testing.assert_array_equal(network.input_gradient(X, LABELS), quiet.input_gradient(X, LABELS))
    ours, theirs = (attacks.accuracy(c, X, LABELS).each for c in (network, quiet))
    np.testing.assert_array_equal(ours, theirs)


def test_there_is_no_noise_to_set() -> None:
    assert plain().with_sigma(0).predict(X).tobytes() == plain().predict(X).tobytes()
    with pytest.raises(ValueError, match="convolutional has no noise layer"):
        plain().with_sigma(0.3)
    with pytest.raises(ValueError, match="convolutional has no noise layer"):
        list(attacks.evaluate(plain(), X, LABELS, attacks.Plan(sigma=0.3)))
    with pytest.raises(ValueError, match="the bounds are for noise on the features"):
        bounds.gap(plain(), X, X, LABELS)


@pytest.mark.parametrize("name", choices())
def test_a_plain_network_can_be_attacked(name: str) -> None:
    plan = attacks.Plan(name, eps=0.1, steps=2, samples=2, population=5, generations=1, cw_steps=2, cw_searches=1)
    ours, theirs = (list(attacks.evaluate(c, X, LABELS, plan)) for c in (plain(), convolutional().with_sigma(0)))
    np.testing.assert_array_equal(ours[0].x_adv, theirs[0].x_adv)
    assert ours[0].accuracy.each.tolist() == theirs[0].accuracy.each.tolist()


def test_every_target_takes_a_plain_network() -> None:
    network = plain()
    for propagation in ("exact", "laplace", "linear"):
        loss, _ = attacks.closed_form(network, propagation=propagation)(X, LABELS, 0)
        assert np.isfinite(loss).all()
    with pytest.raises(ValueError, match="win-probability objective needs noise"):
        attacks.closed_form(network, "win-probability")
    for objective in OBJECTIVES:
        if "win" not in objective:
            labels = np.stack([LABELS, (LABELS + 1) % 3], axis=1) if objective in TARGETED else LABELS
            assert np.isfinite(attacks.known(network, Stream(0), objective)(X, labels, 0)[1]).all()


def test_the_criteria_about_noise_do_not_apply_to_a_plain_network() -> None:
    options = attacks.Checklist(steps=2, draws=1, samples=2, population=5, generations=1, ladder=(0.1, 0.2))
    found = list(attacks.examine(plain(), X, LABELS, options))
    assert [c.explanation for c in found[5:8]] == ["the network has no noise"] * 3


def test_a_plain_network_is_saved_and_loaded(tmp_path: Path) -> None:
    network = plain()
    json_files.write_json(tmp_path / "run" / checkpoint.CONFIG, {"spec": network.spec})
    params = checkpoint.with_prefix("params", flatten(network.params))
    checkpoint.save_arrays(tmp_path / "run" / checkpoint.LAST, params, {})
    again = Classifier.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict(X), network.predict(X))
    assert again.sigma == 0


@pytest.mark.parametrize("make", [convolutional, on_features, linear])
def test_noise_off_and_on_again_is_the_noise_it_was(make: Any) -> None:
    """A learned covariance has its shape back."""
    network = make()
    quiet = network.with_sigma(0)
    assert quiet.sigma == 0 and not quiet.random and network.random
    loud = quiet.with_sigma(2 * network.sigma)
    expected = network.with_sigma(2 * network.sigma)
    for noise in (Propagated(), Sampled(Stream(1))):
        ours, theirs = loud.scores(X, noise), expected.scores(X, noise)
        np.testing.assert_array_equal(ours.mean, theirs.mean)
        assert (ours.var is None) == (theirs.var is None)
        if ours.var is not None:
            np.testing.assert_array_equal(ours.var, theirs.var)
        np.testing.assert_array_equal(quiet.scores(X, noise).mean, quiet.predict(X).T)
    assert quiet.astype(np.float32).sigma == 0


@pytest.mark.parametrize("sigma", [1e-23, 1e-30, 5e-324, 9e-19])
def test_noise_that_single_precision_would_lose_is_refused(sigma: float) -> None:
    for make in (convolutional, on_features):
        with pytest.raises(ValueError, match=r"sigma must be 0 or at least 1e-18, got"):
            make().with_sigma(sigma)
    with pytest.raises(ValueError, match="sigma must be 0 or at least 1e-18"):
        attacks.Plan(sigma=sigma)
    least = on_features().astype(np.float32).with_sigma(1e-18)
    assert least.random and (least.moments(X)[1] > 0).all()


def test_a_classifier_compares_and_prints_harmlessly() -> None:
    network = plain()
    assert network == network and network != plain() and len({network, network, plain()}) == 2
    assert repr(network) == "<Classifier convolutional, 2x3x4 images, 3 classes, sigma 0, float64 on the CPU>"
    assert ", sigma 0, answers averaged over 3 draws, float64" in repr(network.averaging(3))
    assert npsnn.Classifier is Classifier and npsnn.Stream is Stream
    assert {"Classifier", "Stream", "attacks", "bounds", "train"} <= set(dir(npsnn))


def test_a_noise_layer_may_not_have_the_name_of_a_purpose() -> None:
    noise = dict(convolutional().model.network.layers)["noise"]
    with pytest.raises(ValueError, match="a layer that draws must have a name of its own, got gap"):
        Model("mine", Sequential((("gap", noise),)), (1, 2, 2), 4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lenet5", "lenetpp-authors"])
def test_a_network_without_noise_can_be_trained(model: str, tmp_path: Path) -> None:
    split = Split(np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), np.uint8), np.arange(12) % 3)
    config = train.Config(model=model, noise="none", epochs=2, batch_size=8, loss="cross-entropy", adversarial="fgsm")
    assert config.sigma == 0
    dataset = Dataset("mine", split, split, 3, {})
    records = [r for r in train.fit(config, dataset, tmp_path / "run", threads=1) if isinstance(r, train.Epoch)]
    assert [(r.sigma, r.sigma_gradient, r.first_layer_ratio, r.feature_noise) for r in records] == [
        (0, 0, None, None)
    ] * 2
    network = Classifier.load(tmp_path / "run")
    assert not network.model.noisy and not network.random
    assert records[1].loss != records[0].loss
    more = train.Config(model=model, noise="none", epochs=1, batch_size=8)
    assert list(train.fit(more, dataset, threads=1, start=network))


def test_a_network_without_noise_trains_like_one_of_sigma_0() -> None:
    """The weights are drawn in the same order and see the same gradients."""
    split = Split(np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), np.uint8), np.arange(12) % 3)
    found = []
    for noise in ("none", "preactivation"):
        config = train.Config(noise=noise, sigma=0.0, epochs=1, batch_size=4, loss="mse")
        found.append([r.loss for r in train.fit(config, Dataset("mine", split, split, 3, {}), threads=1)])
    assert found[0] == found[1]


def test_a_model_without_noise_of_its_own_asks_where_it_is_to_be() -> None:
    with pytest.raises(ValueError, match="noise must be features or none for resnet18, which has none on its first"):
        train.Config(model="resnet18")
    with pytest.raises(ValueError, match="learn_sigma needs 0 < sigma"):
        train.Config(noise="none", learn_sigma=True)


def test_a_network_of_one_layer_before_the_last_takes_noise_on_features() -> None:
    layers = Sequential((("flatten", Flatten()), ("last", Linear(3, joint=True))))
    noisy = with_feature_noise(Model("short", layers, (1, 2, 2), 3), 0.5, bottleneck=4)
    assert [name for name, _ in noisy.network.layers] == ["flatten", "bottleneck", "noise", "last"]
