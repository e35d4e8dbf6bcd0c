"""Constraints keep what they promise, leave the rest, and write to none of their arguments."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import away_from_the_start, several

from npsnn import models
from npsnn.layers.affine import Linear
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import COVARIANCES, PreactivationNoise
from npsnn.layers.params import flatten, of_layer, unflatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.optim import Arrays
from npsnn.testing import check_constraint
from npsnn.train.constraints import (
    CONSTRAINTS,
    FLOOR,
    Constraint,
    PositiveSigma,
    RunningAverages,
    SafeFactor,
    SigmaCap,
    UnitClasses,
    UnitFilters,
    noisy_weights,
    safe,
)

L, W, SIGMA = "noise.L", "fc3.w", "noise.sigma"
EVERY: list[Constraint] = [
    PositiveSigma(),
    UnitFilters("l1"),
    UnitFilters("l2"),
    UnitClasses(),
    SafeFactor(),
    SigmaCap(0.1),
]


def factor(model: Model, params: Arrays) -> np.ndarray:
    return model.noise[1].factor({"L": params[L]}, 4)  # type: ignore[attr-defined]


def unchanged(before: Arrays, after: Arrays) -> set[str]:
    return {k for k in before if before[k] is after[k]}


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(-8, 1))
def test_a_safe_factor_has_the_same_covariance_and_a_positive_diagonal(size: int, seed: int, exponent: float) -> None:
    matrix = np.tril(np.random.default_rng(seed).normal(size=(size, size))) * 10**exponent
    found = safe(matrix)
    assert (np.diag(found) >= FLOOR).all() and (np.triu(found, 1) == 0).all()
    short = np.abs(np.diag(matrix)) < FLOOR
    if not short.any():
        np.testing.assert_allclose(found @ found.T, matrix @ matrix.T, rtol=1e-12)
    np.testing.assert_array_equal(np.abs(np.tril(found, -1)), np.abs(np.tril(matrix, -1)))
    np.testing.assert_array_equal(safe(found), found)


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_safe_diagonal_is_positive(size: int, seed: int) -> None:
    diagonal = np.random.default_rng(seed).normal(size=size)
    np.testing.assert_array_equal(safe(diagonal), np.maximum(np.abs(diagonal), FLOOR))
    np.testing.assert_array_equal(safe(np.array(-diagonal[0])), max(abs(diagonal[0]), FLOOR))


def test_several_sizes_are_learned_by_their_logarithms_and_capped_as_one() -> None:
    layers = (("flat", Flatten()), ("fc", Linear(2)), ("noise", PreactivationNoise(0.5, "unit")))
    model = Model("sizes", Sequential(layers), (1, 1, 2), 2)
    params = {"noise.sigma": np.array([0.5, 0.1])}
    moved, grads = PositiveSigma().before(model, params, {"noise.sigma": np.array([2.0, -3.0])})
    np.testing.assert_allclose(moved["noise.sigma"], np.log([0.5, 0.1]))
    np.testing.assert_allclose(grads["noise.sigma"], [1.0, -0.3])
    np.testing.assert_allclose(PositiveSigma().after(model, moved)["noise.sigma"], [0.5, 0.1])
    capped = SigmaCap(0.1).after(model, params)["noise.sigma"]
    np.testing.assert_allclose(capped, params["noise.sigma"] * 0.1 / np.sqrt(0.13))
    assert np.sqrt((capped**2).mean()) == pytest.approx(0.1)
    check_constraint(SigmaCap(0.1), model)
    check_constraint(PositiveSigma(), model)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_factor_of_noise_that_is_learned_is_kept_safe(covariance: str) -> None:
    model, params = away_from_the_start(covariance)
    flips = {"full": np.array([1, -1, 1, -1]), "diagonal": np.array([1, -1, 1, -1]), "scalar": -1}[covariance]
    params[L] = params[L] * flips  # columns flipped: the same covariance
    before = factor(model, params)
    held = SafeFactor().after(model, params)
    assert unchanged(params, held) == params.keys() - {L}
    after = factor(model, held)
    np.testing.assert_allclose(after @ after.T, before @ before.T, rtol=1e-12)
    assert (np.diag(after) >= FLOOR).all()
    params[L] = params[L] * 0
    assert (np.diag(factor(model, SafeFactor().begin(model, params))) == FLOOR).all()


def test_class_vectors_get_unit_norm() -> None:
    model, params = away_from_the_start()
    after = UnitClasses().after(model, params)
    np.testing.assert_allclose(np.linalg.norm(after[W], axis=1), 1, rtol=1e-12)
    assert unchanged(params, after) == params.keys() - {W}


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_filters_below_noise_get_unit_norm(norm: str, order: int) -> None:
    model = models.lenet5()
    params = flatten(model.init(np.random.default_rng(0)))
    after = UnitFilters(norm).begin(model, params)
    np.testing.assert_allclose(np.linalg.norm(after["conv1.w"].reshape(6, -1), order, axis=1), 1, rtol=1e-6)
    assert unchanged(params, after) == params.keys() - {"conv1.w"}
    with pytest.raises(ValueError, match="norm must be l1 or l2, got 'linf'"):
        UnitFilters("linf")


def test_filters_are_those_of_the_layer_right_before_the_noise() -> None:
    assert noisy_weights(models.lenet5()) == ["conv1.w"]
    layers = (("flatten", Flatten()), ("noise", PreactivationNoise(0.1)), ("fc", Linear(2)))
    model = Model("pixels", Sequential(layers), (1, 2, 2), 2)
    with pytest.raises(ValueError, match=r"pixels: the layer before the noise must have weights, got Flatten\(\)"):
        UnitFilters("l2").begin(model, flatten(model.init(np.random.default_rng(0))))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_noise_on_features_gets_its_cap(covariance: str) -> None:
    model, params = away_from_the_start(covariance)
    params[L] = 5 * params[L]
    after = SigmaCap(0.7).after(model, params)
    assert float(model.noise[1].level(of_layer("noise", after))) == pytest.approx(0.7)
    first = (0,) * params[L].ndim
    np.testing.assert_allclose(after[L] / after[L][first], params[L] / params[L][first])
    assert unchanged(params, after) == params.keys() - {L}
    np.testing.assert_allclose(SigmaCap(100.0).after(model, params)[L], params[L], rtol=1e-15)


def test_every_noise_layer_is_held() -> None:
    network = several(0.3, features=0.8)
    model, params = network.model, flatten(network.params)
    sigmas = {name for name in params if name.endswith(".sigma")}
    assert len(sigmas) > 1
    capped = SigmaCap(0.2).after(model, params)
    assert {k for k in params if (capped[k] != params[k]).any()} == {*sigmas, "features.L"}
    assert replace(network, params=unflatten(capped)).sigmas == pytest.approx(dict.fromkeys(network.sigmas, 0.2))
    inside, grads = PositiveSigma().before(model, params, {k: np.ones_like(p) for k, p in params.items()})
    assert {k for k in params if (inside[k] != params[k]).any()} == sigmas
    assert all(inside[k] == np.log(params[k]) and grads[k] == params[k] for k in sigmas)
    assert all(PositiveSigma().after(model, inside)[k] == pytest.approx(float(params[k])) for k in sigmas)
    flipped = params | {"features.L": -params["features.L"]}
    assert (np.diag(SafeFactor().after(model, flipped)["features.L"]) > 0).all()
    assert set(noisy_weights(model)) == {"conv.w", "block.body.conv.w", "bottleneck.w"}


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan"), float("inf")])
def test_a_cap_out_of_its_range_is_refused(cap: float) -> None:
    with pytest.raises(ValueError, match="cap must be > 0 and finite"):
        SigmaCap(cap)


@given(st.floats(1e-6, 1e3), st.floats(-1e3, 1e3), st.floats(-2, 2))
def test_sigma_is_stepped_by_its_logarithm(sigma: float, slope: float, move: float) -> None:
    model, params = models.lenet5(), {SIGMA: np.array(sigma), W: np.ones(2)}
    inside, grads = PositiveSigma().before(model, params, {SIGMA: np.array(slope), W: np.ones(2)})
    assert inside[SIGMA] == pytest.approx(np.log(sigma)) and grads[SIGMA] == pytest.approx(sigma * slope)
    after = PositiveSigma().after(model, inside | {SIGMA: inside[SIGMA] + move})
    assert after[SIGMA] == pytest.approx(sigma * np.exp(move), rel=1e-9) and after[SIGMA] > 0
    assert PositiveSigma().begin(model, params) == params
    assert params[SIGMA] == sigma and inside[W] is params[W]


@pytest.mark.parametrize("constraint", EVERY, ids=str)
def test_arguments_stay(constraint: Constraint) -> None:
    model: Any = models.lenet5() if not isinstance(constraint, SafeFactor) else away_from_the_start()[0]
    params = flatten(model.init(np.random.default_rng(0)))
    grads = {k: p + 1 for k, p in params.items()}
    for array in (*params.values(), *grads.values()):
        array.setflags(write=False)
    kept, wanted = dict(params), dict(grads)
    constraint.begin(model, params)
    constraint.before(model, params, grads)
    constraint.after(model, params)
    assert all(params[k] is kept[k] for k in kept | params) and all(grads[k] is wanted[k] for k in wanted | grads)


def test_constraints_are_saved_by_name() -> None:
    assert [CONSTRAINTS.decode(CONSTRAINTS.encode(c)) for c in EVERY] == EVERY


def test_averages_move_towards_the_statistics_and_leave_the_gradients() -> None:
    layers = (("bn", BatchNorm(momentum=0.1)), ("flatten", Flatten()), ("fc", Linear(2)))
    model = Model("m", Sequential(layers), (1, 2, 2), 2)
    params = {"bn.w": np.ones(1), "bn.running_mean": np.zeros(1), "bn.running_var": np.ones(1), "fc.w": np.ones(1)}
    grads = {"bn.w": np.full(1, 3.0), "bn.running_mean": np.full(1, 10.0), "bn.running_var": np.full(1, 2.0)}
    after, left = RunningAverages().before(model, params, grads)
    assert after == params | {"bn.running_mean": pytest.approx(1.0), "bn.running_var": pytest.approx(1.1)}
    assert left.keys() == {"bn.w"}
    # a network that is not trained but for its noise has no statistics of a batch
    assert RunningAverages().before(model, params, {"bn.w": np.ones(1)}) == (params, {"bn.w": np.ones(1)})
