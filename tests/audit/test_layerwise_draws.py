"""How a network is compared with its draws: by the seed, on the CPU, within limits, or not at all."""

from dataclasses import replace

import numpy as np
import pytest
from compared_networks import RNG, correlated, error_of, fit_of, images, made

from npsnn.audit import full_covariance
from npsnn.audit import layerwise as audited
from npsnn.audit.layerwise import RULES, layerwise
from npsnn.audit.networks import convolutional
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.pool import MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import with_feature_noise


def test_the_seed_decides_and_the_threads_do_not() -> None:
    network = convolutional(RNG(0))
    x, labels = images(network, 3)
    one = layerwise(network, x, labels, draws=40, seed=7)
    assert layerwise(replace(network, threads=3), x, labels, draws=40, seed=7) == one
    assert layerwise(network, x, labels, draws=40, seed=8) != one


def test_each_image_has_its_own_draws_and_a_perfect_rule_errs_by_the_floors() -> None:
    network = made((1, 1, 12), Flatten(), Linear(8), PreactivationNoise(0.5), Linear(4, joint=True))
    x, labels = images(network, 1)
    alone = layerwise(network, x, labels, draws=200)
    twice = layerwise(network, np.repeat(x, 40, axis=0), np.repeat(labels, 40), draws=200)
    assert fit_of(alone, "linear3", "exact") != pytest.approx(fit_of(twice, "linear3", "exact"), rel=1e-6)
    assert fit_of(twice, "linear3", "exact")[0] == pytest.approx(twice.mean_floor, rel=0.2)
    assert error_of(twice, "covariance") == pytest.approx(twice.win_floor, rel=0.25)


def test_draws_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    network = correlated()
    x, labels = images(network)
    one = layerwise(network, x, labels, draws=100)
    monkeypatch.setattr(audited, "AT_ONCE", 24 * 7)
    many = layerwise(network, x, labels, draws=100)
    for f, g in zip(one.layers, many.layers, strict=True):
        assert (f.mean_error, f.sd_ratio) == pytest.approx((g.mean_error, g.sd_ratio), rel=1e-10)
    assert one.win_errors == pytest.approx(many.win_errors)


def test_single_precision_gives_the_same_figures() -> None:
    network = correlated()
    x, labels = images(network)
    fit, single = layerwise(network, x, labels, draws=60), layerwise(network.astype(np.float32), x, labels, draws=60)
    for f, g in zip(fit.layers, single.layers, strict=True):
        assert (f.mean_error, f.sd_ratio) == pytest.approx((g.mean_error, g.sd_ratio), rel=1e-4)


@pytest.mark.usefixtures("cupy")
def test_a_network_on_a_gpu_is_compared_on_the_cpu() -> None:
    network = correlated()
    x, labels = images(network)
    assert layerwise(network.to("cuda"), x, labels, draws=20) == layerwise(network, x, labels, draws=20)


def test_a_network_that_does_not_move_fits() -> None:
    network = correlated()
    params = {name: {k: 0 * p if k == "w" else p for k, p in layer.items()} for name, layer in network.params.items()}
    fit = layerwise(replace(network, params=params), *images(network), draws=20)
    for rule in RULES:
        assert fit_of(fit, "fc4", rule) == (0, 1)
        assert error_of(fit, rule) == 0
    assert fit.win_floor == 0


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MOST_UNITS", "conv2 has 64 units, and a full covariance is computed for at most 40"),
        ("LARGEST_MATRIX", "conv2 has a matrix of 64 by 75, the largest is of 40"),
    ],
)
def test_a_covariance_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str, reason: str) -> None:
    monkeypatch.setattr(full_covariance, limit, 40)
    network = convolutional(RNG(0))
    fit = layerwise(network, *images(network), draws=20)
    assert fit.refusal.startswith(reason)
    assert fit.win_errors["covariance"] is None
    assert {f.rule for f in fit.layers} == {"laplace", "linear", "exact"}
    assert error_of(fit, "exact") >= 0


def test_only_the_layers_that_need_it_are_limited() -> None:
    # 5400 units carry the noise, but they are independent
    network = made((1, 30, 30), Conv2d(6, 1), PreactivationNoise(0.5), MeanPool(5), ReLU(), Flatten(), Linear(4))
    fit = layerwise(network, *images(network, 1), draws=300)
    assert fit.refusal == ""
    assert abs(fit_of(fit, "linear5", "covariance")[1] - 1) < 0.15


def test_what_cannot_be_compared_is_refused() -> None:
    network = convolutional(RNG(0))
    x, labels = images(network)
    with pytest.raises(ValueError, match="the noise is off: sigma is 0 in the layer noise"):
        layerwise(network.with_sigma(0), x, labels)
    features = with_feature_noise(network.model, 0.5)
    with pytest.raises(ValueError, match="the noise is on the features: its closed form is exact"):
        layerwise(Classifier(features, features.init(RNG(0))), x, labels)
    with pytest.raises(ValueError, match="images must have the shape"):
        layerwise(network, x[:, :, 1:], labels)
    with pytest.raises(ValueError, match="images must be at least one"):
        layerwise(network, x[:0], labels[:0])
    with pytest.raises(ValueError, match="labels must be"):
        layerwise(network, x, labels + 4)
    with pytest.raises(ValueError, match="draws must be >= 2, got 1"):
        layerwise(network, x, labels, draws=1)
    two = made((1, 4, 4), Flatten(), PreactivationNoise(0.1), Linear(4), PreactivationNoise(0.1)).with_sigma(0)
    with pytest.raises(ValueError, match="sigma is 0 in the layers preactivationnoise1, preactivationnoise3, there"):
        layerwise(two, *images(two))
    silent = made((1, 4, 4), Flatten(), Linear(4))
    with pytest.raises(ValueError, match="has no noise layer"):
        layerwise(silent, *images(silent))
