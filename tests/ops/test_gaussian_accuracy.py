"""Rectified and pairwise-maximum moments to the last digits: against mpmath and against each other."""

import mpmath as mp
import numpy as np
import pytest

from npsnn.ops import gaussian


def normal_parts(t):  # (Phi(t), Phi(-t), phi(t)), each to full relative precision
    return mp.erfc(-t / mp.sqrt(2)) / 2, mp.erfc(t / mp.sqrt(2)) / 2, mp.npdf(t)


def rectified_reference(mean, var):  # the textbook form
    mean, var = mp.mpf(float(mean)), mp.mpf(float(var))
    s = mp.sqrt(var)
    below, above, density = normal_parts(mean / s)
    m = mean * below + s * density
    v = (mean**2 + var) * below + mean * s * density - m**2
    return m, v, below, density / (2 * s), 2 * m * above, below - m / s * density


def clark_reference(m1, v1, m2, v2):  # Clark's formulas, shifted by mu2, c = 0
    m1, v1, m2, v2 = (mp.mpf(float(x)) for x in (m1, v1, m2, v2))
    d, square = m1 - m2, v1 + v2
    theta = mp.sqrt(square)
    p1, p2, density = normal_parts(d / theta)
    kappa = density / theta
    e = d * p1 + theta * density
    v = (d**2 + v1) * p1 + v2 * p2 + d * theta * density - e**2
    shift = kappa * (d * v2 / square - e)
    skew = 2 * (d * p1 + v1 * kappa) - 2 * e * p1
    return (m2 + e, v, p1, p2, kappa / 2), (skew, 2 * v2 * kappa - 2 * e * p2, p1 + shift, p2 + shift)


def relative_errors(got, want, floor):  # results below the floor cannot be represented well: they need only be tiny
    errors = []
    for x, y in zip(got, want, strict=True):
        if abs(y) < floor:
            assert abs(float(x)) < 2 * floor
        else:
            errors.append(float(abs(mp.mpf(float(x)) - y) / abs(y)))
    return max(errors, default=0.0)


def worst_rectified(t, var, dtype):
    mean, var = (t * np.sqrt(var)).astype(dtype), var.astype(dtype)
    m, v, partials = gaussian.rectified_moments(mean, var)
    got = np.stack([m, v, *partials], axis=1)
    assert got.dtype == dtype and np.isfinite(got).all() and (got >= 0).all()
    floor = 1e3 * float(np.finfo(dtype).tiny)
    with mp.workdps(60):
        return max(
            relative_errors(row, rectified_reference(a, b), floor) for row, a, b in zip(got, mean, var, strict=True)
        )


def test_rectified_moments_to_1e_11():
    rng = np.random.default_rng(1)
    edges = [10.0, -10.0, 9.999999, -10.000001, 0.0, 1e-9, -1e-9, -37.0, 37.0, 63.9, 64.1, 1e3, 1e6]
    t = np.concatenate(
        [edges, np.linspace(-37, 37, 149), 10 ** rng.uniform(-6, 6, 40), -(10 ** rng.uniform(-6, 1.5, 40))]
    )
    assert worst_rectified(t, 10 ** rng.uniform(-2, 2, t.size), np.float64) < 1e-11


@pytest.mark.parametrize(("reach", "bound"), [(3, 2e-6), (5, 5e-6), (8, 1e-5), (12, 3e-5)])
def test_rectified_moments_error_in_float32(reach, bound):
    t = np.append(np.linspace(-reach, reach, 161), 0.0)
    assert worst_rectified(t, 10 ** np.random.default_rng(2).uniform(-2, 2, t.size), np.float32) < bound


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "reach", "bound"), [(np.float64, 35, 1e-11), (np.float32, 8, 1e-4)])
def test_maximum_clark_matches_printed_formulas(dtype, reach, bound):
    rng = np.random.default_rng(3)
    n = 120
    v1, v2 = 10 ** rng.uniform(-2, 2, (2, n)).astype(dtype)
    v1[:10], v2[10:20] = 0, 0
    # a common offset of 4096 must not spoil the variance; multiples of 2^-8 keep m1 - m2 exact
    m2 = np.where(rng.random(n) < 0.5, 4096, 0).astype(dtype)
    m1 = m2 + (np.round(rng.uniform(-reach, reach, n) * np.sqrt(v1 + v2) * 256) / 256).astype(dtype)
    m, v, (p1, p2, half_kappa, skew, common) = gaussian.maximum_clark(m1, v1, m2, v2)
    with mp.workdps(600):  # the printed form may leave 1e-270 of terms of 1e5
        for i in range(n):
            positive, signed = clark_reference(m1[i], v1[i], m2[i], v2[i])
            got = m[i], v[i], p1[i], p2[i], half_kappa[i]
            assert relative_errors(got, positive, 1e-30 if dtype == np.float32 else 1e-300) < bound
            # these cross zero, so they are measured in their unit
            scale = float(np.sqrt(v1[i] + v2[i]))
            np.testing.assert_allclose([skew[i], -skew[i]], [float(x) for x in signed[:2]], atol=bound * scale)
            got = p1[i] - common[i], p2[i] - common[i]
            np.testing.assert_allclose(got, [float(x) for x in signed[2:]], atol=bound)


def test_clark_against_zero_is_the_rectifier():
    rng = np.random.default_rng(4)
    mean, var = rng.normal(size=200) * 5, rng.uniform(0.1, 3, 200)
    m, v, partials = gaussian.rectified_moments(mean, var)
    m_clark, v_clark, (p1, _, half_kappa, skew, common) = gaussian.maximum_clark(mean, var, mean * 0, var * 0)
    for x, y in zip((m, v, *partials), (m_clark, v_clark, p1, half_kappa, skew, p1 - common), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9)
