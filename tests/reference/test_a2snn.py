"""The plain side of A2SNN: by hand, by SciPy, by quadrature."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_ndtr, ndtr
from scipy.stats import multivariate_normal

from npsnn.reference import a2snn, alignment, gaussian_head, loss
from npsnn.reference.plain import Floats


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def factor(rng: np.random.Generator, D: int) -> Floats:
    return np.asarray(np.tril(rng.uniform(-0.5, 0.5, (D, D)), -1) + np.diag(rng.uniform(0.5, 1.5, D)))


@pytest.mark.parametrize("D", [1, 2, 5])
def test_entropy_is_that_of_scipy(rng: np.random.Generator, D: int) -> None:
    L = factor(rng, D)
    wanted = multivariate_normal(np.zeros(D), L @ L.T).entropy()
    assert_allclose(alignment.max_entropy(L), wanted)
    assert_allclose(alignment.max_entropy(-L), wanted)
    assert_allclose(alignment.max_entropy_printed(alignment.covariance(L)), wanted)


def test_alignment_by_hand() -> None:
    W, L = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 3.0]])
    assert alignment.variance_along(W[0], L) == 4
    assert alignment.variance_along(W[1], L) == 9 + 9
    assert_allclose(alignment.weight_covariance_alignment(W, L), np.log(4 * 18))
    assert_allclose(alignment.pairwise_alignment(W, L), np.log(1 + 9))
    # Sigma = [[4, 2], [2, 10]]
    assert_allclose(alignment.alignment_by_weights(W, L), [[2, 1], [2 * 6 / 18, 2 * 12 / 18]])
    assert_allclose(alignment.pairwise_by_weights(W, L), [[-0.4, -2], [0.4, 2]])
    assert_allclose(alignment.pairwise_by_factor(W, L), [[0, 0], [0.2, 0.6]], atol=1e-15)


def test_unit_norm_by_hand() -> None:
    assert_allclose(alignment.unit_norm(np.array([[3.0, -4.0], [0.0, 2.0]])), [[0.6, -0.8], [0, 1]])


def test_common_noise_is_told_from_the_rest() -> None:
    assert alignment.common_variance(np.ones((4, 4))) == 4
    assert_allclose(alignment.difference_variance(np.ones((4, 4))), 0, atol=1e-15)
    assert alignment.common_variance(np.eye(4)) == 1
    assert_allclose(alignment.difference_variance(np.eye(4)), 1)


def test_noise_is_added_to_each_example(rng: np.random.Generator) -> None:
    F, eps, dz = rng.standard_normal((3, 2, 5))
    L = factor(rng, 2)
    assert_allclose(a2snn.add_noise(F, L, eps), F + L @ eps)
    assert_allclose(a2snn.add_noise_backward(dz, L, eps), np.tril(dz @ eps.T))


def test_cross_entropy_is_the_mean_of_that_of_each_example(rng: np.random.Generator) -> None:
    H, labels = 3 * rng.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    wanted = np.mean([loss.cross_entropy(h, k) for h, k in zip(H, labels, strict=True)])
    assert_allclose(a2snn.cross_entropy(H, labels), wanted)
    assert_allclose(a2snn.cross_entropy(np.stack([H, H + 5]), labels), wanted)
    assert_allclose(a2snn.softmax(np.array([1e4, 0.0])), [1, 0])


def test_objective_rewards_both_terms() -> None:
    assert_allclose(a2snn.objective(2.0, 3.0, 5.0, 0.1, 0.5), 2 - 0.3 - 2.5)


def test_two_classes_are_one_win(rng: np.random.Generator) -> None:
    f, W, b, L = rng.standard_normal(3), rng.standard_normal((2, 3)), rng.standard_normal(2), factor(rng, 3)
    u = gaussian_head.margin(0, 1, f, W, b, L)
    m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, L)
    assert_allclose(u, (m[1] - m[0]) / np.sqrt(S[0, 0] + S[1, 1] - 2 * S[0, 1]))
    assert_allclose(gaussian_head.win_probabilities(1, f, W, b, L), [ndtr(u)])
    assert_allclose(gaussian_head.log_wins(1, f, W, b, L), log_ndtr(u))
    assert_allclose(gaussian_head.correct_probability(m, S, 1), ndtr(u))
    assert_allclose(gaussian_head.correct_bounds(np.array([ndtr(u)])), [ndtr(u)] * 3)


def test_wins_are_those_of_the_loss(rng: np.random.Generator) -> None:
    f, W, b, L = rng.standard_normal(4), rng.standard_normal((5, 4)), rng.standard_normal(5), factor(rng, 4)
    S = gaussian_head.covariance(W, L)
    assert_allclose(gaussian_head.log_wins(2, f, W, b, L), -loss.surprise(gaussian_head.mean(f, W, b), S, 2))


@pytest.mark.parametrize("u", [-30.0, -1.0, 0.0, 2.0, 8.0])
def test_mills_is_the_slope_of_the_logarithm(u: float) -> None:
    assert_allclose(gaussian_head.mills(u), (log_ndtr(u + 1e-4) - log_ndtr(u - 1e-4)) / 2e-4, rtol=1e-4, atol=1e-12)


def test_points_have_the_moments_of_a_normal_law() -> None:
    x = gaussian_head.sobol(1024, 3)
    assert_allclose(x.mean(axis=0), 0, atol=1e-2)
    assert_allclose(x.T @ x / len(x), np.eye(3), atol=0.03)


def test_nodes_have_the_covariance() -> None:
    S = np.array([[2.0, 0.6], [0.6, 1.0]])
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    h = gaussian_head.nodes(np.array([3.0, 4.0]), S, x)
    assert_allclose(h.mean(axis=0), [3, 4])
    assert_allclose(np.cov(h.T, bias=True), S)


def test_expected_cross_entropy_is_that_of_quadrature() -> None:
    m, S = np.array([0.4, -0.3]), np.array([[1.0, 0.2], [0.2, 0.7]])
    t, weights = np.polynomial.hermite_e.hermegauss(60)
    # with two classes only the difference of the logits counts
    h = m[0] - m[1] + np.sqrt(S[0, 0] + S[1, 1] - 2 * S[0, 1]) * t
    weights /= weights.sum()
    p = 1 / (1 + np.exp(-h))
    value, dm, dS = gaussian_head.expected_cross_entropy(
        m[:, None], S[..., None], np.array([0]), gaussian_head.sobol(4096, 2)
    )
    assert_allclose(value[0], weights @ np.log1p(np.exp(-h)), rtol=2e-3)
    assert_allclose(dm[:, 0], [weights @ p - 1, 1 - weights @ p], rtol=2e-3)
    slope = weights @ (p * (1 - p)) / 2
    assert_allclose(dS[..., 0], [[slope, -slope], [-slope, slope]], rtol=2e-3)


def test_without_noise_the_expectation_is_the_loss(rng: np.random.Generator) -> None:
    m, points = rng.standard_normal((4, 3)), gaussian_head.sobol(16, 4)
    labels = np.array([0, 2, 3])
    value, dm, _ = gaussian_head.expected_cross_entropy(m, np.zeros((4, 4, 3)), labels, points)
    for n, k in enumerate(labels):
        assert_allclose(value[n], loss.cross_entropy(m[:, n], k))
        assert_allclose(dm[:, n], a2snn.softmax(m[:, n]) - np.eye(4)[k])
        assert_allclose(gaussian_head.cross_entropy_second_order(m[:, n], np.zeros((4, 4)), k), value[n])
