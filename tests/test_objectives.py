"""Objectives against loops and against draws; the papers' signs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen, variances

from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.noise import PreactivationNoise
from npsnn.objectives import (
    MARGINS,
    OBJECTIVES,
    cross_entropy,
    expected_cross_entropy,
    largest_stationary_sigma,
    losses,
    noise_aware,
    sigma_reward,
)
from npsnn.ops.linear import joint_covariance
from npsnn.reference import loss as reference
from npsnn.reference import montecarlo
from npsnn.testing.gradients import Arrays, check_gradient

SIZES = st.tuples(st.integers(2, 5), st.integers(1, 4))  # classes, N
DRAWS = 400_000


def logits(seed: int, sizes: tuple[int, ...], kind: str) -> tuple[Moments, np.ndarray]:
    """Moments of the logits with variances, a covariance or neither, and labels."""
    rng = np.random.default_rng(seed)
    mean, labels = rng.normal(size=sizes), rng.integers(sizes[0], size=sizes[1])
    if kind == "plain":
        return Moments(mean), labels
    if kind == "independent":
        return Moments(mean, variances(rng, sizes)), labels
    w, v = rng.normal(size=(sizes[0], sizes[0] + 1)), variances(rng, (sizes[0] + 1, sizes[1]))
    return Moments(mean, joint_covariance(v, w)), labels


def examples(f: Callable[..., Any], m: Moments, labels: np.ndarray) -> list[float]:
    return [f(m.mean[:, n], None if m.var is None else m.var[..., n], int(k)) for n, k in enumerate(labels)]


def symmetric(half: np.ndarray) -> np.ndarray:
    return half + half.transpose(1, 0, 2)


WANTED = {
    ("noise-aware", "independent"): reference.noise_aware,
    ("noise-aware", "covariance"): reference.noise_aware_covariance,
    ("noise-aware", "plain"): lambda mu, _, k: reference.noise_aware(mu, 0 * mu, k),
    ("win-probability", "independent"): reference.surprise,
    ("win-probability", "covariance"): reference.surprise,
    ("mse", "independent"): lambda mu, _, k: reference.mse(mu, k),
    ("mse", "plain"): lambda mu, _, k: reference.mse(mu, k),
    ("cross-entropy", "covariance"): lambda mu, _, k: reference.cross_entropy(mu, k),
    ("cross-entropy", "plain"): lambda mu, _, k: reference.cross_entropy(mu, k),
}


@pytest.mark.parametrize(("name", "kind"), list(WANTED), ids=["-".join(key) for key in WANTED])
@given(SEEDS, SIZES)
def test_values_and_gradients(name: str, kind: str, seed: int, sizes: tuple[int, ...]) -> None:
    m, labels = logits(seed, sizes, kind)
    value, cotangent = OBJECTIVES[name](m, labels)
    np.testing.assert_allclose(value, examples(WANTED[name, kind], m, labels), rtol=1e-10, atol=1e-12)

    def f(a: Arrays) -> float:
        var = symmetric(a["half"]) if "half" in a else a.get("var", m.var)
        return OBJECTIVES[name](Moments(a["mean"], var), labels)[0].sum()

    arrays, gradients = {"mean": m.mean}, {"mean": cotangent.mean}
    if kind == "independent":
        arrays, gradients = arrays | {"var": m.var}, gradients | {"var": cotangent.var}
    if kind == "plain":
        assert cotangent.var is None
    if kind == "covariance" and cotangent.var is not None:
        arrays, gradients = arrays | {"half": m.var / 2}, gradients | {"half": symmetric(cotangent.var)}
    check_gradient(f, arrays, gradients)


@given(SEEDS, SIZES)
def test_difference_form_through_the_last_layer(seed: int, sizes: tuple[int, ...]) -> None:
    """N21 as the paper's Sec. 2.2 would have it without independence, with the layer below's own variances."""
    rng = np.random.default_rng(seed)
    m, labels = logits(seed, sizes, "plain")
    w, v = rng.normal(size=(sizes[0], 3)), variances(rng, (3, sizes[1]))
    value, _ = noise_aware(Moments(m.mean, joint_covariance(v, w)), labels)
    want = [reference.noise_aware_difference(m.mean[:, n], w, v[:, n], int(k)) for n, k in enumerate(labels)]
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", range(5))
def test_the_derived_sign_agrees_with_draws_and_the_printed_one_does_not(k: int) -> None:
    rng = np.random.default_rng(k)
    mu, v = rng.normal(size=5), variances(rng, 5)
    want, error = montecarlo.noise_aware(mu, montecarlo.gaussian(mu, v, DRAWS, rng), k)
    value, _ = noise_aware(Moments(mu[:, None], v[:, None]), np.array([k]))
    assert abs(value.item() - want) < 5 * error
    assert abs(reference.noise_aware(mu, v, k) - want) < 5 * error
    assert abs(reference.noise_aware_printed(mu, v, k) - want) > 20 * error


@pytest.mark.slow
@pytest.mark.parametrize("k", range(3))
def test_correlated_outputs_agree_with_draws_and_independent_ones_do_not(k: int) -> None:
    rng = np.random.default_rng(k)
    x, w1, w2 = rng.random(4), rng.normal(size=(3, 4)), rng.normal(size=(3, 3)) + 2
    net = Sequential((("fc1", Linear(3)), ("noise", PreactivationNoise(0.8)), ("fc2", Linear(3, joint=True))))
    params = {"fc1": {"w": w1, "b": np.zeros(3)}, "noise": {"sigma": np.array(0.8)}, "fc2": {"w": w2, "b": np.zeros(3)}}
    m, _ = net.forward(params, Moments(x[:, None]), Propagated())
    z = montecarlo.preactivation(x, w1, np.zeros(3), 0.8, DRAWS, rng)
    want, error = montecarlo.noise_aware(w2 @ w1 @ x, montecarlo.affine(z, w2, np.zeros(3)), k)
    assert abs(noise_aware(m, np.array([k]))[0].item() - want) < 5 * error
    independent = Moments(m.mean, np.einsum("iin->in", m.var))
    assert abs(noise_aware(independent, np.array([k]))[0].item() - want) > 20 * error


@pytest.mark.parametrize(("name", "kind"), list(WANTED), ids=["-".join(key) for key in WANTED])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_stays_and_nothing_is_written(name: str, kind: str, dtype: type) -> None:
    m, labels = logits(1, (4, 3), kind)
    var = None if m.var is None else frozen(m.var.astype(dtype))
    value, cotangent = OBJECTIVES[name](Moments(frozen(m.mean.astype(dtype)), var), frozen(labels))
    found = [a for a in (value, cotangent.mean, cotangent.var) if a is not None]
    assert {a.dtype for a in found} == {np.dtype(dtype)}
    assert value.shape == (3,) and cotangent.mean.shape == m.mean.shape


def test_win_probability_needs_variance() -> None:
    m, labels = logits(0, (3, 2), "plain")
    with pytest.raises(ValueError, match="needs noise: sigma must be > 0"):
        OBJECTIVES["win-probability"](m, labels)


def test_zero_variance_is_the_deterministic_objective() -> None:
    m, labels = logits(2, (4, 3), "plain")
    want, dwant = noise_aware(m, labels)
    for shape in ((4, 3), (4, 4, 3)):
        value, cotangent = noise_aware(Moments(m.mean, np.zeros(shape)), labels)
        np.testing.assert_allclose(value, want, rtol=1e-14)
        np.testing.assert_array_equal(cotangent.mean, dwant.mean)
        assert (cotangent.var == 0).all()


def test_sigma_reward_and_its_bound() -> None:
    value, slope = sigma_reward(0.7, 0.25)
    assert value == pytest.approx(-0.25 * 0.49)
    assert slope == pytest.approx((sigma_reward(0.7001, 0.25)[0] - sigma_reward(0.6999, 0.25)[0]) / 2e-4)
    assert largest_stationary_sigma(0.25) == pytest.approx(0.6957, abs=1e-4)


def test_the_expected_cross_entropy_is_that_of_draws() -> None:
    """64 points against 400,000 draws: within 2 % of the noise's own effect, and its gradients likewise."""
    rng = np.random.default_rng(3)
    w, L = rng.normal(size=(4, 6)), np.tril(0.5 * rng.normal(size=(6, 6)))
    mean, cov, labels = rng.normal(size=(4, 1)), (w @ L @ L.T @ w.T)[..., None], np.array([2])
    value, g = expected_cross_entropy(Moments(mean, cov), labels)
    root = np.linalg.cholesky(cov[..., 0] + 1e-12 * np.eye(4))
    h = mean + root @ rng.normal(size=(4, DRAWS))
    plain = cross_entropy(Moments(mean), labels)[0]
    each, slopes = cross_entropy(Moments(h), np.full(DRAWS, 2))
    assert abs(value[0] - each.mean()) < 0.02 * abs(each.mean() - plain[0]) + 5 * each.std() / DRAWS**0.5
    np.testing.assert_allclose(g.mean[:, 0], slopes.mean.mean(axis=1), atol=0.01)
    p = np.exp(h - h.max(axis=0))
    p /= p.sum(axis=0)
    assert g.var is not None
    np.testing.assert_allclose(g.var[..., 0], (np.diag(p.mean(axis=1)) - p @ p.T / DRAWS) / 2, atol=0.01)


@given(SEEDS, SIZES)
def test_gradients_of_the_expected_cross_entropy_by_the_mean(seed: int, sizes: tuple[int, int]) -> None:
    m, labels = logits(seed, sizes, "covariance")
    _, g = expected_cross_entropy(m, labels)
    check_gradient(
        lambda a: expected_cross_entropy(Moments(a["mean"], m.var), labels)[0].sum(), {"mean": m.mean}, {"mean": g.mean}
    )


def test_the_expected_cross_entropy_of_little_noise_is_that_of_the_mean() -> None:
    m, labels = logits(0, (4, 3), "covariance")
    assert m.var is not None
    small, _ = expected_cross_entropy(Moments(m.mean, m.var * 1e-12), labels)
    np.testing.assert_allclose(small, cross_entropy(Moments(m.mean), labels)[0], rtol=1e-9)
    np.testing.assert_array_equal(
        expected_cross_entropy(Moments(m.mean), labels)[0], cross_entropy(Moments(m.mean), labels)[0]
    )
    with pytest.raises(ValueError, match="needs the covariance of the logits"):
        expected_cross_entropy(logits(0, (4, 3), "independent")[0], labels)


def test_a_sure_answer_keeps_the_direction_of_its_gradient() -> None:
    mean = np.array([[80.0], [0.0], [3.0]])
    cov = np.repeat(0.1 * np.eye(3)[..., None], 1, axis=2)
    _, g = expected_cross_entropy(Moments(mean, cov), np.array([0]))
    assert g.mean[0, 0] < 0
    assert g.mean.sum() == pytest.approx(0, abs=1e-12 * abs(g.mean[0, 0]))


def test_one_covariance_for_all_examples_gives_what_copies_give() -> None:
    m, labels = logits(0, (4, 3), "covariance")
    assert m.var is not None
    common = np.broadcast_to(m.var[..., :1], m.var.shape)
    copies = Moments(m.mean, common.copy())
    found, wanted = expected_cross_entropy(Moments(m.mean, common), labels), expected_cross_entropy(copies, labels)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-14)
    np.testing.assert_allclose(found[1].var, wanted[1].var, rtol=1e-13)


def test_a_training_minimises_no_margin() -> None:
    assert losses() == ("noise-aware", "mse", "cross-entropy", "expected-cross-entropy", "win-probability")
    assert {*losses(), *MARGINS} == set(OBJECTIVES) and not set(losses()) & set(MARGINS)
