"""The laws of a rectified Gaussian against integration, one another and their limits."""

from math import exp, inf, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn.reference import differences, plain, rectifier

MEANS, SIGMAS = st.floats(-3, 3), st.floats(0.2, 3)


@given(MEANS, SIGMAS)
def test_mass_of_each_law_is_one(t: float, sigma: float) -> None:
    mu, end = t * sigma, rectifier.reach(t * sigma, sigma)
    positive = rectifier.integral(lambda xi: rectifier.density(xi, mu, sigma), 0, end)
    assert positive + rectifier.atom(mu, sigma) == pytest.approx(1, abs=1e-10)
    assert rectifier.eta(mu, sigma) == pytest.approx(positive, rel=1e-9)
    assert rectifier.eta_printed(mu, sigma) == pytest.approx(positive, rel=1e-9)
    printed = rectifier.integral(lambda xi: rectifier.density_printed(xi, mu, sigma), 0, end)
    assert printed == pytest.approx(1, abs=1e-9)


@given(MEANS, SIGMAS, st.floats(0.05, 3))
def test_densities_are_slopes_of_the_distributions(t: float, sigma: float, at: float) -> None:
    mu, y = t * sigma, at * sigma
    for distribution, density in (
        (rectifier.distribution, rectifier.density),
        (rectifier.distribution_printed, rectifier.density_printed),
    ):
        slope = differences.slope(lambda y, F=distribution: F(y, mu, sigma), y, step=0.01 * sigma)
        assert slope == pytest.approx(density(y, mu, sigma), rel=1e-5, abs=1e-7)
        assert density(-y, mu, sigma) == distribution(-y, mu, sigma) == 0
    assert rectifier.distribution(0, mu, sigma) == rectifier.atom(mu, sigma)
    assert rectifier.distribution_printed(0, mu, sigma) == 0


@given(MEANS, SIGMAS)
def test_moments_match_integration(t: float, sigma: float) -> None:
    mu, end = t * sigma, rectifier.reach(t * sigma, sigma)
    for density, moments in (
        (rectifier.density, plain.rectified_moments),
        (rectifier.density_printed, rectifier.truncated_moments),
    ):
        wanted = rectifier.moments_by_integration(lambda xi, f=density: f(xi, mu, sigma), 0, end)
        np.testing.assert_allclose(moments(mu, sigma**2), wanted, rtol=1e-8, atol=1e-12)


def test_truncated_moments_in_the_limits() -> None:
    np.testing.assert_allclose(rectifier.truncated_moments(0, 4), (2 * sqrt(2 / pi), 4 - 8 / pi), rtol=1e-14)
    np.testing.assert_allclose(rectifier.truncated_moments(50, 1), (50, 1), rtol=1e-14)
    np.testing.assert_allclose(rectifier.truncated_moments(-60, 1), (1 / 60, 1 / 3600), rtol=2e-3)


@given(MEANS, SIGMAS)
def test_laws_differ_by_the_atom(t: float, sigma: float) -> None:
    assert rectifier.total_variation(t * sigma, sigma) == pytest.approx(rectifier.atom(t * sigma, sigma), abs=1e-9)


def test_wasserstein_distance() -> None:
    # below 0 the Gaussian of the printed rule is all that differs: E[(-Z)+] at mu = 0
    assert rectifier.wasserstein(0, 2, 0, 2) == pytest.approx(2 * plain.phi(0), rel=1e-9)
    assert rectifier.wasserstein(20, 1, 20, 1) == pytest.approx(0, abs=1e-12)
    assert rectifier.wasserstein(20, 1, 21, 1) == pytest.approx(1, rel=1e-9)


@given(MEANS, SIGMAS)
def test_log_density_and_its_expansions(t: float, sigma: float) -> None:
    mu = t * sigma
    assert rectifier.log_density(-0.1, mu, sigma) == -inf
    for xi in (0.3 * sigma, 2 * sigma):
        h = rectifier.log_density(xi, mu, sigma)
        assert exp(h) == pytest.approx(rectifier.density_printed(xi, mu, sigma), rel=1e-12)
        assert rectifier.expansion(xi, mu, sigma) == pytest.approx(h, abs=1e-10)
        dropped = min(mu, 0) / sigma**2 * xi
        assert rectifier.expansion_printed(xi, mu, sigma) == pytest.approx(h - dropped, abs=1e-10)


def test_mode_and_curvature() -> None:
    assert [rectifier.mode_printed(mu, 0.5) for mu in (-1.5, -0.2, 0.0, 0.3, 1.5)] == [0, 0, 0, 0.3, 1.5]
    for mu in (-1.6, 1.6):
        with pytest.raises(ValueError, match="mode"):
            rectifier.mode_printed(mu, 0.5)
    assert rectifier.curvature_printed(0.5) == -4


def test_eq_5_is_a_gaussian_at_the_mode() -> None:
    for xi in (-1.0, 0.0, 0.7):
        assert rectifier.laplace_density_printed(xi, -1, 2) == pytest.approx(plain.phi(xi / 2) / 2)
        assert rectifier.laplace_density_printed(xi, 1, 2) == pytest.approx(plain.phi((xi - 1) / 2) / 2)


@given(MEANS, st.floats(0.3, 3))
def test_gradients_match_differences(t: float, v: float) -> None:
    mu = t * sqrt(v)
    at = np.array([mu, v])
    slopes = [differences.gradient(lambda p, i=i: plain.rectified_moments(*p)[i], at) for i in (0, 1)]
    np.testing.assert_allclose(rectifier.rectified_gradients(mu, v), np.ravel(slopes), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("t", [-30, -16, -11, 11, 16, 30])
@pytest.mark.parametrize("v", [0.5, 3.0])
def test_tails_match_integration(t: float, v: float) -> None:
    s = sqrt(v)
    mu, end = t * s, rectifier.reach(t * s, s)
    m, var, *partials = rectifier.rectified_tails(mu, v)
    if t < 0:
        wanted = rectifier.moments_by_integration(lambda xi: rectifier.density(xi, mu, s), 0, end)
        np.testing.assert_allclose((m, var), wanted, rtol=1e-11)
        assert log(m) == pytest.approx(rectifier.log_mean(mu, v), rel=1e-13)
    else:
        np.testing.assert_allclose((m, var), plain.rectified_moments(mu, v), rtol=1e-11)
    up, down = rectifier.eta(mu, s), rectifier.atom(mu, s)
    wanted_partials = up, plain.phi(t) / (2 * s), 2 * m * down, up - m / s * plain.phi(t)
    np.testing.assert_allclose(partials, wanted_partials, rtol=1e-11)


def test_log_mean_beyond_underflow() -> None:
    assert rectifier.rectified_tails(-60, 1)[0] == 0
    assert rectifier.log_mean(-60, 1) == pytest.approx(-1800 - log(sqrt(2 * pi) * 3600), abs=1e-3)


def test_variance_is_lost_least_where_it_is_one_half() -> None:
    losses = {cut: rectifier.variance_lost(cut) for cut in (-3, 0, 0.3, 0.37665, 0.45)}
    assert min(losses, key=losses.__getitem__) == 0.37665
    assert plain.rectified_moments(0.37665, 1)[1] == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(list(losses.values()), [2.8542, 0.2759, 0.2176, 0.2151, 0.2173], atol=5e-4)


@given(st.floats(-2, 2), st.floats(0.3, 2), st.floats(-2, 2), st.floats(0.3, 2), st.floats(-0.9, 0.9))
def test_clark_with_covariance(mu1: float, v1: float, mu2: float, v2: float, rho: float) -> None:
    c = rho * sqrt(v1 * v2)
    p = np.array([mu1, v1, mu2, v2, c])
    mean, var = plain.maximum_clark_gradients(*p)
    for i, gradient in enumerate((mean, var)):
        slopes = differences.gradient(lambda p, i=i: plain.maximum_clark(*p)[i], p, step=3e-4)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-7)
    # of X1 with itself, and of a variable that is independent of both
    assert plain.maximum_covariance(*p, v1, c) == pytest.approx(v1 * mean[0] + c * mean[2], abs=1e-12)
    assert plain.maximum_covariance(*p, 0, 0) == 0
