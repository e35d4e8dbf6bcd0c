"""The expected probability against quadrature and draws, its gradients, and sure answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen, variances

from npsnn.layers.moments import Moments
from npsnn.objectives import OBJECTIVES, cross_entropy, expected_cross_entropy, expected_probability, sobol_normal
from npsnn.ops import expected
from npsnn.ops.linear import joint_covariance
from npsnn.reference import answers as reference
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(2, 5), st.integers(1, 4))  # classes, N


def logits(seed: int, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, a covariance and labels."""
    rng = np.random.default_rng(seed)
    w, v = rng.normal(size=(sizes[0], sizes[0] + 1)), variances(rng, (sizes[0] + 1, sizes[1]))
    return frozen(rng.normal(size=sizes)), frozen(joint_covariance(v, w)), rng.integers(sizes[0], size=sizes[1])


def by_points(mean: np.ndarray, var: np.ndarray, labels: np.ndarray, points: int) -> tuple[np.ndarray, ...]:
    return expected.expected_probability(mean, var, labels, sobol_normal(len(mean), points))


@pytest.mark.parametrize("label", [0, 1])
def test_many_points_have_the_value_and_the_gradients_of_quadrature(label: int) -> None:
    """By differences of Gauss-Hermite quadrature: by the mean, and by each variance and covariance."""
    mean, S, h = np.array([0.7, -0.4]), np.array([[0.8, 0.3], [0.3, 0.5]]), 1e-4
    value, dmean, dvar = by_points(mean[:, None], S[..., None], np.array([label]), 2**14)
    assert value[0] == pytest.approx(reference.expected_probability(mean, S, label), rel=1e-3)
    for i in range(2):
        up, down = (reference.expected_probability(mean + s * h * np.eye(2)[i], S, label) for s in (1, -1))
        assert dmean[i, 0] == pytest.approx((up - down) / (2 * h), rel=2e-3)
    for i, j in ((0, 0), (1, 1), (0, 1)):
        step = np.zeros((2, 2))
        step[i, j] = step[j, i] = h
        up, down = (reference.expected_probability(mean, S + s * step, label) for s in (1, -1))
        both = dvar[i, j, 0] + (dvar[j, i, 0] if i != j else 0)
        assert both == pytest.approx((up - down) / (2 * h), rel=2e-2)


def test_64_points_are_near_endlessly_many() -> None:
    """For noise of about one logit: by a fifth of what the noise does, or less."""
    mean, S, labels = logits(5, (10, 40))
    found, wanted = (by_points(mean, S / 5, labels, points) for points in (64, 2**12))
    noise = wanted[0] - cross_entropy(Moments(mean), labels)[0]
    assert np.abs(found[0] - wanted[0]).mean() < 0.2 * np.abs(noise).mean()
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):
        assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)


@given(SEEDS, SIZES)
def test_the_gradient_by_the_mean_is_that_of_the_value(seed: int, sizes: tuple[int, int]) -> None:
    mean, S, labels = logits(seed, sizes)
    for var in (S, frozen(np.einsum("iin->in", S).copy())):
        value, g = expected_probability(Moments(mean, var), labels)
        check_gradient(
            lambda a, var=var: expected_probability(Moments(a["mean"], var), labels)[0].sum(),
            {"mean": mean},
            {"mean": g.mean},
        )
        assert g.var is not None and g.var.shape == var.shape
        diagonal = frozen(np.einsum("in,ij->ijn", var, np.eye(sizes[0]))) if var.ndim == 2 else var
        same, joint = expected_probability(Moments(mean, diagonal), labels)
        np.testing.assert_allclose(value, same, rtol=1e-9)
        assert joint.var is not None
        np.testing.assert_allclose(g.var, np.einsum("iin->in", joint.var) if var.ndim == 2 else joint.var, atol=1e-12)


@given(SEEDS, SIZES)
def test_jensen_puts_it_below_the_expected_cross_entropy(seed: int, sizes: tuple[int, int]) -> None:
    mean, S, labels = logits(seed, sizes)
    ours, theirs = (f(Moments(mean, S), labels)[0] for f in (expected_probability, expected_cross_entropy))
    assert (ours <= theirs + 1e-12).all()


@given(SEEDS, SIZES)
def test_the_curvature_is_that_of_the_probability(seed: int, sizes: tuple[int, int]) -> None:
    """-½ E[∇²p_k] / E p_k from its formula, with whole matrices."""
    mean, S, labels = logits(seed, sizes)
    dvar = by_points(mean, S, labels, 8)[2]
    points = sobol_normal(sizes[0], 8)
    for n, k in enumerate(labels):
        size, axes = np.linalg.eigh(S[..., n])
        p = [reference.softmax(mean[:, n] + axes * np.sqrt(np.maximum(size, 0)) @ axes.T @ x) for x in points]
        own = np.eye(sizes[0])[k]
        curved = [q[k] * (np.outer(own - q, own - q) - np.diag(q) + np.outer(q, q)) for q in p]
        np.testing.assert_allclose(dvar[..., n], -0.5 * sum(curved) / sum(q[k] for q in p), rtol=1e-8, atol=1e-12)


def test_without_variance_it_is_the_cross_entropy() -> None:
    mean, S, labels = logits(0, (4, 3))
    plain, slope = cross_entropy(Moments(mean), labels)
    value, g = expected_probability(Moments(mean), labels)
    np.testing.assert_array_equal(value, plain)
    assert g.var is None
    little, near = expected_probability(Moments(mean, S * 1e-12), labels)
    np.testing.assert_allclose(little, plain, rtol=1e-5)
    np.testing.assert_allclose(near.mean, slope.mean, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", [60.0, 1000.0, 1e6, -1000.0])
def test_sure_answers_have_a_finite_gradient(lead: float, dtype: type) -> None:
    mean, S = np.array([[lead], [0.0], [-1.0]], dtype), np.repeat(0.1 * np.eye(3, dtype=dtype)[..., None], 1, axis=2)
    value, g = OBJECTIVES["expected-probability"](Moments(mean, S), np.array([0]))
    assert g.var is not None
    assert all(np.isfinite(a).all() and a.dtype == dtype for a in (value, g.mean, g.var))
    if dtype == np.float64:
        assert g.mean[0, 0] < 0 < g.mean[1, 0] and np.abs(g.var).max() > 0
    assert abs(g.mean.sum()) <= 1e-6 * np.abs(g.mean).max()
    if lead == 60:
        assert value[0] == pytest.approx(np.exp(-60) * (1 + np.exp(-1)) * np.exp(0.1), rel=0.1)
