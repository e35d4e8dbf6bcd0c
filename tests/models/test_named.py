"""Named networks: whole gradients in random directions, shapes, specifications and their errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from strategies import batch_last

from npsnn import attacks, models
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.layers.affine import Linear
from npsnn.layers.base import Backward, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import flatten, unflatten
from npsnn.models import Model, cnn5, lenet5, sigmas
from npsnn.objectives import OBJECTIVES, losses
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_directional
from npsnn.train import fit
from npsnn.train.config import Config

# the expected cross-entropy has the integral's gradient by the variance, not that of its 64 points
EXACT_GRADIENTS = [o for o in losses() if o != "expected-cross-entropy"]
PROPAGATED = [(f"{r}-{o}", Propagated(RULES[r]), o) for r in RULES for o in EXACT_GRADIENTS]
PLAIN = [
    (f"{name}-{o}", noise, o)
    for name, noise in (("sampled", Sampled(Stream(2))), ("expectation", EXPECTATION))
    for o in losses()
    if o != "win-probability"
]
LABELS = np.array([3, 0, 9])
rng_0 = np.random.default_rng


def double_precision(model: Model, seed: int = 0) -> Arrays:
    """Parameters as they are initialised but float64, and biases off 0, where dead windows would sit on a kink."""
    rng = rng_0(seed)
    flat = flatten(model.init(rng))
    return {
        k: p.astype(np.float64) + (0.1 * rng.normal(size=p.shape) if k.endswith("b") else 0) for k, p in flat.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "objective"), [case[1:] for case in PROPAGATED + PLAIN], ids=[c[0] for c in PROPAGATED + PLAIN]
)
def test_gradients_of_lenet5(noise: Noise, objective: str) -> None:
    model = lenet5()
    flat = double_precision(model)
    x = batch_last(rng_0(1).uniform(0.1, 0.9, (3, 1, 28, 28)))

    def run(a: Arrays) -> tuple[float, Moments, Backward]:
        params = unflatten({k: v for k, v in a.items() if k != "x"})
        m, back = model.network.forward(params, Moments(a["x"]), noise)
        value, cotangent = OBJECTIVES[objective](m, LABELS)
        return value.sum(), cotangent, back

    arrays = {"x": x} | flat
    _, cotangent, back = run(arrays)
    g, grads = back(cotangent, Want.BOTH)
    check_directional(lambda a: run(a)[0], arrays, {"x": g.mean} | flatten(grads), rng_0(2))


def test_sigma_has_a_gradient_where_the_objective_sees_the_variance() -> None:
    model = lenet5()
    params = model.init(rng_0(0))
    x = batch_last(rng_0(1).random((3, 1, 28, 28)).astype(np.float32))
    for rule in RULES.values():
        m, back = model.network.forward(params, Moments(x), Propagated(rule))
        assert m.mean.dtype == m.var.dtype == np.float32 and m.var.shape == (10, 10, 3)
        _, grads = back(OBJECTIVES["noise-aware"](m, LABELS)[1], Want.PARAMS)
        assert grads["noise"]["sigma"] != 0
        assert {g.dtype for g in flatten(grads).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["lenet5", "cnn5"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [28, 32])
def test_named_models_end_in_logits(name: str, channels: int, pixels: int) -> None:
    model = models.build(name, (channels, pixels, pixels), 7, 0.5)
    params, shape = model.network.init(rng_0(0), model.shape)
    assert shape == (7,)
    assert params["noise"]["sigma"] == np.float32(0.5)
    x = np.zeros((pixels, channels, pixels, 2), np.float32)
    m, _ = model.network.forward(params, Moments(x), Propagated())
    assert m.mean.shape == (7, 2) and m.var.shape == (7, 7, 2)


@pytest.mark.parametrize("pixels", range(26, 33))
def test_lenet5_takes_images_up_to_32_pixels(pixels: int) -> None:
    assert lenet5((1, pixels, pixels)).init(rng_0(0))["fc3"]["w"].shape == (10, 200)


@pytest.mark.parametrize("pixels", range(24, 33))
def test_cnn5_takes_images_up_to_32_pixels(pixels: int) -> None:
    assert cnn5((1, pixels, pixels)).init(rng_0(0))["fc1"]["w"].shape == (256, 128)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(1, 28, 20), (3, 20, 28), (1, 1, 1), (1, 33, 33), (2, 40, 30), (1, 4, 28), (3, 1, 45)]
)
@pytest.mark.parametrize("name", ["lenet5", "cnn5"])
def test_images_of_any_size_are_trained_on_attacked_and_saved(name: str, shape: tuple[int, int, int]) -> None:
    rng = rng_0(0)
    split = Split(rng.integers(0, 256, (6, *shape), np.uint8), np.arange(6) % 3)
    config = Config(model=name, epochs=1, batch_size=4, augmentation="crop-flip")
    records = list(fit(config, Dataset("mine", split, split, 3, {}), threads=1))
    assert np.isfinite(records[-1].loss)
    model = models.build(name, shape, 3, 0.4)
    assert Model.from_spec(json.loads(json.dumps(model.spec()))) == model
    network = Classifier(model, model.init(rng), threads=1)
    x_adv = attacks.pgd(0.1, steps=2)(attacks.sampled(network, 1), split.images, split.labels, 0)
    assert x_adv.shape == split.images.shape and (x_adv != split.images / np.float32(255)).any()
    direct = network.convolving("direct").moments(x_adv)
    np.testing.assert_allclose(network.moments(x_adv)[0], direct[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet5", (784,), r"shape must be \(C, H, W\)"),
        ("lenetpp", (1, 4, 28), "needs an image of at least 2 pixels"),
        ("lenetpp-authors", (1, 24, 28), "needs an image of at least 5 pixels"),
        ("resnet18", (3, 32, 20), "resnet18 needs square images, got 32 x 20"),
    ],
)
def test_an_image_that_does_not_fit_is_an_error(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(name, shape, 10, 0.0).init(rng_0(0))


def test_images_that_do_not_fit_leave_no_run(tmp_path: Path) -> None:
    split = Split(np.zeros((6, 1, 4, 28), np.uint8), np.arange(6) % 3)
    with pytest.raises(ValueError, match="needs an image of at least 2 pixels"):
        list(fit(Config(model="lenetpp", noise="features"), Dataset("mine", split, split, 3, {}), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown model 'vgg', expected one of lenet5, cnn5"):
        models.build("vgg", (1, 28, 28), 10, 0.6)


def test_the_parts_round_the_noise_are_found_by_name() -> None:
    model = lenet5()
    assert model.noise_layer == "noise" and model.noisy_weights == "conv1.w"
    assert [name for name, _ in model.before_noise.layers] == ["conv1"]
    silent = replace(model, network=Sequential(model.network.layers[:1]))
    with pytest.raises(ValueError, match="lenet5 has no noise layer"):
        _ = silent.noise_layer


def test_lenet5_is_the_network_of_its_docstring() -> None:
    shapes = {k: p.shape for k, p in flatten(lenet5().init(rng_0(0))).items()}
    assert shapes["conv1.w"] == (6, 5, 5, 1) and shapes["conv2.w"] == (16, 5, 5, 6)
    assert shapes["conv3.w"] == (120, 5, 5, 16) and shapes["fc1.w"] == (200, 120)
    assert shapes["fc2.w"] == (200, 200) and shapes["fc3.w"] == (10, 200)


def test_only_a_last_layer_may_be_joint() -> None:
    with pytest.raises(ValueError, match="only the last layer may be joint"):
        Model("early", Sequential((("fc1", Linear(3, joint=True)), ("fc2", Linear(3)))), (1, 2, 2), 3)


def test_lenet5_has_a_wider_form_and_one_with_more_noise() -> None:
    plain, wide, noisy = (models.build(f"lenet5{form}", (1, 28, 28), 10, 0.6) for form in ("", "-wide", "-noisy"))
    narrow = {k: p.shape for k, p in flatten(plain.init(rng_0(0))).items()}
    shapes = {k: p.shape for k, p in flatten(wide.init(rng_0(0))).items()}
    assert shapes.keys() == narrow.keys() and shapes["conv2.w"] == (32, 5, 5, 12) and shapes["fc2.w"] == (400, 400)
    assert shapes["fc3.w"] == (10, 400)
    assert list(sigmas.read(noisy, noisy.init(rng_0(0)))) == ["noise1", "noise2", "noise3"]
