"""Rewards for noise and the constraints on parameters."""

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient

from npsnn import models
from npsnn.layers.affine import Linear
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import COVARIANCES
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.optim import Arrays
from npsnn.reference import alignment
from npsnn.train.config import Config
from npsnn.train.updates import FLOOR, diagnostics, moved_averages, of_layer, projected, rewards

L, W = "noise.L", "fc3.w"


def features(covariance: str = "full", **options: Any) -> tuple[Config, Model, Arrays]:
    """A network with noise on 4 features, and parameters away from where they start."""
    config = Config(
        noise="features", covariance=covariance, bottleneck=4, learn_sigma=True, loss="noise-aware", **options
    )
    model = models.build("lenet5", (1, 28, 28), 5, 0.6, "features", covariance, 4)
    rng = np.random.default_rng(0)
    params = {k: p.astype(np.float64) for k, p in flatten(model.init(rng)).items()}
    params[L] = params[L] * rng.uniform(0.5, 1.5, params[L].shape)
    if covariance == "full":
        params[L] = params[L] + np.tril(0.3 * rng.normal(size=(4, 4)), -1)
    return config, model, params


def factor(model: Model, params: Arrays) -> np.ndarray:
    return model.noise[1].factor({"L": params[L]}, 4)


@pytest.mark.parametrize("pairwise", [False, True], ids=["classes", "pairs"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_rewards_of_a2snn(covariance: str, pairwise: bool) -> None:
    config, model, params = features(covariance, max_entropy=0.3, alignment=0.7, pairwise=pairwise)
    value, grads = rewards(config, model, params)
    matrix = factor(model, params)
    form, scale = (alignment.pairwise_alignment, 2 / 4) if pairwise else (alignment.weight_covariance_alignment, 1)
    assert value == pytest.approx(-0.3 * alignment.max_entropy(matrix) - 0.7 * scale * form(params[W], matrix))
    assert grads.keys() == {L, W}
    lower = np.tril(np.ones((4, 4))) if covariance == "full" else 1
    moved = {L: params[L], W: params[W]}
    check_gradient(
        lambda a: rewards(config, model, params | a | {L: a[L] * lower})[0], moved, {k: grads[k] for k in moved}
    )


def test_without_weights_there_is_no_reward() -> None:
    assert rewards(*features()) == (0.0, {})


def test_the_reward_of_the_bimodel() -> None:
    config, model = Config(learn_sigma=True, sigma_reward=0.25), models.lenet5()
    value, grads = rewards(config, model, {"noise.sigma": np.array(0.8)})
    assert value == pytest.approx(-0.25 * 0.64)
    assert grads == {"noise.sigma": pytest.approx(-0.4)}


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_factor_that_is_projected_is_safe_and_its_covariance_the_same(covariance: str) -> None:
    config, model, params = features(covariance)
    if covariance == "full":
        params[L] = params[L] * np.array([1, -1, 1, -1])  # columns flipped: the same covariance
    else:
        params[L] = params[L] * (np.array([1, -1, 1, -1]) if covariance == "diagonal" else -1)
    before = factor(model, params)
    after = factor(model, projected(config, model, params))
    np.testing.assert_allclose(after @ after.T, before @ before.T, rtol=1e-12)
    assert (np.diag(after) >= FLOOR).all() and (np.triu(after, 1) == 0).all()
    params[L] = params[L] * 0
    assert (np.diag(factor(model, projected(config, model, params))) == FLOOR).all()


def test_noise_that_is_not_learned_stays() -> None:
    _, model, params = features()
    fixed = Config(noise="features", bottleneck=4)
    params[L] = -params[L]
    np.testing.assert_array_equal(projected(fixed, model, params)[L], params[L])


def test_class_vectors_get_unit_norm_and_noise_its_cap() -> None:
    config, model, params = features(unit_classes=True, sigma_max=0.7)
    params[L] = 5 * params[L]
    after = projected(config, model, params)
    np.testing.assert_allclose(np.linalg.norm(after[W], axis=1), 1, rtol=1e-12)
    assert float(model.noise[1].level(of_layer("noise", after))) == pytest.approx(0.7)
    np.testing.assert_allclose(after[L] / after[L][0, 0], params[L] / params[L][0, 0])
    untouched = {k: p for k, p in params.items() if k not in (L, W)}
    assert all((after[k] == p).all() for k, p in untouched.items())


def test_averages_move_towards_the_statistics_and_leave_the_gradients() -> None:
    layers = (("bn", BatchNorm(momentum=0.1)), ("flatten", Flatten()), ("fc", Linear(2)))
    model = Model("m", Sequential(layers), (1, 2, 2), 2)
    params = {"bn.w": np.ones(1), "bn.running_mean": np.zeros(1), "bn.running_var": np.ones(1), "fc.w": np.ones(1)}
    grads = {"bn.w": np.full(1, 3.0), "bn.running_mean": np.full(1, 10.0), "bn.running_var": np.full(1, 2.0)}
    after, left = moved_averages(model, params, grads)
    assert after == params | {"bn.running_mean": pytest.approx(1.0), "bn.running_var": pytest.approx(1.1)}
    assert left.keys() == {"bn.w"}
    # a network that is not trained but for its noise has no statistics of a batch
    assert moved_averages(model, params, {"bn.w": np.ones(1)}) == (params, {"bn.w": np.ones(1)})


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_diagnostics(covariance: str) -> None:
    _, model, params = features(covariance)
    found = diagnostics(model, params)
    matrix, w = factor(model, params), params[W]
    S = w @ matrix @ matrix.T @ w.T
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)[np.triu_indices(5, 1)]
    assert found == {
        "trace": pytest.approx(np.trace(matrix @ matrix.T)),
        "common": pytest.approx(alignment.common_variance(S)),
        "differences": pytest.approx(alignment.difference_variance(S)),
        "cosine": pytest.approx(cosines.mean()),
    }
    assert diagnostics(models.lenet5(), {}) is None
