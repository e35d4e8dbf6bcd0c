"""The rules against draws of a network, layer by layer."""

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from compared_networks import RNG, correlated, error_of, fit_of, images, made

from npsnn.audit.layerwise import RULES, layerwise
from npsnn.audit.networks import convolutional, perceptron
from npsnn.classifier import Classifier
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Layer
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import lenet5
from npsnn.ops import gaussian


def test_every_layer_from_the_noise_on_has_every_rule() -> None:
    network = convolutional(RNG(0))
    fit = layerwise(network, *images(network), draws=50)
    layers = ["noise", "pool1", "relu1", "conv2", "pool2", "relu2", "fc1", "relu3", "fc2"]
    assert [(f.layer, f.rule) for f in fit.layers] == [(layer, rule) for layer in layers for rule in RULES]
    assert list(fit.win_errors) == list(RULES)
    assert (fit.images, fit.draws, fit.refusal, fit.mean_floor) == (2, 50, "", 1 / sqrt(50))


@pytest.mark.slow
@pytest.mark.parametrize("joint", [True, False])
def test_what_is_gaussian_and_independent_fits_under_every_rule(joint: bool) -> None:
    network = made((1, 1, 12), Flatten(), Linear(8), PreactivationNoise(0.5), Linear(4, joint=joint))
    fit = layerwise(network, *images(network, 3), draws=4000)
    for f in fit.layers:
        assert f.mean_error < 2 * fit.mean_floor
        assert abs(f.sd_ratio - 1) < 0.03
    assert error_of(fit, "covariance") < 3 * fit.win_floor
    # logits taken as independent are not
    for rule in ("laplace", "linear", "exact"):
        assert (error_of(fit, rule) == pytest.approx(error_of(fit, "covariance"))) == joint
        assert joint or error_of(fit, rule) > 2 * error_of(fit, "covariance")


def test_full_covariance_is_closer_where_units_are_correlated() -> None:
    network = correlated()
    fit = layerwise(network, *images(network, 3), draws=3000)
    for layer in ("fc3", "relu3", "fc4"):
        assert abs(fit_of(fit, layer, "covariance")[1] - 1) < 0.05
        assert fit_of(fit, layer, "exact")[1] < 0.6
        assert fit_of(fit, layer, "covariance")[0] < 0.06
        assert fit_of(fit, layer, "laplace")[0] > 0.3
    assert error_of(fit, "covariance") < 0.5 * error_of(fit, "exact")


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers",
    [
        # rows and columns left over, strides, padding, channels: all orders of the units matter
        (Conv2d(3, 3, padding=1), MaxPool(2), ReLU(), Conv2d(4, 3, stride=2, padding=1), ReLU(), MaxPool(3), Flatten()),
        (MeanPool(2), ReLU(), Conv2d(3, 2), MeanPool(2), MaxPool(2), ReLU(), Flatten(), Linear(6), ReLU()),
        (ReLU(), Flatten(), Linear(9), ReLU()),
        (PReLU(), Conv2d(4, 3), PReLU(), MaxPool(2), BatchNorm(), Flatten(), Linear(6), PReLU()),
    ],
    ids=["conv", "mean", "linear", "prelu"],
)
def test_small_noise_passes_any_network_as_through_its_slopes(layers: tuple[Layer, ...]) -> None:
    first = (Normalise((0.4, 0.5), (0.3, 0.2)), Conv2d(3, 3, padding=1), PreactivationNoise(1e-4))
    network = made((2, 13, 11), *first, *layers, Linear(4, joint=True))
    fit = layerwise(network, *images(network), draws=1500)
    for f in fit.layers:
        if f.rule == "covariance":
            assert f.mean_error < 2 * fit.mean_floor, f
            assert abs(f.sd_ratio - 1) < 0.06, f


def test_the_full_covariance_of_leaky_units_is_that_of_the_draws() -> None:
    """Correlated ones, with slopes of either side of 1, where the exact rule of independent units is not."""
    first = (Flatten(), Linear(30), PreactivationNoise(0.8), PReLU(), Linear(20), BatchNorm())
    network = made((1, 1, 10), *first, PReLU(), Linear(4))
    slopes = {"prelu3": RNG(5).uniform(-0.2, 1.5, 30), "prelu6": RNG(6).uniform(-0.2, 0.9, 20)}
    wide = {name: network.params[name] | {"w": network.params[name]["w"] + 0.3} for name in ("linear4", "linear7")}
    scales = {"batchnorm5": network.params["batchnorm5"] | {"w": RNG(7).uniform(-0.4, 2, 20)}}
    params = network.params | {name: {"slope": s} for name, s in slopes.items()} | wide | scales
    network = replace(network, params=params)
    fit = layerwise(network, *images(network, 3), draws=4000)
    assert fit.refusal == ""
    for f in fit.layers:
        if f.rule == "covariance":
            assert f.mean_error < 2.5 * fit.mean_floor, f
            assert abs(f.sd_ratio - 1) < 0.04, f
    assert fit_of(fit, "linear7", "exact")[1] < 0.7


def test_a_residual_block_has_no_full_covariance_but_every_rule() -> None:
    block = Residual(Sequential((("conv", Conv2d(2, 3, padding=1)), ("relu", ReLU()))), Sequential(()))
    network = made((2, 6, 6), Conv2d(2, 3, padding=1), PreactivationNoise(0.3), ReLU(), block, Flatten(), Linear(4))
    fit = layerwise(network, *images(network, 1), draws=50)
    assert fit.refusal == "residual3 is a Residual, through which no full covariance is computed"
    assert {f.rule for f in fit.layers} == {"laplace", "linear", "exact"}


@pytest.mark.slow
def test_the_full_covariance_of_several_noises_is_that_of_the_draws() -> None:
    """Linear maps of noise are Gaussian; a rule that takes units as independent is not right about the second layer."""
    layers = (Flatten(), Linear(8), PreactivationNoise(0.9), Linear(6), PreactivationNoise(0.1))
    network = made((1, 1, 12), *layers, FeatureNoise(0.1), Linear(4, joint=True))
    fit = layerwise(network, *images(network, 3), draws=4000)
    assert fit.refusal == "" and {f.layer for f in fit.layers if f.layer != "flatten0"} == {
        "preactivationnoise2",
        "linear3",
        "preactivationnoise4",
        "featurenoise5",
        "linear6",
    }
    for f in fit.layers:
        assert f.mean_error < 2 * fit.mean_floor, f
        assert abs(f.sd_ratio - 1) < 0.03 or (f.layer == "linear6" and f.rule != "covariance"), f
    assert error_of(fit, "covariance") < 3 * fit.win_floor < error_of(fit, "exact")


def test_noise_in_a_block_is_compared_under_every_rule() -> None:
    block = Residual(
        Sequential((("conv", Conv2d(2, 3, padding=1)), ("noise", PreactivationNoise(0.3)))), Sequential(())
    )
    network = made((2, 6, 6), Conv2d(2, 3), ReLU(), block, PreactivationNoise(0.2), Flatten(), Linear(4))
    fit = layerwise(network, *images(network, 1), draws=4000)
    assert fit.refusal == "residual2 is a Residual, through which no full covariance is computed"
    for layer in ("residual2", "preactivationnoise3"):
        for rule in ("laplace", "linear", "exact"):
            mean_error, sd_ratio = fit_of(fit, layer, rule)
            assert mean_error < 2 * fit.mean_floor and abs(sd_ratio - 1) < 0.03


def test_a_noise_that_is_off_before_one_that_is_not_changes_nothing() -> None:
    layers = (Flatten(), Linear(8), PreactivationNoise(0.0), ReLU(), Linear(6), PreactivationNoise(0.5), Linear(4))
    network = made((1, 1, 12), *layers)
    fit = layerwise(network, *images(network), draws=2000)
    assert {fit_of(fit, layer, rule) for layer in ("relu3", "linear4") for rule in RULES} == {(0.0, 1.0)}
    assert all(abs(fit_of(fit, "linear6", rule)[1] - 1) < 0.05 for rule in RULES)


def test_moderate_noise_in_a_convolutional_network() -> None:
    network = convolutional(RNG(4), sigma=0.4)
    fit = layerwise(network, *images(network, 3), draws=3000)
    for f in fit.layers:
        if f.rule == "covariance":
            assert f.mean_error < 0.12, f
            assert abs(f.sd_ratio - 1) < 0.12, f
    assert error_of(fit, "covariance") < error_of(fit, "laplace")


@pytest.mark.slow
def test_an_untrained_lenet5() -> None:
    model = lenet5(sigma=0.6)
    network = Classifier(model, model.init(RNG(0)), threads=1)
    x = RNG(1).random((1, 1, 28, 28), np.float32)
    fit = layerwise(network, x, np.array([3]), draws=400)
    mean_error, sd_ratio = fit_of(fit, "fc3", "laplace")
    assert mean_error > 1
    assert sd_ratio > 3
    for rule in ("exact", "covariance"):
        mean_error, sd_ratio = fit_of(fit, "fc3", rule)
        assert mean_error < 0.2
        assert 0.8 < sd_ratio < 1.1
    assert error_of(fit, "covariance") < 0.1 * error_of(fit, "laplace")


@pytest.mark.parametrize(
    ("layer", "broken"),
    [
        ("relu1", {"rectify": lambda mean, var: (gaussian.rectified_moments(mean, var)[0], 1.3 * var, None)}),
        ("relu1", {"rectify": lambda mean, var: gaussian.rectified_laplace(mean, var)}),
        ("pool1", {"maximum": lambda m1, v1, m2, v2: gaussian.maximum_winner(m1, v1, m2, v2)}),
    ],
    ids=["variance", "laplace", "winner"],
)
def test_a_broken_exact_rule_is_noticed(monkeypatch: pytest.MonkeyPatch, layer: str, broken: dict[str, Any]) -> None:
    network = perceptron(RNG(0), sigma=0.6) if layer == "relu1" else convolutional(RNG(0), sigma=0.6)
    x, labels = images(network)
    right = layerwise(network, x, labels, draws=600)
    monkeypatch.setitem(gaussian.RULES, "exact", replace(gaussian.EXACT, **broken))
    wrong = layerwise(network, x, labels, draws=600)
    mean_error, sd_ratio = fit_of(right, layer, "exact")
    assert mean_error < 2 * right.mean_floor
    assert abs(sd_ratio - 1) < 0.06
    mean_error, sd_ratio = fit_of(wrong, layer, "exact")
    assert max(mean_error / (4 * right.mean_floor), abs(sd_ratio - 1) / 0.15) > 1
    assert fit_of(wrong, layer, "covariance") == fit_of(right, layer, "covariance")
