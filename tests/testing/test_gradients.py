"""The gradient helper must pass a right gradient and catch a relative error of 1e-4 in a single entry."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from npsnn.testing.gradients import Arrays, check_directional, check_gradient


def function(arrays: Arrays) -> float:
    return float(np.sin(arrays["x"]).sum() + (arrays["x"] @ arrays["w"]).sum() ** 2)


def gradients(arrays: Arrays) -> Arrays:
    x, w = arrays["x"], arrays["w"]
    slope = 2 * (x @ w).sum()
    return {"x": np.cos(x) + slope * w.sum(axis=1), "w": slope * np.tile(x.sum(axis=0)[:, None], (1, w.shape[1]))}


@pytest.fixture
def arrays() -> Arrays:
    rng = np.random.default_rng(7)
    return {"x": rng.normal(size=(3, 4)), "w": rng.normal(size=(4, 2))}


def directional(f: Callable[..., Any], arrays: Arrays, grads: Arrays, **options: Any) -> None:
    check_directional(f, arrays, grads, np.random.default_rng(1), **options)


@pytest.mark.parametrize("check", [check_gradient, directional])
def test_a_right_gradient_passes(check: Callable[..., None], arrays: Arrays) -> None:
    check(function, arrays, gradients(arrays))


@pytest.mark.parametrize("check", [check_gradient, directional])
@pytest.mark.parametrize("name", ["x", "w"])
def test_a_relative_error_of_1e_4_in_one_entry_is_caught(check: Callable[..., None], name: str, arrays: Arrays) -> None:
    for i in range(arrays[name].size):
        planted = gradients(arrays)
        planted[name].reshape(-1)[i] *= 1 + 1e-4
        if abs(planted[name].reshape(-1)[i]) < 0.02 * np.linalg.norm(planted[name]):
            continue  # smaller than the stated tolerance against the scale
        with pytest.raises(AssertionError, match=name):
            check(function, arrays, planted)


def test_an_error_in_a_large_net_is_caught_where_the_array_is_a_small_part(arrays: Arrays) -> None:
    def f(a: Arrays) -> float:
        return 1e6 * function({"x": a["x"], "w": a["w"]}) + float(a["sigma"] ** 2)

    right = {k: 1e6 * g for k, g in gradients(arrays).items()}
    both = arrays | {"sigma": np.array(0.5)}
    with pytest.raises(AssertionError, match="sigma"):
        directional(f, both, right | {"sigma": np.array(-1e3)})


@pytest.mark.parametrize("check", [check_gradient, directional])
def test_none_stands_for_zero(check: Callable[..., None], arrays: Arrays) -> None:
    check(lambda a: function(arrays | {"x": a["x"]}), arrays, gradients(arrays) | {"w": None})
    with pytest.raises(AssertionError, match="w"):
        check(function, arrays, gradients(arrays) | {"w": None})


@pytest.mark.parametrize("check", [check_gradient, directional])
def test_missing_names_shapes_and_single_precision_are_errors(check: Callable[..., None], arrays: Arrays) -> None:
    right = gradients(arrays)
    with pytest.raises(AssertionError, match="there must be gradients of w, x, got them of x"):
        check(function, arrays, {"x": right["x"]})
    with pytest.raises(AssertionError, match="its gradient"):
        check(function, arrays, right | {"x": right["x"].T})
    with pytest.raises(AssertionError, match="float64"):
        check(function, {k: a.astype(np.float32) for k, a in arrays.items()}, right)


def test_at_most_the_asked_number_of_entries_is_evaluated() -> None:
    calls = 0

    def f(a: Arrays) -> float:
        nonlocal calls
        calls += 1
        return float((a["x"] ** 2).sum())

    x = np.arange(1.0, 1001.0)
    check_gradient(f, {"x": x}, {"x": 2 * x}, entries=5)
    assert calls <= 5 * 4 + 1
