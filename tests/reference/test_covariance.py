"""The full covariance of rectified and pooled Gaussians, against integration, draws, differences and limits (E5)."""

from math import sqrt

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from npsnn.reference import covariance, differences, montecarlo, plain

Pair = tuple[float, float, float, float, float]


@st.composite
def pairs(draw: st.DrawFn, most: float = 0.9) -> Pair:
    """mu1, v1, mu2, v2, c with |mu| <= 2.5 standard deviations and |rho| <= most."""
    unit = st.floats(-1, 1)
    v1, v2 = draw(st.floats(0.2, 2)), draw(st.floats(0.2, 2))
    rho = most * draw(unit)
    return 2.5 * draw(unit) * sqrt(v1), v1, 2.5 * draw(unit) * sqrt(v2), v2, rho * sqrt(v1 * v2)


def swapped(pair: Pair) -> Pair:
    mu1, v1, mu2, v2, c = pair
    return mu2, v2, mu1, v1, c


def value(pair: np.ndarray) -> float:
    return float(covariance.pair_covariance(*pair))


@given(pairs())
def test_gradients_are_the_differences_of_the_covariance(pair: Pair) -> None:
    found = [
        covariance.by_mean(*pair),
        covariance.by_variance(*pair),
        covariance.by_mean(*swapped(pair)),
        covariance.by_variance(*swapped(pair)),
        covariance.by_covariance(*pair),
    ]
    np.testing.assert_allclose(found, differences.gradient(value, np.array(pair)), rtol=0, atol=1e-6)


@pytest.mark.slow
@given(pairs(most=0.95))
def test_eight_nodes_are_enough_up_to_a_correlation_of_0_95(pair: Pair) -> None:
    error = covariance.pair_covariance(*pair) - covariance.pair_covariance(*pair, nodes=100)
    assert abs(error) <= 5e-8 * sqrt(pair[1] * pair[3])
    assert abs(covariance.by_covariance(*pair) - covariance.by_covariance(*pair, nodes=100)) <= 5e-7


def test_eight_nodes_err_by_1e_9_in_the_mean() -> None:
    rng = np.random.default_rng(0)
    (a, b), one = rng.standard_normal((2, 20_000)), np.ones(20_000)
    for most, bound in ((0.3, 1e-15), (0.6, 1e-14), (0.95, 1e-9)):
        pair = a, one, b, one, rng.uniform(-most, most, 20_000)
        error = covariance.pair_covariance(*pair) - covariance.pair_covariance(*pair, nodes=64)
        assert np.sqrt(np.mean(error**2)) < bound


@given(pairs())
def test_the_integral_is_the_closed_form(pair: Pair) -> None:
    fine = covariance.pair_covariance(*pair, nodes=64)
    assert covariance.covariance_closed_form(*pair) == pytest.approx(fine, abs=1e-12)


@pytest.mark.slow
@given(pairs(most=0.99))
def test_the_orthant_probability_is_integrated_rightly(pair: Pair) -> None:
    a, b, rho = pair[0] / sqrt(pair[1]), pair[2] / sqrt(pair[3]), pair[4] / sqrt(pair[1] * pair[3])
    fine = covariance.by_covariance(a, 1.0, b, 1.0, rho, nodes=200)
    assert covariance.orthant(a, b, rho) == pytest.approx(fine, abs=1e-11)
    assert covariance.orthant(a, b, 0.0) == pytest.approx(plain.Phi(a) * plain.Phi(b), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [-0.99, -0.4, 0.7, 0.99])
def test_draws_have_this_covariance(rho: float) -> None:
    mu, V = np.array([0.4, -0.3]), np.array([[1.2, rho * sqrt(0.96)], [rho * sqrt(0.96), 0.8]])
    draws = np.random.default_rng(1).multivariate_normal(mu, V, 400_000)
    y = montecarlo.relu(draws)
    products = np.prod(y - y.mean(axis=0), axis=1)
    m, S = covariance.rectified_covariance(mu, V)
    assert abs(products.mean() - S[0, 1]) < 5 * products.std() / sqrt(len(y))
    assert montecarlo.estimate(y).deviations(m, np.diagonal(S)) < 5


@given(pairs(most=0.0))
def test_without_correlation_there_is_no_covariance_but_its_slope(pair: Pair) -> None:
    assert value(np.array(pair)) == 0
    mu1, v1, mu2, v2, _ = pair
    first = plain.Phi(mu1 / sqrt(v1)) * plain.Phi(mu2 / sqrt(v2))
    assert covariance.by_covariance(*pair) == pytest.approx(first, abs=1e-12)
    small = 1e-4 * sqrt(v1 * v2)
    slope = covariance.pair_covariance(mu1, v1, mu2, v2, small) / small
    assert slope == pytest.approx(first, abs=1e-4)
    assert covariance.covariance_linearised(mu1, v1, mu2, v2, small) / small == pytest.approx(first, abs=1e-12)


@given(st.floats(-2.5, 2.5), st.floats(0.2, 2))
def test_equal_and_opposite_units(t: float, v: float) -> None:
    mu = t * sqrt(v)
    m, var = plain.rectified_moments(mu, v)
    assert covariance.pair_covariance(mu, v, mu, v, v) == pytest.approx(var, abs=1e-5 * v)
    # one of X and -X is always 0
    against = covariance.pair_covariance(mu, v, -mu, v, -v)
    assert against == pytest.approx(-m * plain.rectified_moments(-mu, v)[0], abs=1e-5 * v)


@pytest.mark.parametrize("rho", [-0.9, -0.5, 0.0, 0.3, 0.9])
def test_means_of_zero_give_the_arc_cosine_kernel(rho: float) -> None:
    v1, v2 = 1.3, 0.7
    c = rho * sqrt(v1 * v2)
    product = float(covariance.pair_covariance(0.0, v1, 0.0, v2, c)) + sqrt(v1 * v2) / (2 * np.pi)
    assert product == pytest.approx(covariance.arc_cosine(v1, v2, c), abs=1e-12)


@given(strategies.SEEDS)
def test_moments_of_single_units_are_the_plain_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu, v = rng.normal(0, 3, 20), rng.uniform(0.1, 2, 20)
    found = covariance.rectified_moments(mu, v)
    np.testing.assert_allclose(found, plain.rectify(mu, v, "exact"), rtol=1e-8, atol=1e-12)


def test_units_without_variance_are_plain_numbers() -> None:
    mu, V = np.array([1.0, -2.0, 0.0, 0.5]), np.zeros((4, 4))
    V[3, 3] = 0.3
    m, S = covariance.rectified_covariance(mu, V)
    assert m[:3].tolist() == [1.0, 0.0, 0.0]
    assert np.count_nonzero(S) == 1
    assert S[3, 3] == pytest.approx(plain.rectified_moments(0.5, 0.3)[1])
    assert covariance.rectified_moments(np.array([1e30]), np.array([1.0]))[1] == 1


def test_an_affine_map_of_independent_units_is_that_of_a_diagonal_covariance() -> None:
    rng = np.random.default_rng(2)
    W, mu, v, b = rng.standard_normal((3, 5)), rng.standard_normal(5), rng.uniform(0.1, 1, 5), rng.standard_normal(3)
    for one, other in zip(covariance.affine(mu, v, W, b), covariance.affine(mu, np.diag(v), W, b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(covariance.affine(mu, v, W, b)[1], plain.linear_covariance(v[None], W)[0], rtol=1e-12)


def windows(height: int, width: int, k: int) -> np.ndarray:
    """Of one (height, width) channel: (outputs, k, k)."""
    places = np.arange(height * width).reshape(height, width)[: height // k * k, : width // k * k]
    return places.reshape(height // k, k, width // k, k).swapaxes(1, 2).reshape(-1, k, k)


@given(strategies.SEEDS, st.integers(1, 3))
def test_pooling_of_independent_units_is_the_plain_one(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    mu, v = rng.standard_normal((5, 7)), rng.uniform(0.1, 2, (5, 7))
    wanted = plain.max_pool_moments(mu[None, None], v[None, None], k, "exact")
    places = windows(5, 7, k)
    m, alone = covariance.max_pool(mu.ravel(), v.ravel(), places)
    _, S = covariance.max_pool(mu.ravel(), np.diag(v.ravel()), places)
    np.testing.assert_allclose(m, wanted[0].ravel(), rtol=1e-10)
    np.testing.assert_allclose(alone, wanted[1].ravel(), rtol=1e-10)
    np.testing.assert_allclose(S, np.diag(alone), rtol=1e-10, atol=1e-14)


@given(pairs())
def test_the_maximum_of_a_pair_is_clarks(pair: Pair) -> None:
    mu1, v1, mu2, v2, c = pair
    mean, var, p = covariance.maximum(*pair)
    np.testing.assert_allclose([mean, var], plain.maximum_clark(mu1, v1, mu2, v2, c), rtol=1e-10, atol=1e-12)
    assert p == pytest.approx(plain.Phi((mu1 - mu2) / sqrt(v1 + v2 - 2 * c)), abs=1e-14)


def test_the_maximum_of_twins_is_either_of_them() -> None:
    mu, V = np.array([2.0, 2.0, 7.0]), np.full((3, 3), 0.5)
    m, S = covariance.max_pool(mu, V, np.array([[[0, 1]]]))
    assert (m[0], S[0, 0]) == (2, 0.5)
    assert covariance.maximum(*(np.array(z) for z in (7.0, 0.5, 2.0, 0.5, 0.5)))[:2] == (7, 0.5)


def test_pooled_correlated_units_covary_as_their_draws() -> None:
    rng = np.random.default_rng(3)
    factor = rng.standard_normal((16, 24)) / 6
    mu, V = 0.3 * rng.standard_normal(16), factor @ factor.T + 0.4
    x = rng.multivariate_normal(mu, V, 100_000).reshape(-1, 4, 4)
    drawn = x.reshape(-1, 2, 2, 2, 2).max(axis=(2, 4)).reshape(-1, 4)
    m, S = covariance.max_pool(mu, V, windows(4, 4, 2))
    # not exactly: the maximum of two maxima is taken as that of two Gaussians
    np.testing.assert_allclose(m, drawn.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(S, np.cov(drawn.T), atol=0.05)
    assert np.cov(drawn.T).min() > 0.3


def test_leaky_units_have_the_covariance_of_draws() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(size=(3, 3))
    mu, V, slope = rng.normal(size=3), w @ w.T, np.array([-0.3, 0.25, 1.4])
    x = rng.multivariate_normal(mu, V, 400_000)
    y = np.where(x > 0, x, slope * x)
    mean, joint = covariance.leaky_covariance(mu, V, slope)
    np.testing.assert_allclose(mean, y.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(joint, np.cov(y.T), atol=0.04)
    for ours, theirs in zip(
        covariance.leaky_moments(mu, np.diagonal(V), slope), (mean, np.diagonal(joint)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    of_relu, plain_relu = covariance.leaky_covariance(mu, V, 0 * slope), covariance.rectified_covariance(mu, V)
    np.testing.assert_allclose(of_relu[1], plain_relu[1], rtol=1e-12)
    np.testing.assert_allclose(covariance.leaky_covariance(mu, V, 0 * slope + 1)[1], V, rtol=1e-12)
