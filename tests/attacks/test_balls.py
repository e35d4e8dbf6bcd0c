"""Points stay in the ball and in the box, directions have unit norm, and every violation is noticed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from npsnn.attacks.balls import NORMS, Ball, Limit
from npsnn.streams import Stream

EPS = st.one_of(st.just(0.0), st.floats(1e-9, 3.0), st.sampled_from([1e-30, 1e-8, 8 / 255, 1.0, 100.0]))
SEEDS = st.integers(0, 2**32 - 1)
ROUNDING = {np.float32: 3e-7, np.float64: 1e-15}


def pixels(seed: int, dtype: Any = np.float64, count: int = 3) -> np.ndarray:
    """Images with some pixels at the walls of the box."""
    x = np.random.default_rng(seed).uniform(-0.3, 1.3, (count, 2, 3, 4))
    return np.clip(x, 0, 1).astype(dtype)


@given(SEEDS, EPS, st.sampled_from(NORMS), st.sampled_from([np.float32, np.float64]), st.floats(-30, 4))
def test_projections_land_in_the_ball_and_the_box(seed: int, eps: float, norm: str, dtype: Any, size: float) -> None:
    x, ball = pixels(seed, dtype), Ball(norm, eps)
    delta = np.random.default_rng(seed + 1).standard_normal(x.shape) * 10.0**size
    x_adv = ball.project(x + delta.astype(dtype), x)
    assert x_adv.dtype == dtype and x_adv.shape == x.shape
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    rounding = ROUNDING[dtype] * (1 if norm == "linf" else 5)
    assert (ball.size(x_adv.astype(float) - x.astype(float)) <= eps * (1 + 1e-6) + rounding).all()
    ball.check(x_adv, x)
    if eps == 0:
        np.testing.assert_array_equal(x_adv, x)


@given(SEEDS, st.floats(1e-3, 3.0), st.sampled_from(NORMS))
def test_a_point_inside_stays_and_a_projection_is_one(seed: int, eps: float, norm: str) -> None:
    x, ball = pixels(seed), Ball(norm, eps)
    direction = ball.steepest(np.random.default_rng(seed + 1).standard_normal(x.shape))
    inside = np.clip(x + 0.99 * eps * direction, 0, 1)
    np.testing.assert_allclose(ball.project(inside, x), inside, atol=1e-12)
    once = ball.project(x + 7 * eps * direction, x)
    np.testing.assert_allclose(ball.project(once, x), once, atol=1e-12)


@given(SEEDS, st.floats(1e-2, 0.3), st.sampled_from(NORMS))
def test_away_from_the_walls_the_projection_is_the_nearest_point(seed: int, eps: float, norm: str) -> None:
    rng = np.random.default_rng(seed)
    x, ball = np.full((1, 2, 3, 4), 0.5), Ball(norm, eps)
    far = x + rng.standard_normal(x.shape)
    near = ball.project(far, x)
    for _ in range(20):
        other = ball.project(x + eps * rng.standard_normal(x.shape), x)
        assert ((far - near) ** 2).sum() <= ((far - other) ** 2).sum() + 1e-12
    assert ball.size(near - x) == pytest.approx(min(eps, ball.size(far - x)[0]))


@given(SEEDS, EPS, st.sampled_from(NORMS), st.sampled_from([np.float32, np.float64]))
def test_random_points_are_in_the_ball_and_the_box(seed: int, eps: float, norm: str, dtype: Any) -> None:
    x, ball = pixels(seed, dtype), Ball(norm, eps)
    point = ball.random(x, Stream(seed))
    assert point.dtype == dtype
    ball.check(point, x)
    np.testing.assert_array_equal(ball.random(x, Stream(seed)), point)
    np.testing.assert_array_equal(ball.random(x[1:], Stream(seed).from_sample(1)), point[1:])
    if eps == 0:
        np.testing.assert_array_equal(point, x)


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_are_uniform_by_volume(norm: str) -> None:
    """The size of a uniform point of a d-dimensional ball has the distribution (size / eps)^d."""
    count, eps = 4000, 0.2
    x = np.full((count, 1, 2, 2), 0.5)
    delta = Ball(norm, eps).random(x, Stream(0)) - x
    size = Ball(norm, eps).size(delta)
    assert stats.kstest((size / eps) ** 4, "uniform").pvalue > 1e-5
    assert (np.abs(delta.mean(axis=0)) < 5 * eps / np.sqrt(count)).all()
    assert len(np.unique(delta)) == delta.size


@given(SEEDS, st.floats(-44, 37), st.sampled_from([np.float32, np.float64]))
def test_the_steepest_direction_has_unit_norm(seed: int, size: float, dtype: Any) -> None:
    """Down to the smallest numbers there are, whose squares are 0, and up to those whose squares overflow."""
    g = (np.random.default_rng(seed).uniform(0.5, 1, (3, 2, 3, 4)) * 10.0**size).astype(dtype)
    g *= np.random.default_rng(seed).choice([-1, 1], g.shape)
    assume((g != 0).any(axis=(1, 2, 3)).all())
    linf, l2 = (Ball(norm, 1.0).steepest(g) for norm in ("linf", "l2"))
    np.testing.assert_array_equal(linf, np.sign(g))
    assert linf.dtype == l2.dtype == dtype
    np.testing.assert_allclose(Ball("l2", 1.0).size(l2), 1, rtol=1e-5)
    if size > -35:  # below, the ratios themselves are those of a few bits
        largest = np.abs(g).max(axis=(1, 2, 3), keepdims=True)
        np.testing.assert_allclose(l2 / np.abs(l2).max(axis=(1, 2, 3), keepdims=True), g / largest, rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_raises_a_linear_loss_most(norm: str) -> None:
    rng = np.random.default_rng(0)
    g, ball = rng.standard_normal((1, 2, 3, 4)), Ball(norm, 1.0)
    best = (ball.steepest(g) * g).sum()
    assert best == pytest.approx(np.abs(g).sum() if norm == "linf" else np.sqrt((g * g).sum()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_zero_gradient_has_no_direction(norm: str, dtype: Any) -> None:
    g = np.zeros((2, 1, 2, 2), dtype)
    g[1] = 3
    found = Ball(norm, 1.0).steepest(g)
    assert (found[0] == 0).all() and np.isfinite(found).all() and (found[1] > 0).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 1e-40])
def test_balls_smaller_than_any_float_are_points(norm: str, eps: float) -> None:
    x = pixels(0, np.float32)
    np.testing.assert_array_equal(Ball(norm, eps).project(x, x), x)
    Ball(norm, eps).check(Ball(norm, eps).random(x, Stream(0)), x)


def test_sizes() -> None:
    delta = np.array([[[[3.0, -4.0]]], [[[0.0, 0.0]]]])
    np.testing.assert_array_equal(Ball("linf", 1).size(delta), [4, 0])
    np.testing.assert_array_equal(Ball("l2", 1).size(delta), [5, 0])


VIOLATIONS = {
    "shape": (lambda x: x[:1], "of the shape"),
    "nan": (lambda x: np.where(x == x[0, 0, 0, 0], np.nan, x), "finite, got a NaN"),
    "inf": (lambda x: np.where(x == x[0, 0, 0, 0], np.inf, x), "finite, got an infinity"),
    "below": (lambda x: x - 0.41, r"in \[0, 1\], got -"),
    "above": (lambda x: x + 0.41, r"in \[0, 1\], got .* to 1\.0"),
    "far": (lambda x: x + 0.1001 * (np.arange(len(x)) == 1)[:, None, None, None], "within (linf|l2) 0.1, got 0.[14]"),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", VIOLATIONS)
def test_each_violation_is_noticed(norm: str, kind: str) -> None:
    x = np.random.default_rng(0).uniform(0.4, 0.6, (3, 2, 2, 4))
    change, message = VIOLATIONS[kind]
    Ball(norm, 0.1).check(x, x)
    with pytest.raises(ValueError, match=f"adversarial images must be .*{message}"):
        Ball(norm, 10.0 if kind in ("below", "above") else 0.1).check(change(x), x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("eps", [1e-12, 3e-8, 1e-7, 1e-3, 0.1])
def test_rounding_is_no_violation_but_more_is(norm: str, dtype: Any, eps: float) -> None:
    """One unit in the last place of a pixel is rounding, of an eps below it too; twice eps and two units are not."""
    x = np.random.default_rng(0).uniform(0.3, 0.7, (5, 1, 4, 4)).astype(dtype)
    ball = Ball(norm, eps)
    far = ball.project((x + 10 * ball.eps * ball.steepest(np.sin(1e3 * x))).astype(dtype), x)
    ball.check(far, x)
    ulps = 3 * np.spacing(x[:1, :1, :1, :1])
    off = far.copy()
    off[0, 0, 0, 0] = x[0, 0, 0, 0] + dtype(eps) + max(ulps.item(), eps)
    with pytest.raises(ValueError, match=f"within {norm} .*, got"):
        ball.check(off, x)


@pytest.mark.parametrize("change", [lambda x: x + 0.2, lambda x: x + 0.9])
def test_who_leaves_a_ball_is_told_how_to_stay(change: Any) -> None:
    x, ball = np.full((1, 1, 2, 2), 0.5), Ball("linf", 0.1)
    with pytest.raises(ValueError, match=r": return ball.project\(x_adv, x\), the nearest that are$"):
        ball.check(change(x), x)
    ball.check(ball.project(change(x), x), x)
    with pytest.raises(ValueError, match=r", got [0-9.]+( to 1.4)?$"):  # a limit has no such method
        Limit("linf", 0.1).check(change(x), x)


def test_at_eps_0_nothing_moves() -> None:
    x = np.full((1, 1, 1, 1), 0.5, np.float32)
    Ball("linf", 0).check(x, x)
    with pytest.raises(ValueError, match=r"within linf 0, got 5\.96"):
        Ball("linf", 0).check(np.nextafter(x, np.float32(1)), x)


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_eps_must_be_a_length(eps: float) -> None:
    with pytest.raises(ValueError, match="eps must be >= 0 and finite, got"):
        Ball("linf", eps)


def test_the_norm_must_be_known() -> None:
    with pytest.raises(ValueError, match="norm must be one of linf, l2, l1, got 'l0'"):
        Ball("l0", 1)
    with pytest.raises(ValueError, match="norm must be one of linf, l2, l1, l0, got 'l3'"):
        Limit("l3", 1)


def test_l0_counts_pixels_not_channels() -> None:
    x = np.full((3, 2, 2, 3), 0.5)
    x_adv = x.copy()
    x_adv[1, 0, 0, 0] = 0.25
    x_adv[2, :, 1, 2] = 0.75
    x_adv[2, 1, 0, 1] = np.nextafter(0.5, 1)
    np.testing.assert_array_equal(Limit("l0", 2).size(x_adv - x), [0, 1, 2])
    Limit("l0", 2).check(x_adv, x)
    with pytest.raises(ValueError, match="within l0 1, got 2"):
        Limit("l0", 1).check(x_adv, x)


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_without_a_limit_the_box_remains(kind: str) -> None:
    x = np.random.default_rng(0).uniform(0.4, 0.6, (3, 2, 2, 4))
    change, message = VIOLATIONS[kind]
    anywhere = Limit("l2", float("inf"))
    anywhere.check(1 - np.round(x), x)
    if kind == "far":
        anywhere.check(change(x), x)
    else:
        with pytest.raises(ValueError, match=f"adversarial images must be .*{message}"):
            anywhere.check(change(x), x)


@pytest.mark.parametrize("eps", [-0.1, float("nan")])
def test_a_limit_is_no_less_than_0(eps: float) -> None:
    with pytest.raises(ValueError, match="eps must be >= 0, got"):
        Limit("l2", eps)
