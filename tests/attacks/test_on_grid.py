"""Images of 8 bits: on the levels of 1/255, inside of the ball, and as near the attack's image as they can be."""

from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_networks import convolutional, linear, predicted

from npsnn.attacks import (
    APGD,
    APGDT,
    FAB,
    FGSM,
    PGD,
    SPSA,
    CarliniWagner,
    Judging,
    OnePixel,
    Plan,
    RandomSearch,
    Square,
    accuracy,
    auto,
    robust_accuracy,
)
from npsnn.attacks.balls import Limit, check_grid
from npsnn.attacks.groups import STANDARD
from npsnn.inputs import as_float

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.float32, np.float64])


def bits(seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 3, 4)).astype(np.uint8)


def levels(x: np.ndarray) -> np.ndarray:
    """The levels of images that are exactly on the grid of their dtype."""
    found = np.rint(255 * x.astype(np.float64))
    np.testing.assert_array_equal(x, found.astype(x.dtype) / 255)
    return found


@example(0, 3, 0.9, np.float32)
@example(0, 0, 0.9, np.float64)
@given(SEEDS, st.integers(0, 255), st.sampled_from([-1e-6, 0.0, 1e-6, 0.3, 0.9]), DTYPES)
def test_in_linf_the_nearest_level_within_eps(seed: int, whole: int, beyond: float, dtype: Any) -> None:
    """k/255 allows k levels, and a little less k - 1, in spite of how k/255 and the pixels are rounded."""
    eps = whole / 255 if not beyond else min(max((whole + beyond) / 255, 0), 1)
    most = int(Fraction(eps) * 255 + Fraction(1, 10**9))
    x, limit = as_float(bits(seed), dtype), Limit("linf", eps)
    x_adv = np.clip(x + eps * np.random.default_rng(seed).choice([-1, -0.6, 0, 0.4, 1], x.shape), 0, 1).astype(dtype)
    found = limit.on_grid(x_adv, x)
    limit.check(found, x)
    assert found.dtype == dtype
    want = np.rint(255 * x_adv.astype(np.float64)).clip(levels(x) - most, levels(x) + most)
    np.testing.assert_array_equal(levels(found), want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
def test_eight_255ths_are_eight_levels_for_every_pixel(steps: int, dtype: Any) -> None:
    x = as_float(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), dtype)
    for side in (-1, 1):
        x_adv = np.clip(x + dtype(side) * dtype(steps / 255), 0, 1)
        found = Limit("linf", steps / 255).on_grid(x_adv, x)
        want = (np.arange(256) + side * steps).clip(0, 255)
        np.testing.assert_array_equal(levels(found).ravel(), want)


@given(SEEDS, st.floats(0, 3), DTYPES)
def test_in_l2_no_pixel_goes_away_from_its_own(seed: int, eps: float, dtype: Any) -> None:
    x, limit = as_float(bits(seed), dtype), Limit("l2", eps)
    delta = np.random.default_rng(seed).standard_normal(x.shape)
    inside = np.clip(x + eps * delta / limit.size(delta).reshape(-1, 1, 1, 1), 0, 1).astype(dtype)
    found = limit.on_grid(inside, x)
    limit.check(found, x)
    moved, asked = levels(found) - levels(x), 255 * inside.astype(np.float64) - levels(x)
    assert (moved * asked >= 0).all()
    assert (np.abs(moved) <= np.abs(asked) + 1e-4).all() and (np.abs(moved) > np.abs(asked) - 1).all()
    np.testing.assert_array_equal(found[moved == 0], x[moved == 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_on_the_grid_stays(dtype: Any) -> None:
    """No level is lost to the rounding of a pixel, unless the ball wants it."""
    x, there = as_float(bits(1), dtype), as_float(bits(2), dtype)
    for limit in (Limit("linf", 1), Limit("l2", 5.0), Limit("l2", inf), Limit("l0", 24)):
        np.testing.assert_array_equal(limit.on_grid(there, x), there)


def test_no_level_is_gained_where_the_ball_has_no_room_for_it() -> None:
    x, there = as_float(bits(1, 1), np.float64), as_float(bits(2, 1), np.float64)
    just_inside = x + (1 - 1e-8) * (there - x)
    ball = Limit("l2", float(Limit("l2", inf).size(just_inside - x)[0]))
    found = ball.on_grid(just_inside, x)
    assert ball.size(found - x) <= ball.eps and np.abs(levels(found) - levels(there)).max() == 1
    wide = replace(ball, eps=ball.eps + 1e-6)
    np.testing.assert_array_equal(wide.on_grid(just_inside, x), there)


def test_in_l0_and_without_a_limit_the_nearest_level() -> None:
    x = as_float(bits(3))
    x_adv = x.copy()
    x_adv[:, :, 1, 2] = np.float32(0.4999)
    for limit in (Limit("l0", 1), Limit("l2", inf)):
        found = limit.on_grid(x_adv, x)
        assert (found[:, :, 1, 2] == np.float32(127) / 255).all()
        np.testing.assert_array_equal(found != x, (x_adv != x) & (found != x))


@pytest.mark.parametrize("attack", [FGSM(8 / 255), PGD(0.5, "l2", 3), RandomSearch(0.1, samples=3), OnePixel(
    1, population=5, generations=1), CarliniWagner(steps=30, constant=10, searches=1)])  # fmt: skip
def test_what_is_judged_and_kept_is_on_the_grid(attack: Any) -> None:
    network, x = convolutional(), bits(4, 5)
    labels = predicted(network, as_float(x))
    judging = Judging(draws=3)
    (result,) = robust_accuracy(network, x, labels, [attack], replace(judging, on_grid=True))
    levels(result.x_adv)
    (plain,) = robust_accuracy(network, x, labels, [attack], judging)
    assert (plain.x_adv != np.rint(255 * plain.x_adv).astype(np.float32) / 255).any() or isinstance(attack, FGSM)
    np.testing.assert_array_equal(attack.ball.on_grid(plain.x_adv, as_float(x)), result.x_adv)
    assert result.size is not None
    np.testing.assert_array_equal(result.size, attack.ball.size(result.x_adv.astype(np.float64) - as_float(x)))


def test_images_off_the_grid_are_refused() -> None:
    network, x, labels = convolutional(), as_float(bits(4)), np.arange(3)
    check_grid(x[:0])
    check_grid(x.astype(np.float16).astype(np.float64) * 0)
    x[1, 0, 2, 1] = 0.1234
    with pytest.raises(ValueError, match=r"on_grid is for images of 8 bits, .* got one of 0\.1234"):
        robust_accuracy(network, x, labels, [FGSM(0.1)], Judging(on_grid=True))
    with pytest.raises(ValueError, match="on_grid must be True or False, got 'yes'"):
        Judging(on_grid="yes")  # type: ignore[arg-type]
    assert Plan(on_grid=True).judging() == Judging(on_grid=True)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "wide"), [("l2", 0.9), ("linf", 0.12)])
@pytest.mark.parametrize("kind", [APGD, APGDT, FAB, Square, SPSA])
def test_no_attack_stops_at_a_misreading_that_rounding_undoes(kind: Any, norm: str, wide: float) -> None:
    """On a linear network the farthest point of the ball is misread after rounding as well."""
    network, x = linear(0.0), bits(6, 40)
    labels, options = predicted(network, as_float(x)), {} if kind is Square else {"steps": 20}
    attack = kind(wide, norm, **options, **({"queries": 300} if kind is Square else {}))
    (rounded,) = robust_accuracy(network, x, labels, [attack], Judging(on_grid=True))
    (plain,) = robust_accuracy(network, x, labels, [attack])
    assert plain.accuracy.mean < 0.3
    stopped = attack.ball.on_grid(plain.x_adv, as_float(x))
    brought_back = accuracy(network, stopped, labels, 1).mean - plain.accuracy.mean
    assert rounded.accuracy.mean <= plain.accuracy.mean + max(0.05, brought_back / 2)


def test_what_rounds_is_not_autoattack() -> None:
    network, x = linear(0.0, classes=4), bits(7, 4)
    group, labels = auto(network, 0.1, steps=100), predicted(network, as_float(x))
    for on_grid, name in ((False, STANDARD), (True, "auto")):
        results = robust_accuracy(network, x, labels, group, Judging(on_grid=on_grid))
        assert next(iter(results)).group == name
