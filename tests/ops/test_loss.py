"""Losses of logits against loops and mpmath, their gradients against finite differences, and their limits."""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen, variances

from npsnn.ops import loss
from npsnn.ops.sure import FAINT
from npsnn.reference import loss as reference
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(2, 6), st.integers(1, 4))  # classes, N
FORMS = {"independent": False, "covariance": True}
each_form = pytest.mark.parametrize("joint", FORMS.values(), ids=list(FORMS))
with_variance = pytest.mark.parametrize("f", [loss.win_probability, loss.log_win_probability])


def values(seed: int, sizes: tuple[int, ...], joint: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean (C, N), var (C, N) or a positive definite (C, C, N), labels (N,)."""
    rng = np.random.default_rng(seed)
    classes, batch = sizes
    var = variances(rng, sizes)
    if joint:
        a = rng.normal(size=(classes, classes, batch))
        var = np.einsum("ijn,kjn->ikn", a, a) / classes + 0.2 * np.eye(classes)[:, :, None]
    return rng.normal(size=sizes), var, rng.integers(classes, size=batch)


def each_example(f: Callable[..., Any], mean: np.ndarray, var: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([f(mean[:, n], var[..., n], int(k)) for n, k in enumerate(labels)])


@given(SEEDS, SIZES)
def test_plain_losses(seed: int, sizes: tuple[int, ...]) -> None:
    mean, _, labels = values(seed, sizes)
    for f, want in ((loss.squared_error, reference.mse), (loss.cross_entropy, reference.cross_entropy)):
        value, dmean = f(mean, labels)
        np.testing.assert_allclose(value, [want(mean[:, n], k) for n, k in enumerate(labels)], rtol=1e-12)
        check_gradient(lambda a, f=f: f(a["mean"], labels)[0].sum(), {"mean": mean}, {"mean": dmean})


@given(SEEDS, SIZES)
def test_soft_labels(seed: int, sizes: tuple[int, ...]) -> None:
    mean, _, labels = values(seed, sizes)
    t = np.random.default_rng(seed).random(sizes)
    value, dmean = loss.soft_cross_entropy(frozen(mean), frozen(t))
    p = np.exp(mean) / np.exp(mean).sum(axis=0)
    np.testing.assert_allclose(value, -(t * np.log(p)).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(dmean.sum(axis=0), 0, atol=1e-14)
    check_gradient(lambda a: loss.soft_cross_entropy(a["mean"], t)[0].sum(), {"mean": mean}, {"mean": dmean})
    hard = loss.soft_cross_entropy(mean, loss.one_hot(mean, labels))
    for ours, theirs in zip(hard, loss.cross_entropy(mean, labels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


def test_soft_labels_of_sure_answers_keep_their_gradient() -> None:
    sure = np.array([[50.0], [0.0]])
    _, dmean = loss.soft_cross_entropy(sure, np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(dmean[:, 0], [-np.exp(-50), np.exp(-50)], rtol=1e-12)
    far = loss.soft_cross_entropy(np.array([[0], [1000]], np.float32), np.array([[1], [0]], np.float32))
    assert (far[0] == 1000).all() and (far[1][:, 0] == [-1, 1]).all() and far[1].dtype == np.float32


@given(SEEDS, SIZES)
def test_squared_distance(seed: int, sizes: tuple[int, ...]) -> None:
    mean, other = values(seed, sizes)[0], values(seed + 1, sizes)[0]
    value, by_mean, by_other = loss.squared_distance(frozen(mean), frozen(other))
    np.testing.assert_allclose(value, ((mean - other) ** 2).sum(axis=0), rtol=1e-12)
    arrays, found = {"mean": mean, "other": other}, {"mean": by_mean, "other": by_other}
    check_gradient(lambda a: loss.squared_distance(a["mean"], a["other"])[0].sum(), arrays, found)


@given(SEEDS, SIZES)
def test_divergence(seed: int, sizes: tuple[int, ...]) -> None:
    mean, other = values(seed, sizes)[0], values(seed + 1, sizes)[0]
    value, by_mean, by_other = loss.divergence(frozen(mean), frozen(other))
    p, q = (np.exp(z) / np.exp(z).sum(axis=0) for z in (mean, other))
    np.testing.assert_allclose(value, (p * np.log(p / q)).sum(axis=0), rtol=1e-11, atol=1e-14)
    arrays, found = {"mean": mean, "other": other}, {"mean": by_mean, "other": by_other}
    check_gradient(lambda a: loss.divergence(a["mean"], a["other"])[0].sum(), arrays, found)


def test_divergence_of_sure_answers_is_finite() -> None:
    sure, unsure = np.array([[2000.0], [0.0]]), np.zeros((2, 1))
    value, by_mean, by_other = loss.divergence(sure, unsure)
    assert value == np.log(2) and (by_mean == 0).all() and (by_other == [[-0.5], [0.5]]).all()
    value, by_mean, by_other = loss.divergence(unsure, sure)
    assert value == 1000 - np.log(2) and (by_mean == [[-500], [500]]).all() and (by_other == [[0.5], [-0.5]]).all()


@given(SEEDS, SIZES)
def test_values_with_variance(seed: int, sizes: tuple[int, ...]) -> None:
    mean, var, labels = values(seed, sizes)
    won = loss.squared_error(mean, labels)[0] - each_example(reference.noise_aware, mean, var, labels)
    np.testing.assert_allclose(loss.win_probability(mean, var, labels)[0], won, rtol=1e-11, atol=1e-13)
    surprise = each_example(reference.surprise, mean, var, labels)
    np.testing.assert_allclose(loss.log_win_probability(mean, var, labels)[0], -surprise, rtol=1e-11, atol=1e-13)


@given(SEEDS, SIZES)
def test_values_with_covariance(seed: int, sizes: tuple[int, ...]) -> None:
    mean, var, labels = values(seed, sizes, joint=True)
    won = loss.squared_error(mean, labels)[0] - each_example(reference.noise_aware_covariance, mean, var, labels)
    np.testing.assert_allclose(loss.win_probability(mean, var, labels)[0], won, rtol=1e-10, atol=1e-13)
    surprise = each_example(reference.surprise, mean, var, labels)
    np.testing.assert_allclose(loss.log_win_probability(mean, var, labels)[0], -surprise, rtol=1e-10, atol=1e-13)


@each_form
@with_variance
@given(SEEDS, SIZES)
def test_gradients(joint: bool, f: Callable[..., Any], seed: int, sizes: tuple[int, ...]) -> None:
    mean, var, labels = values(seed, sizes, joint)
    _, dmean, dvar = f(mean, var, labels)
    assert dvar.shape == var.shape
    if not joint:
        arrays, gradients = {"mean": mean, "var": var}, {"mean": dmean, "var": dvar}
        check_gradient(lambda a: f(a["mean"], a["var"], labels)[0].sum(), arrays, gradients)
        return

    def symmetric(half: np.ndarray) -> np.ndarray:
        return half + half.transpose(1, 0, 2)

    arrays, gradients = {"mean": mean, "half": var / 2}, {"mean": dmean, "half": symmetric(dvar)}
    check_gradient(lambda a: f(a["mean"], symmetric(a["half"]), labels)[0].sum(), arrays, gradients)


@given(SEEDS, SIZES)
def test_diagonal_covariance_is_independence(seed: int, sizes: tuple[int, ...]) -> None:
    mean, var, labels = values(seed, sizes)
    covariance = np.eye(sizes[0])[:, :, None] * var
    for f in (loss.win_probability, loss.log_win_probability):
        value, dmean, dvar = f(mean, var, labels)
        value_joint, dmean_joint, dvar_joint = f(mean, covariance, labels)
        np.testing.assert_allclose(value_joint, value, rtol=1e-13)
        np.testing.assert_allclose(dmean_joint, dmean, rtol=1e-13)
        np.testing.assert_allclose(np.einsum("iin->in", dvar_joint), dvar, rtol=1e-13)


@pytest.mark.parametrize("u", [-40.0, -200.0, -9.0, -1.0, 0.0, 3.0, 9.0, 37.0, 40.0])
def test_log_win_probability_in_the_tails(u: float) -> None:
    mean, var = np.array([[0.0], [u]]), np.full((2, 1), 0.5)
    value, dmean, dvar = loss.log_win_probability(mean, var, np.array([1]))
    with mp.workdps(1000):  # enough for 1 - 1e-350
        p = mp.erfc(-mp.mpf(u) / mp.sqrt(2)) / 2
        want, slope = float(mp.log(p)), float(mp.npdf(u) / p)
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-300)
    faint = float(mp.exp(-FAINT))  # to which a gradient is raised that would be lost
    np.testing.assert_allclose(dmean[:, 0], [-slope, slope], rtol=1e-12, atol=faint)
    np.testing.assert_allclose(dvar[:, 0], -u * slope / 2, rtol=1e-12, atol=u * faint if u > 0 else 0)
    assert dmean[0, 0] < 0 < dmean[1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("u", [-1e4, -40, -14, 12, 14, 40, 1e4])
def test_far_tails_are_finite_in_both_precisions(dtype: type, u: float) -> None:
    mean, var, labels = np.array([[0], [u]], dtype), np.full((2, 1), 0.5, dtype), np.array([1])
    for f in (loss.win_probability, loss.log_win_probability):
        for a in f(mean, var, labels):
            assert np.isfinite(a).all()


def test_cross_entropy_of_a_sure_prediction_keeps_its_gradient() -> None:
    value, dmean = loss.cross_entropy(np.array([[50.0], [0.0], [-1000.0]]), np.array([0]))
    np.testing.assert_allclose(value, 0, atol=1e-15)
    np.testing.assert_allclose(dmean[:, 0], [-np.exp(-50), np.exp(-50), 0], rtol=1e-12)
    value, dmean = loss.cross_entropy(np.array([[0.0], [1000.0]]), np.array([0]))
    assert value == 1000 and (dmean[:, 0] == [-1, 1]).all()


def limit_case(dtype: type, joint: bool, zero: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label 0 wins against 1, ties with 2 and loses to 3."""
    mean = np.array([[0.5], [0.2], [0.5], [0.9]], dtype)
    return mean, np.full((4, 4, 1) if joint else (4, 1), zero, dtype), np.array([0])


@each_form
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_variance_a_comparison_is_decided(joint: bool, dtype: type) -> None:
    mean, var, labels = limit_case(dtype, joint, 0)
    value, dmean, dvar = loss.win_probability(mean, var, labels)
    assert value == dtype((1 + 0.5 + 0) / 3)
    assert (dmean == 0).all() and (dvar == 0).all() and dvar.shape == var.shape
    value, dmean, dvar = loss.win_probability(mean, None, labels)
    assert value == dtype((1 + 0.5 + 0) / 3) and (dmean == 0).all() and dvar is None


@each_form
def test_logarithms_of_decided_comparisons(joint: bool) -> None:
    mean, var, labels = limit_case(np.float64, joint, 0)
    for rows, want in ([0, 1], 0), ([0, 2], np.log(0.5)), ([0, 1, 2], np.log(0.5)), ([0, 3], -np.inf):
        part = var[np.ix_(rows, rows)] if joint else var[rows]
        value, dmean, dvar = loss.log_win_probability(mean[rows], part, labels)
        assert value == want and (dmean == 0).all() and (dvar == 0).all()


@pytest.mark.parametrize(("dtype", "tiny"), [(np.float32, 1e-30), (np.float32, 1e-44), (np.float64, 1e-320)])
def test_win_probability_of_a_tiny_variance_is_near_the_limit(dtype: type, tiny: float) -> None:
    mean, var, labels = limit_case(dtype, joint=False, zero=tiny)
    value, dmean, dvar = loss.win_probability(mean, var, labels)
    np.testing.assert_allclose(value, 0.5, rtol=1e-6)
    assert np.isfinite(dmean).all() and np.isfinite(dvar).all()
    assert dmean[1] == dmean[3] == 0  # only the tie still moves


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_form
def test_precision_stays_and_no_argument_is_written(joint: bool, dtype: type) -> None:
    mean, var, labels = values(3, (5, 4), joint)
    mean, var, labels = frozen(mean.astype(dtype)), frozen(var.astype(dtype)), frozen(labels)
    found = [*loss.squared_error(mean, labels), *loss.cross_entropy(mean, labels), loss.one_hot(mean, labels)]
    found += [*loss.win_probability(mean, var, labels), *loss.win_probability(mean, None, labels)[:2]]
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_form
def test_log_win_probability_keeps_the_precision_and_its_arguments(joint: bool, dtype: type) -> None:
    mean, var, labels = values(3, (5, 4), joint)
    found = loss.log_win_probability(frozen(mean.astype(dtype)), frozen(var.astype(dtype)), frozen(labels))
    assert [a.dtype for a in found] == [np.dtype(dtype)] * 3
