"""The noise that smooths a network: which layer's it is, its size, and what is refused."""

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from small_networks import convolutional, linear, on_features, several

from npsnn import models
from npsnn.certify import convolution_bound, smoothing, with_noisy_images
from npsnn.classifier import Classifier
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.layers.affine import Normalise
from npsnn.layers.containers import Residual
from npsnn.layers.moments import Sampled
from npsnn.models import Model
from npsnn.streams import Stream

SHAPE = (2, 3, 4)


def made(*layers: tuple[str, Any]) -> Classifier:
    model = Model("made", Sequential((*layers, ("flatten", Flatten()), ("fc", Linear(3)))), SHAPE, 3)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1).astype(np.float64)


def test_noise_after_a_convolution_is_worth_its_size_over_the_norm() -> None:
    found = smoothing(convolutional(0.3))
    w = found.network.params["conv"]["w"]
    assert found.path == "noise" and found.sigma == pytest.approx(0.3, abs=1e-7)
    assert found.norm == convolution_bound(w, (3, 4), 1, 1)
    assert found.unit == found.sigma / found.norm
    np.testing.assert_allclose(
        found.radius([0.2, 0.5, 0.7, 0.999]), found.unit * np.array([0, 0, *ndtri([0.7, 0.999])])
    )


def test_the_size_is_the_number_that_is_drawn_with_not_its_shortest_decimal() -> None:
    network = models.lenet5(sigma=0.7)
    found = smoothing(Classifier(network, network.init(np.random.default_rng(0))))
    assert found.sigma == float(np.float32(0.7)) < 0.7


def test_noise_on_the_images_has_norm_1_and_normalised_ones_the_norm_of_that() -> None:
    assert smoothing(made(("first", PreactivationNoise(0.2)))).norm == 1
    normalised = made(("normalise", Normalise((0.5, 0.5), (0.5, 0.25))), ("first", PreactivationNoise(0.2)))
    assert smoothing(normalised).norm == pytest.approx(4, rel=1e-8)


def test_layers_before_the_noise_multiply() -> None:
    layers = (("conv", Conv2d(4, 3, padding=1)), ("relu", ReLU()), ("conv2", Conv2d(3, 2)))
    network = made(*layers, ("noise", PreactivationNoise(0.4)))
    bounds = [convolution_bound(network.params[name]["w"], (3, 4), 1, p) for name, p in (("conv", 1), ("conv2", 0))]
    assert smoothing(network).norm == pytest.approx(np.prod(bounds))


def test_the_first_noise_that_draws_smooths() -> None:
    assert smoothing(several(0.3)).path == "noise"
    network = made(("off", PreactivationNoise(0.0)), ("conv", Conv2d(4, 3)), ("on", PreactivationNoise(0.2)))
    found = smoothing(network)
    assert found.path == "on" and found.norm == convolution_bound(network.params["conv"]["w"], (3, 4))


def test_of_several_sizes_the_smallest_counts_and_a_shared_draw_is_refused() -> None:
    network = made(("noise", PreactivationNoise(0.4, "unit")))
    network.params["noise"]["sigma"][1, 2, 3] = 0.125
    assert smoothing(network).sigma == 0.125
    shared = made(("noise", PreactivationNoise(0.4)), ("later", PreactivationNoise(0.1, shared=True)))
    with pytest.raises(ValueError, match="noise of later has one draw for all examples of a batch: votes must be"):
        smoothing(shared)
    assert smoothing(shared.with_sigma({"later": 0.0})).sigma == pytest.approx(0.4)
    assert smoothing(shared.with_sigma(0), 0.25).sigma == 0.25


def test_a_sigma_adds_noise_to_the_images_before_all_other_noise() -> None:
    x = np.random.default_rng(0).random((5, *SHAPE))
    for network in (convolutional(), on_features(), several(), linear(0.0)):
        found = smoothing(network, 0.25)
        assert (found.path, found.sigma, found.norm, found.unit) == ("smoothing", 0.25, 1.0, 0.25)
        stream = Stream(3)
        noise = stream.at("smoothing").normal(np.empty((3, 2, 4, 5)))
        noisy = x + 0.25 * noise.transpose(3, 1, 0, 2)
        ours = found.network.scores(x, Sampled(stream)).mean
        np.testing.assert_allclose(ours, network.scores(noisy, Sampled(stream)).mean, rtol=1e-9, atol=1e-12)


def test_a_sigma_for_a_network_whose_noise_is_off_leaves_that_off() -> None:
    x = np.random.default_rng(0).random((5, *SHAPE))
    network = several(features=0.4).with_sigma(0)
    found = smoothing(network, 0.25)
    noise = Stream(3).at("smoothing").normal(np.empty((3, 2, 4, 5)))
    noisy = x + 0.25 * noise.transpose(3, 1, 0, 2)
    ours, theirs = (c.scores(v, Sampled(Stream(3))).mean for c, v in ((found.network, x), (network, noisy)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_averaged_answers_divide_the_radius() -> None:
    """K draws are one draw in a space of K copies, in which two images are √K times as far apart."""
    assert smoothing(convolutional().averaging(4)).unit == pytest.approx(smoothing(convolutional()).unit / 2)


def test_weights_of_0_certify_any_radius() -> None:
    network = made(("conv", Conv2d(4, 3)), ("noise", PreactivationNoise(0.2)))
    network = replace(network, params=network.params | {"conv": {k: 0 * p for k, p in network.params["conv"].items()}})
    found = smoothing(network)
    assert found.unit == inf and list(found.radius([0.4, 0.6])) == [0, inf]


def test_what_cannot_be_certified_is_refused_with_the_reason() -> None:
    body = Residual(Sequential((("noise", PreactivationNoise(0.2)),)), Sequential(()))
    refused = [
        (on_features(), "noise of noise cannot be certified .noise on the features has a covariance of its own"),
        (made(("conv", Conv2d(4, 3))), "noise of made draws nothing"),
        (convolutional().with_sigma(0), "noise of convolutional is off"),
        (made(("block", body)), "noise inside of another layer"),
    ]
    for network, said in refused:
        with pytest.raises(ValueError, match=f"{said}.*give a sigma"):
            smoothing(network)
        assert smoothing(network, 0.5).unit == 0.5


@pytest.mark.parametrize("sigma", [0, -0.1, float("nan"), float("inf"), True])
def test_a_sigma_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be"):
        smoothing(convolutional(), sigma)


def test_noise_on_the_images_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma must be None"):
        smoothing(with_noisy_images(convolutional(), 0.2), 0.2)
