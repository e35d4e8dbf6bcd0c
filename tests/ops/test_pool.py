"""Pooling under every rule against loops, its gradients against finite differences."""

import numpy as np
import pytest
from hypothesis import given
from strategies import Pixels, batch_first, batch_last, distinct, frozen, images, variances

from npsnn.ops import pool
from npsnn.ops.gaussian import DETERMINISTIC, EXACT, LAPLACE, RULES, Rule
from npsnn.reference import plain
from npsnn.testing.gradients import Arrays, check_gradient

POOLED = images(smallest=3, largest=8, most_channels=2)
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
each_size = pytest.mark.parametrize("k", [1, 2, 3])


def values(pixels: Pixels) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = pixels.rng
    return distinct(rng, pixels.shape), variances(rng, pixels.shape), rng


@each_size
@given(POOLED)
def test_maximum_of_numbers(k: int, pixels: Pixels) -> None:
    x, _, rng = values(pixels)
    y, var, saved = pool.max_pool(x, None, k, DETERMINISTIC)
    np.testing.assert_array_equal(y, batch_last(plain.max_pool(batch_first(x), k)))
    dy = rng.normal(size=y.shape)
    dx, dvar = pool.max_pool_backward(dy, None, saved, k, DETERMINISTIC)
    assert var is None and dvar is None
    check_gradient(lambda a: (pool.max_pool(a["x"], None, k, DETERMINISTIC)[0] * dy).sum(), {"x": x}, {"x": dx})


@each_rule
@each_size
@given(POOLED)
def test_moments(rule: Rule, k: int, pixels: Pixels) -> None:
    mean, var, _ = values(pixels)
    got = pool.max_pool(mean, var, k, rule)[:2]
    want = plain.max_pool_moments(batch_first(mean), batch_first(var), k, rule.name)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, batch_last(y), rtol=1e-9, atol=1e-12)


@each_rule
@pytest.mark.parametrize("with_var", [True, False])
@each_size
@given(POOLED)
def test_gradients(rule: Rule, with_var: bool, k: int, pixels: Pixels) -> None:
    mean, var, rng = values(pixels)
    m, v, saved = pool.max_pool(mean, var, k, rule)
    dm, dv = rng.normal(size=m.shape), rng.normal(size=v.shape) if with_var else None
    dmean, dvar = pool.max_pool_backward(dm, dv, saved, k, rule)

    def f(a: Arrays) -> float:
        m, v, _ = pool.max_pool(a["mean"], a["var"], k, rule)
        return (m * dm).sum() + ((v * dv).sum() if with_var else 0)

    check_gradient(f, {"mean": mean, "var": var}, {"mean": dmean, "var": dvar}, step=1e-3)


def test_exact_rule_is_the_law_of_a_pair() -> None:
    mean, var = np.array([0.3, -0.2]), np.array([0.8, 1.7])
    tall = (mean.reshape(2, 1, 1, 1).repeat(2, axis=2), var.reshape(2, 1, 1, 1).repeat(2, axis=2))
    tall[0][:, :, 1], tall[1][:, :, 1] = -30, 1e-9  # the second column never wins
    m, v, _ = pool.max_pool(*tall, 2, EXACT)
    want = plain.maximum_moments_by_integration(list(mean), list(var))
    np.testing.assert_allclose((m.item(), v.item()), want, rtol=1e-9)


@pytest.mark.parametrize("k", [2, 3])
def test_ties_go_to_the_smallest_column_and_then_to_the_smallest_row(k: int) -> None:
    mean = np.zeros((k, 1, k, 1))
    var = np.arange(1.0, k * k + 1).reshape(k, 1, k, 1)
    m, v, saved = pool.max_pool(mean, var, k, LAPLACE)
    assert (m.item(), v.item()) == (0, 1)
    dmean, dvar = pool.max_pool_backward(np.ones_like(m), np.ones_like(v), saved, k, LAPLACE)
    for d in (dmean, dvar):
        assert d[0, 0, 0, 0] == 1 and d.sum() == 1
    mean[0, 0, 0] = -1  # now (1, 0) against (0, 1): the column decides
    assert pool.max_pool(mean, var, k, LAPLACE)[1].item() == var[1, 0, 0, 0]
    wanted = plain.max_pool_moments(batch_first(mean), batch_first(var), k, "laplace")
    assert wanted[1].item() == var[1, 0, 0, 0]


@each_rule
@each_size
def test_zero_variance_is_the_plain_maximum(rule: Rule, k: int) -> None:
    rng = np.random.default_rng(k)
    x = distinct(rng, (6, 2, 7, 2))
    y, _, plain_saved = pool.max_pool(x, None, k, DETERMINISTIC)
    m, v, saved = pool.max_pool(x, np.zeros_like(x), k, rule)
    np.testing.assert_array_equal(m, y)
    assert (v == 0).all()
    dm = rng.normal(size=m.shape)
    want, _ = pool.max_pool_backward(dm, None, plain_saved, k, DETERMINISTIC)
    got, dvar = pool.max_pool_backward(dm, rng.normal(size=v.shape), saved, k, rule)
    np.testing.assert_array_equal(got, want)
    assert np.isfinite(dvar).all()


@each_rule
@each_size
def test_single_precision_stays_and_no_argument_is_written(rule: Rule, k: int) -> None:
    rng = np.random.default_rng(k)
    mean, var = (frozen(x.astype(np.float32)) for x in (distinct(rng, (7, 2, 5, 2)), variances(rng, (7, 2, 5, 2))))
    m, v, saved = pool.max_pool(mean, var, k, rule)
    dm, dv = frozen(m), frozen(v)
    dmean, dvar = pool.max_pool_backward(dm, dv, saved, k, rule)
    y = pool.sum_pool(mean, k)
    dx = pool.sum_pool_backward(frozen(y), k, mean.shape)
    assert {a.dtype for a in (m, v, dmean, dvar, y, dx)} == {np.dtype(np.float32)}
    for d in (dmean, dvar, dx):
        assert d.shape == mean.shape


@each_rule
def test_two_forwards_may_precede_one_backward(rule: Rule) -> None:
    rng = np.random.default_rng(4)
    first, second = ((distinct(rng, (4, 1, 4, 2)), variances(rng, (4, 1, 4, 2))) for _ in range(2))
    dm, dv = rng.normal(size=(2, 2, 1, 2, 2))
    alone = pool.max_pool_backward(dm, dv, pool.max_pool(*first, 2, rule)[2], 2, rule)
    saved = pool.max_pool(*first, 2, rule)[2]
    pool.max_pool(*second, 2, rule)
    for got, want in zip(pool.max_pool_backward(dm, dv, saved, 2, rule), alone, strict=True):
        np.testing.assert_array_equal(got, want)


@each_size
@given(POOLED)
def test_sum_pool(k: int, pixels: Pixels) -> None:
    x, _, rng = values(pixels)
    y = pool.sum_pool(x, k)
    np.testing.assert_allclose(y, k**2 * batch_last(plain.mean_pool(batch_first(x), k)), rtol=1e-12, atol=1e-12)
    dy = rng.normal(size=y.shape)
    dx = pool.sum_pool_backward(dy, k, x.shape)
    check_gradient(lambda a: (pool.sum_pool(a["x"], k) * dy).sum(), {"x": x}, {"x": dx})


OVERLAPS = [(3, 2, 1), (3, 2, 0), (2, 1, 0), (3, 1, 1), (2, 3, 1), (3, 3, 0), (1, 2, 0)]
each_overlap = pytest.mark.parametrize(("k", "stride", "padding"), OVERLAPS)


@each_overlap
@given(POOLED)
def test_maximum_of_windows_that_overlap(k: int, stride: int, padding: int, pixels: Pixels) -> None:
    x, _, rng = values(pixels)
    x = x - 1e3  # what is padded would win if it were 0
    place = k, stride, padding, DETERMINISTIC
    y, var, saved = pool.overlapping_max_pool(x, None, *place)
    np.testing.assert_array_equal(y, batch_last(plain.max_pool(batch_first(x), k, stride, padding)))
    dy = rng.normal(size=y.shape)
    dx, dvar = pool.overlapping_max_pool_backward(dy, None, saved, *place)
    assert var is None and dvar is None and dx.shape == x.shape
    check_gradient(lambda a: (pool.overlapping_max_pool(a["x"], None, *place)[0] * dy).sum(), {"x": x}, {"x": dx})


@each_rule
@each_overlap
@given(POOLED)
def test_moments_of_windows_that_overlap(rule: Rule, k: int, stride: int, padding: int, pixels: Pixels) -> None:
    mean, var, _ = values(pixels)
    got = pool.overlapping_max_pool(mean, var, k, stride, padding, rule)[:2]
    want = plain.max_pool_moments(batch_first(mean), batch_first(var), k, rule.name, stride, padding)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, batch_last(y), rtol=1e-9, atol=1e-12)


@each_rule
@pytest.mark.parametrize("with_var", [True, False])
@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 2, 1), (2, 1, 0)])
@given(POOLED)
def test_gradients_of_windows_that_overlap(
    rule: Rule, with_var: bool, k: int, stride: int, padding: int, pixels: Pixels
) -> None:
    (mean, var, rng), place = values(pixels), (k, stride, padding, rule)
    m, v, saved = pool.overlapping_max_pool(mean, var, *place)
    dm, dv = rng.normal(size=m.shape), rng.normal(size=v.shape) if with_var else None
    dmean, dvar = pool.overlapping_max_pool_backward(dm, dv, saved, *place)

    def f(a: Arrays) -> float:
        m, v, _ = pool.overlapping_max_pool(a["mean"], a["var"], *place)
        return (m * dm).sum() + ((v * dv).sum() if with_var else 0)

    check_gradient(f, {"mean": mean, "var": var}, {"mean": dmean, "var": dvar}, step=1e-3)


@each_size
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_side_by_side_are_those_that_do_not_overlap(k: int, dtype: type) -> None:
    rng = np.random.default_rng(k)
    mean, var = (frozen(x.astype(dtype)) for x in (distinct(rng, (7, 2, 5, 2)), variances(rng, (7, 2, 5, 2))))
    for rule in RULES.values():
        m, v, saved = pool.overlapping_max_pool(mean, var, k, k, 0, rule)
        want = pool.max_pool(mean, var, k, rule)
        np.testing.assert_array_equal(m, want[0])
        np.testing.assert_array_equal(v, want[1])
        got = pool.overlapping_max_pool_backward(frozen(m), frozen(v), saved, k, k, 0, rule)
        for d, other in zip(got, pool.max_pool_backward(m, v, want[2], k, rule), strict=True):
            np.testing.assert_array_equal(d, other)
            assert d.dtype == dtype


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e12])
def test_what_is_padded_never_wins(scale: float) -> None:
    """Not in single precision either, where 1 below a large number is the number."""
    mean = np.full((3, 1, 3, 1), -scale, np.float32)
    for var in (None, np.full_like(mean, 0.25)):
        for rule in [DETERMINISTIC] if var is None else RULES.values():
            m, _, saved = pool.overlapping_max_pool(mean, var, 3, 2, 1, rule)
            assert (m >= -scale).all() and (m < 1e5 - scale).all()
            dm, _ = pool.overlapping_max_pool_backward(np.ones_like(m), None, saved, 3, 2, 1, rule)
            np.testing.assert_allclose(dm.sum(), 4, rtol=1e-5)


def test_a_variance_that_is_one_number_stays_one_where_windows_overlap() -> None:
    mean = distinct(np.random.default_rng(0), (5, 2, 5, 3))
    var = np.broadcast_to(np.float64(0.7), mean.shape)
    m, v, saved = pool.overlapping_max_pool(mean, var, 3, 2, 1, LAPLACE)
    assert not any(v.strides) and v.shape == m.shape and v[0, 0, 0, 0] == 0.7
    dv = np.random.default_rng(1).normal(size=v.shape)
    dmean, dvar = pool.overlapping_max_pool_backward(np.ones_like(m), dv, saved, 3, 2, 1, LAPLACE)
    assert dmean.shape == mean.shape and dvar.shape == (1, 1, 1, 1) and dvar.item() == pytest.approx(dv.sum())
    single = np.broadcast_to(np.float64(0.7), (1, 1, 1, 1))
    m, _, saved = pool.overlapping_max_pool(mean[:1, :1, :1, :1], single, 3, 2, 1, LAPLACE)
    assert pool.overlapping_max_pool_backward(m, m, saved, 3, 2, 1, LAPLACE)[0].shape == (1, 1, 1, 1)
