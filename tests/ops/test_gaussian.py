"""Rectified and pairwise-maximum moments against finite differences, Monte Carlo and their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from npsnn.ops import gaussian
from npsnn.ops.gaussian import DETERMINISTIC, EXACT, LAPLACE, LINEAR, RULES

VARIANCE_RULES = [LAPLACE, EXACT, LINEAR]
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**32 - 1)


def slopes(f, args, i, h=1e-3):
    """d f(*args) / d args[i], elementwise, by the five-point central difference (error of order h^4)."""

    def at(k):
        return np.asarray(f(*args[:i], args[i] + k * h, *args[i + 1 :]))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)


def assert_slopes(f, args, derivatives):
    for i, derivative in enumerate(derivatives):
        np.testing.assert_allclose(derivative, slopes(f, args, i), rtol=1e-6, atol=1e-10)


def draw(shape, seed):
    """A generator, and m1, v1, m2, v2 whose means keep 0.1 from every kink of every rule."""
    rng = np.random.default_rng(seed)
    v1, v2 = rng.uniform(0.5, 2, (2, *shape))
    # t in (-2.9, -0.1) or (0.1, 2.9), or below -3.1: off the kinks at 0 and -3
    t = rng.uniform(0.1, 2.9, shape) * rng.choice([-1, 1], shape) - 3.0 * (rng.random(shape) < 0.2)
    t = np.asarray(np.where((np.abs(t) < 0.1) | (np.abs(t + 3) < 0.1), 0.5, t))
    m1 = t * np.sqrt(v1)
    m2 = m1 + rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)
    return rng, np.asarray(m1), np.asarray(v1), np.asarray(m2), np.asarray(v2)


@settings(max_examples=25, deadline=None)
@given(SHAPES, SEEDS)
def test_partials_match_finite_differences(shape, seed):
    _, m1, v1, m2, v2 = draw(shape, seed)
    _, _, partials = gaussian.rectified_moments(m1, v1)
    assert_slopes(lambda *a: gaussian.rectified_moments(*a)[0], (m1, v1), partials[:2])
    assert_slopes(lambda *a: gaussian.rectified_moments(*a)[1], (m1, v1), partials[2:])
    args = m1, v1, m2, v2
    _, _, (p1, p2, half_kappa, skew, common) = gaussian.maximum_clark(*args)
    assert_slopes(lambda *a: gaussian.maximum_clark(*a)[0], args, (p1, half_kappa, p2, half_kappa))
    assert_slopes(lambda *a: gaussian.maximum_clark(*a)[1], args, (skew, p1 - common, -skew, p2 - common))


@pytest.mark.parametrize("rule", VARIANCE_RULES, ids=lambda rule: rule.name)
@settings(max_examples=25, deadline=None)
@given(SHAPES, SEEDS)
def test_backwards_match_finite_differences(rule, shape, seed):
    rng, m1, v1, m2, v2 = draw(shape, seed)
    dm, dv = (np.asarray(x) for x in rng.normal(size=(2, *shape)))

    def loss(f):
        def weighted(*args):
            m, v, _ = f(*args)
            return dm * m + dv * v

        return weighted

    cotangents = rule.rectify_backward(dm, dv, rule.rectify(m1, v1)[2])
    assert_slopes(loss(rule.rectify), (m1, v1), cotangents)
    args = m1, v1, m2, v2
    out = tuple(np.full(shape, np.nan) for _ in args)
    rule.maximum_backward(dm, dv, rule.maximum(*args)[2], out)
    assert_slopes(loss(rule.maximum), args, out)


@pytest.mark.parametrize("rule", VARIANCE_RULES, ids=lambda rule: rule.name)
def test_absent_cotangents_are_zero(rule):
    rng, *args = draw((7,), 5)
    dm, dv = rng.normal(size=(2, 7))
    zero = np.zeros(7)
    saved = rule.rectify(*args[:2])[2]
    saved_max = rule.maximum(*args)[2]
    for given_dm, given_dv in ((dm, None), (None, dv), (None, None)):
        full = [zero if d is None else d for d in (given_dm, given_dv)]
        got = rule.rectify_backward(given_dm, given_dv, saved)
        for x, y in zip(got, rule.rectify_backward(*full, saved), strict=True):
            np.testing.assert_array_equal(zero if x is None else x, y)
        out, want, means = np.full((3, 4, 7), np.nan)
        rule.maximum_backward(given_dm, given_dv, saved_max, tuple(out))
        rule.maximum_backward(*full, saved_max, tuple(want))
        np.testing.assert_array_equal(out, want)
        rule.maximum_backward(given_dm, given_dv, saved_max, (means[0], None, means[2], None))
        np.testing.assert_array_equal(means[::2], want[::2])
    assert rule.rectify_backward(None, None, saved) == (None, None)
    if rule is not EXACT:
        assert rule.rectify_backward(dm, None, saved)[1] is None


@pytest.mark.parametrize("rule", [*VARIANCE_RULES, DETERMINISTIC], ids=lambda rule: rule.name)
def test_maximum_backward_writes_its_views_and_nothing_else(rule):
    rng, *args = draw((3, 4), 6)
    if rule is DETERMINISTIC:
        args[1] = args[3] = None
    dm, dv = rng.normal(size=(2, 3, 4))
    saved = rule.maximum(*args)[2]
    dense, canvas = np.zeros((4, 3, 4)), np.full((2, 6, 8), np.nan)
    rule.maximum_backward(dm, dv, saved, tuple(dense))
    views = canvas[0, ::2, ::2], canvas[0, 1::2, ::2], canvas[0, ::2, 1::2], canvas[1, ::2, 1::2]
    rule.maximum_backward(dm, dv, saved, views)
    for view, want in zip(views, dense, strict=True):
        np.testing.assert_array_equal(view, want)
        view[...] = np.nan
    assert np.isnan(canvas).all()


@pytest.mark.parametrize("rule", VARIANCE_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arguments_stay_and_dtype_carries_through(rule, dtype):
    rng, *args = draw((5, 6), 7)
    args = [a.astype(dtype) for a in args]
    dm, dv = rng.normal(size=(2, 5, 6)).astype(dtype)
    before = [a.copy() for a in (*args, dm, dv)]
    for a in (*args, dm, dv):
        a.flags.writeable = False
    m, v, saved = rule.rectify(*args[:2])
    results = [m, v, *saved, *rule.rectify_backward(dm, dv, saved)]
    m, v, saved = rule.maximum(*args)
    results += [m, v, *(saved if isinstance(saved, tuple) else [saved])]
    rule.maximum_backward(dm, dv, saved, tuple(np.empty((4, 5, 6), dtype)))
    assert {x.dtype for x in results} <= {np.dtype(dtype), np.dtype(bool)}
    assert m.dtype == v.dtype == dtype
    for a, b in zip((*args, dm, dv), before, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_within_five_errors(samples, m, v):
    n = len(samples)
    centred = samples - samples.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - m), 5 * np.sqrt(variance / n))
    error = np.sqrt(((centred**4).mean(axis=0) - variance**2) / n)
    np.testing.assert_array_less(np.abs(variance - v), 5 * error)


@pytest.mark.slow
def test_moments_match_monte_carlo():
    rng = np.random.default_rng(8)
    m1, m2 = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), np.array([-1.0, -1.0, 0.3, 2.0, -0.5, 2.5])
    v1, v2 = np.array([1.0, 4.0, 0.5, 1.0, 2.0, 0.1]), np.array([0.3, 0.2, 1.0, 2.0, 0.0, 3.0])
    x1, x2 = (m + np.sqrt(v) * rng.normal(size=(400_000, 6)) for m, v in ((m1, v1), (m2, v2)))
    assert_within_five_errors(np.maximum(x1, 0), *gaussian.rectified_moments(m1, v1)[:2])
    assert_within_five_errors(np.maximum(x1, x2), *gaussian.maximum_clark(m1, v1, m2, v2)[:2])


MEANS = [-1e30, -3.0, -1e-30, 0.0, 1e-30, 0.1, 7.0, 1e30]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rectifying_without_variance_is_relu(dtype):
    mean = np.array(MEANS, dtype)
    on = mean > 0
    m, v, partials = gaussian.rectified_moments(mean, np.zeros_like(mean))
    for got, want in zip((m, v, *partials), (np.maximum(mean, 0), 0 * on, on, 0 * on, 0 * on, on), strict=True):
        np.testing.assert_array_equal(got, want)
    for rule in (LAPLACE, LINEAR):
        m, v, saved = rule.rectify(mean, np.zeros_like(mean))
        np.testing.assert_array_equal(m, np.maximum(mean, 0))
        assert (v == 0).all()
        np.testing.assert_array_equal(rule.rectify_backward(on + mean * 0, None, saved)[0], on)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maximum_without_variance_is_the_maximum_with_ties_to_the_first(dtype):
    m1, m2 = (x.reshape(-1) for x in np.meshgrid(np.array(MEANS, dtype), np.array(MEANS, dtype)))
    zero, first = np.zeros_like(m1), m1 >= m2
    dm, dv = np.random.default_rng(9).normal(size=(2, m1.size)).astype(dtype)
    for rule in VARIANCE_RULES:
        m, v, saved = rule.maximum(m1, zero, m2, zero)
        np.testing.assert_array_equal(m, np.maximum(m1, m2))
        assert (v == 0).all()
        out = np.full((4, m1.size), np.nan, dtype)
        rule.maximum_backward(dm, dv, saved, tuple(out))
        np.testing.assert_array_equal(out, [dm * first, dv * first, dm * ~first, dv * ~first])


def test_winner_brings_its_variance_along():
    m1, m2 = np.array([1.0, 2.0, 0.0, -1.0]), np.array([2.0, 1.0, 0.0, -1.0])
    v1, v2 = np.array([0.1, 0.2, 0.3, 0.4]), np.array([5.0, 6.0, 7.0, 8.0])
    m, v, first = gaussian.maximum_winner(m1, v1, m2, v2)
    assert m.tolist() == [2, 2, 0, -1] and v.tolist() == [5.0, 0.2, 0.3, 0.4]
    m, v, first = gaussian.maximum_winner(m1, None, m2, None)
    assert m.tolist() == [2, 2, 0, -1] and v is None and first.tolist() == [False, True, True, True]


@pytest.mark.parametrize("rule", VARIANCE_RULES, ids=lambda rule: rule.name)
def test_a_broadcast_variance_is_a_dense_one(rule):
    _, m1, _, m2, _ = draw((4, 5), 10)
    constant = np.broadcast_to(np.array(0.49), m1.shape)
    dense = constant.copy()
    for got, want in (
        (rule.rectify(m1, constant), rule.rectify(m1, dense)),
        (rule.maximum(m1, constant, m2, constant), rule.maximum(m1, dense, m2, dense)),
    ):
        assert got[1].shape == m1.shape
        for x, y in zip((*got[:2], *got[2]), (*want[:2], *want[2]), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_arguments_give_finite_results_without_a_warning(dtype):
    info = np.finfo(dtype)
    means = np.array([*MEANS, -12.3, -13.0, -14.5, 14.5, -38.0, -1e6, 1e6], dtype)
    variances = np.array([0.0, info.smallest_subnormal, info.tiny, 1e-20, 1.0, 1e20, info.max / 1e3], dtype)
    mean, var = (x.reshape(-1) for x in np.meshgrid(means, variances))
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for rule in VARIANCE_RULES:
            m, v, saved = rule.rectify(mean, var)
            results = [m, v, *saved]
            m2, v2, saved = rule.maximum(mean, var, mean[::-1].copy(), var[::-1].copy())
            results += [m2, v2, *saved]
            assert all(np.isfinite(x).all() for x in results)
            assert (m >= 0).all() and (v >= 0).all() and (v2 >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", [2.0**-50, 2.0**50])
def test_moments_scale_with_the_unit(dtype, unit):
    # a power of two does not round, so any absolute constant inside would show
    m1, v1, m2, v2 = (x.astype(dtype) for x in draw((50,), 12)[1:])
    m, v, partials = gaussian.rectified_moments(m1, v1)
    scaled = gaussian.rectified_moments(m1 * unit, v1 * unit**2)
    want = m * unit, v * unit**2, partials[0], partials[1] / unit, partials[2] * unit, partials[3]
    for x, y in zip((*scaled[:2], *scaled[2]), want, strict=True):
        np.testing.assert_array_equal(x, y)
    m, v, _ = gaussian.maximum_clark(m1, v1, m2, v2)
    scaled = gaussian.maximum_clark(m1 * unit, v1 * unit**2, m2 * unit, v2 * unit**2)
    np.testing.assert_array_equal(scaled[0], m * unit)
    np.testing.assert_array_equal(scaled[1], v * unit**2)


@pytest.mark.parametrize(
    ("t", "mean", "kept"),
    [(-3.0001, 0, 0), (-3, 0, 1), (-2, 0, 1), (-1, 0, 1), (0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)],
)
@pytest.mark.parametrize("sigma", [1.0, 0.7])
def test_laplace_rule_around_its_thresholds(t, mean, kept, sigma):
    cut = -3.0 * np.sqrt(np.array([sigma**2]))
    x = cut if t == -3 else np.array([t * sigma])
    m, v, saved = gaussian.rectified_laplace(x, np.array([sigma**2]))
    np.testing.assert_allclose(m, mean * sigma)
    np.testing.assert_array_equal(v, kept * sigma**2)
    dmean, dvar = gaussian.rectified_mask_backward(np.array([2.0]), np.array([5.0]), saved)
    assert dmean == 2.0 * (t > 0) and dvar == 5.0 * kept


def test_linear_and_deterministic_rules_at_the_kink():
    mean = np.array([-1.0, 0.0, 2.0])
    m, v, saved = LINEAR.rectify(mean, np.full(3, 4.0))
    assert m.tolist() == [0, 0, 2] and v.tolist() == [0, 0, 4]
    assert [d.tolist() for d in LINEAR.rectify_backward(mean + 5, mean + 7, saved)] == [[0, 0, 7], [0, 0, 9]]
    m, v, saved = DETERMINISTIC.rectify(mean, None)
    dmean, dvar = DETERMINISTIC.rectify_backward(mean + 5, None, saved)
    assert m.tolist() == [0, 0, 2] and v is None and dmean.tolist() == [0, 0, 7] and dvar is None


def test_rules_are_a_table_of_the_three_that_carry_variance():
    assert RULES == {"laplace": LAPLACE, "exact": EXACT, "linear": LINEAR}
    assert all(name == rule.name for name, rule in RULES.items())
    _, *args = draw((4,), 11)
    for rule in VARIANCE_RULES:
        changed = (rule.rectify(args[0], args[1] * 2)[0] != rule.rectify(*args[:2])[0]).any()
        assert changed == rule.mean_uses_var


@pytest.mark.parametrize("rule", [LAPLACE, LINEAR, DETERMINISTIC], ids=lambda rule: rule.name)
def test_an_infinite_mean_is_rectified(rule):
    mean = np.array([-np.inf, np.inf])
    m, _, _ = rule.rectify(mean, None if rule is DETERMINISTIC else np.ones(2))
    np.testing.assert_array_equal(m, [0, np.inf])
