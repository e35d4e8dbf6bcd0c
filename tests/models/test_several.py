"""Models and classifiers with several noise layers, also inside of blocks: what they say, set, refuse and average."""

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features, several

from npsnn import bounds
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Backward, Params, Shape
from npsnn.layers.containers import Residual, Sequential, nested
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, sigmas, without_noise
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

X = images(4)
LABELS = np.array([0, 1, 2, 1])
PATHS = ["noise", "block.body.noise", "features"]


def model(*layers: Any, classes: int = 3) -> Model:
    named = tuple(layer if isinstance(layer, tuple) else (f"layer{i}", layer) for i, layer in enumerate(layers))
    return Model("mine", Sequential(named), (1, 2, 2), classes)


def test_noise_layers_are_found_by_path() -> None:
    network = several(features=0.5)
    assert list(network.model.noise_layers) == PATHS and network.model.noisy
    assert [name for name, _ in network.model.before_noise.layers] == ["conv"]
    assert network.model.noisy_weights == "conv.w"
    with pytest.raises(ValueError, match=r"several must have one noise layer here, got noise, block\.body\.noise"):
        _ = network.model.noise_layer
    body = Sequential((("conv", Linear(3)), ("noise", PreactivationNoise(0.1))))
    inside = model(("first", Linear(3)), ("block", Residual(body, Sequential(()))))
    assert inside.noise_layer == "block.body.noise" and inside.noisy_weights == "block.body.conv.w"
    assert [name for name, _ in inside.before_noise.layers] == ["first"]
    with pytest.raises(ValueError, match="the layer before the noise must have weights, got None"):
        _ = model(("block", Residual(Sequential(body.layers[1:]), Sequential(())))).noisy_weights


def test_a_specification_with_several_survives_json() -> None:
    network = several(features=0.5).model
    assert Model.from_spec(json.loads(json.dumps(network.spec()))) == network


def test_without_noise_has_none_at_any_depth() -> None:
    quiet = without_noise(several(features=0.5).model)
    assert not quiet.noisy and not quiet.noise_layers
    names = [path for path, _ in nested(quiet.network)]
    assert "block.body.conv" in names and not [name for name in names if name.endswith(("noise", "features"))]


def test_the_sigmas_are_read_and_set_by_path() -> None:
    network = several(features=0.5)
    level = float(np.sqrt((network.params["features"]["L"] ** 2).mean() * 5))
    single = several(features=0.5).astype(np.float32)
    assert list(network.sigmas) == PATHS and list(network.sigmas.values()) == pytest.approx([0.3, 0.6, level])
    assert list(single.sigmas.values())[:2] == [0.3, 0.6]
    louder = network.with_sigma({"block.body.noise": 0.9, "features": 2.0})
    assert list(louder.sigmas.values()) == pytest.approx([0.3, 0.9, 2.0])
    assert network.sigmas["block.body.noise"] == pytest.approx(0.6), "the other network changed"
    np.testing.assert_allclose(louder.params["features"]["L"], network.params["features"]["L"] * 2 / level)
    assert flatten(louder.params).keys() == flatten(network.params).keys()


def test_one_sigma_for_several_is_refused_unless_it_is_0() -> None:
    network = several()
    with pytest.raises(
        ValueError, match=r"several has several noise layers, noise, block\.body\.noise: ask for its si"
    ):
        _ = network.sigma
    with pytest.raises(ValueError, match=r"several noise layers: sigma must be 0 or a number for each of noise, block"):
        network.with_sigma(0.3)
    with pytest.raises(
        ValueError, match=r"sigma must be of the noise layers noise, block\.body\.noise, got one of 'a'"
    ):
        network.with_sigma({"a": 0.3})
    with pytest.raises(ValueError, match=r"sigma must be of the noise layers noise, got one of 'block\.body\.noise'"):
        convolutional().with_sigma({"block.body.noise": 0.3})
    with pytest.raises(ValueError, match="sigma must be >= 0 and finite"):
        network.with_sigma({"noise": -1.0})
    assert convolutional().with_sigma({"noise": 0.7}).sigma == 0.7


@pytest.mark.parametrize("features", [0.0, 0.6])
def test_noise_goes_off_and_on_again(features: float) -> None:
    network = several(features=features)
    quiet = network.with_sigma(0)
    assert network.random and not quiet.random and quiet.noise_off and set(quiet.sigmas.values()) == {0.0}
    with pytest.raises(ValueError, match="ask for its sigmas"):
        _ = quiet.sigma
    for noise in (Sampled(Stream(0)), Propagated()):
        m = quiet.scores(X, noise)
        assert m.var is None and (m.mean == quiet.predict(X).T).all()
    np.testing.assert_array_equal(quiet.with_sigma({}).moments(X)[1], network.moments(X)[1])
    off = network.with_sigma(dict.fromkeys(network.sigmas, 0.0))
    assert not off.random and (off.moments(X)[1] == 0).all()
    assert network.with_sigma({"noise": 0}).random


def test_it_says_its_sigmas() -> None:
    assert ", sigma noise 0.3, block.body.noise 0.6, float64" in repr(several())
    assert ", sigma 0.3, float64" in repr(convolutional())
    assert sigmas.in_words(0.25) == sigmas.in_words({"noise": 0.25}) == "0.25" and sigmas.in_words({}) == "0"
    assert sigmas.in_words({"conv1": 0.3, "conv2": 0.123456}, ".3g") == "conv1 0.3, conv2 0.123"


@pytest.mark.parametrize("features", [0.0, 0.6])
def test_an_average_draws_all_noise_anew_for_each_answer(features: float) -> None:
    network, stream = several(features=features), Stream(7).from_sample(11)
    drawn = [network.scores(X, Sampled(stream.at("average", i))).mean for i in range(3)]
    averaged = network.averaging(3)
    np.testing.assert_allclose(averaged.scores(X, Sampled(stream)).mean, np.mean(drawn, axis=0), rtol=1e-12)
    for rule in RULES:
        (mean, var), (same, third) = network.moments(X, rule), averaged.moments(X, rule)
        np.testing.assert_array_equal(mean, same)
        np.testing.assert_allclose(third, var / 3, rtol=1e-12)
    seen: list[str] = []
    layers = tuple((name, _Counted(name, layer, seen)) for name, layer in network.model.network.layers)
    counted = replace(averaged, model=replace(network.model, network=Sequential(layers)))
    counted.scores(X, Sampled(stream))
    assert seen.count("conv") == 1 and seen.count("noise") == seen.count("block") == seen.count("fc") == 3


@pytest.mark.parametrize("noise", [Sampled(Stream(9)), Propagated()], ids=["sampled", "propagated"])
def test_an_average_has_the_gradient_of_the_mean_answer(noise: Any) -> None:
    averaged, h = several(features=0.6).averaging(2), 1e-5
    f, rng = OBJECTIVES["noise-aware"], np.random.default_rng(0)
    along = rng.normal(size=X.shape)
    _, gradient = averaged.loss_gradient(X, LABELS, noise, f)
    ends = [averaged.loss_gradient(X + s * h * along, LABELS, noise, f)[0].sum() for s in (1, -1)]
    assert float((gradient * along).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)


def test_the_bounds_need_feature_noise_alone() -> None:
    for network, reason in (
        (several(features=0.5), "has noise in noise, block.body.noise, features"),
        (several(), "has noise in noise, block.body.noise"),
        (convolutional(), "has noise in noise"),
        (on_features().with_sigma(0), "in this network the noise is off"),
    ):
        with pytest.raises(ValueError, match=f"the bounds are for noise on the features.*{reason}"):
            bounds.gap(network, X, X, LABELS)


@dataclass(frozen=True)
class _Counted:
    """Another layer, that notes when it is computed."""

    name: str
    layer: Any
    seen: list[str]

    @property
    def random(self) -> bool:
        return any(getattr(part, "random", False) for _, part in nested(self.layer))

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        found: tuple[Params, Shape] = self.layer.init(rng, shape)
        return found

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        self.seen.append(self.name)
        found: tuple[Moments, Backward] = self.layer.forward(params, m, noise)
        return found


@dataclass(frozen=True)
class Dropped:
    """Draws which units are left: random, and no noise layer."""

    random: ClassVar[bool] = True

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {}, shape

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        kept = 2 * (noise.stream.uniform(m.mean) < 0.5) if isinstance(noise, Sampled) else m.mean * 0 + 1
        return Moments(m.mean * kept), lambda g, want: (Moments(g.mean * kept), {})


def test_a_layer_that_is_random_without_being_noise_says_so() -> None:
    """Dropout draws, though no noise layer has a sigma."""
    plain = linear().model
    layers = (plain.network.layers[0], ("drop", Dropped()), plain.network.layers[1])
    mine = replace(plain, network=Sequential(layers))
    network = Classifier(mine, mine.init(np.random.default_rng(0)), threads=1)
    assert network.random and mine.noisy and not mine.noise_layers and network.sigma == 0
    quiet = network.with_sigma(0)
    assert not quiet.random and (quiet.sample(X, 0, 2) == quiet.predict(X)).all()
    first, second = network.sample(X, 0, 2)
    assert (first != second).any()
    drawn = [network.scores(X, Sampled(Stream(3).at("average", i))).mean for i in range(4)]
    averaged = network.averaging(4).scores(X, Sampled(Stream(3))).mean
    np.testing.assert_allclose(averaged, np.mean(drawn, axis=0), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="linear has no noise layer"):
        network.with_sigma(0.3)
    with pytest.raises(ValueError, match="a layer that draws must have a name of its own, got gap"):
        model(("gap", Dropped()), Linear(3))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((FeatureNoise(1.0), Linear(3)), r"after feature noise comes the last layer, Linear\(classes, joint=True\)"),
        (
            (Linear(4), FeatureNoise(1.0), FeatureNoise(1.0), Linear(3, joint=True)),
            "after feature noise comes the last",
        ),
        ((Linear(3, joint=True), Linear(3)), "only the last layer may be joint"),
        ((), "the network must have at least one layer, got none"),
        ((Residual(Sequential((("n", FeatureNoise(1.0)),)), Sequential(())),), "must not stand inside another layer"),
        ((Sequential((("head", Linear(3, joint=True)),)),), "must not stand inside another layer"),
        ((Residual(Sequential((("gap", PreactivationNoise(1.0)),)), Sequential(())),), "a name of its own, got gap"),
    ],
)
def test_what_has_no_place_is_refused(layers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"mine: .*{message}"):
        model(*layers)


def test_a_covariance_for_each_example_that_would_not_fit_is_refused() -> None:
    head = (FeatureNoise(0.1, "diagonal"), Linear(3, joint=True))
    model(Flatten(), Linear(2000), *head).forms()
    with pytest.raises(
        ValueError, match=r"outputs of a layer must be at most .*the covariance after layer3 makes 64 of"
    ):
        model(Flatten(), Linear(2000), PreactivationNoise(0.1), *head).forms()


def test_check_looks_at_every_noise_layer() -> None:
    network = several()
    flat = flatten(network.params)
    network.model.check(flat)
    with pytest.raises(ValueError, match="sigma must be >= 0 and finite, got -1"):
        network.model.check(flat | {"block.body.noise.sigma": np.array(-1.0)})


def test_the_expectation_is_the_network_without_its_noise() -> None:
    network = several(features=0.6)
    quiet = replace(network, model=without_noise(network.model))
    np.testing.assert_array_equal(network.scores(X, EXPECTATION).mean, quiet.scores(X, EXPECTATION).mean)
    assert isinstance(dict(network.model.network.layers)["relu"], ReLU)
