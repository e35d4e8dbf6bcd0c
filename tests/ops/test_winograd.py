"""Winograd's filtering is cross-correlation: the same numbers as the direct sum, forward and back."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn.ops import conv, winograd
from npsnn.testing.gradients import check_gradient

SHAPES = st.tuples(
    st.sampled_from(sorted(winograd.OUTPUTS)),
    st.integers(0, 3),
    *(st.integers(low, high) for low, high in ((5, 13), (5, 13), (1, 3), (1, 3), (1, 5))),
)


def case(shape: tuple[int, ...], dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, C, W, N) and weights (O, r, r, C)."""
    r, _, h, w, c, o, batch = shape
    rng = np.random.default_rng(0)
    return rng.standard_normal((h, c, w, batch)).astype(dtype), rng.standard_normal((o, r, r, c)).astype(dtype)


def both(x: np.ndarray, w: np.ndarray, padding: int) -> list[tuple[np.ndarray, ...]]:
    """Output, and cotangents of image and weights for one random cotangent: direct, then Winograd's."""
    r, batch = w.shape[1], x.shape[3]
    cols = conv.columns(x, (r, r), 1, padding)
    y = conv.conv2d(cols, w, batch)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    direct = (
        y,
        conv.conv2d_input_backward(dy, w, 1, padding, x.shape),
        conv.conv2d_weight_backward(dy, cols, w.shape),
    )
    y, saved = winograd.winograd(x, w, padding)
    return [direct, (y, *winograd.winograd_backward(dy, w, saved, padding, x.shape, True))]


@given(SHAPES)
def test_it_is_the_direct_sum_and_so_are_its_gradients(shape: tuple[int, ...]) -> None:
    for direct, found in zip(*both(*case(shape), shape[1]), strict=True):
        np.testing.assert_allclose(found, direct, rtol=1e-10, atol=1e-10 * abs(direct).max())


@pytest.mark.parametrize("r", winograd.OUTPUTS)
def test_gradients_are_those_of_finite_differences(r: int) -> None:
    x, w = case((r, 1, 6, 7, 2, 2, 2))
    y, saved = winograd.winograd(x, w, 1)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx, dw = winograd.winograd_backward(dy, w, saved, 1, x.shape, True)

    def f(a: dict[str, np.ndarray]) -> float:
        return float((winograd.winograd(a["x"], a["w"], 1)[0] * dy).sum())

    check_gradient(f, {"x": x, "w": w}, {"x": dx, "w": dw})


@given(SHAPES)
def test_a_bias_is_added_to_every_output(shape: tuple[int, ...]) -> None:
    x, w = case(shape)
    b = np.random.default_rng(2).standard_normal(len(w))
    y, _ = winograd.winograd(x, w, shape[1])
    shifted, _ = winograd.winograd(x, w, shape[1], b)
    np.testing.assert_allclose(shifted, y + b[:, None, None], rtol=1e-10, atol=1e-10 * abs(y).max())


def test_what_is_not_wanted_is_not_computed() -> None:
    x, w = case((3, 1, 6, 6, 2, 3, 2))
    y, saved = winograd.winograd(x, w, 1)
    dx, dw = winograd.winograd_backward(y, w, saved, 1, None, True)
    assert dx is None and dw is not None
    dx, dw = winograd.winograd_backward(y, w, saved, 1, x.shape, False)
    assert dx is not None and dw is None


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "bound"), [((3, 1, 16, 16, 64, 32, 8), 2e-5), ((5, 2, 14, 14, 64, 32, 8), 2e-5)])
def test_rounding_in_single_precision(shape: tuple[int, ...], bound: float) -> None:
    """Within 2e-5 of the largest output, of float64."""
    x, w = case(shape)
    exact, _ = both(x, w, shape[1])
    _, single = both(x.astype("f"), w.astype("f"), shape[1])
    for found, right in zip(single, exact, strict=True):
        assert found.dtype == np.float32
        assert abs(found - right).max() < bound * abs(right).max()


def test_results_do_not_depend_on_the_order_in_memory() -> None:
    x, w = case((3, 1, 8, 8, 3, 4, 5))
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    for one, other in zip(both(x, w, 1)[1], both(turned, w, 1)[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_written_to_an_argument() -> None:
    x, w = case((3, 1, 8, 8, 3, 4, 5))
    for a in (x, w):
        a.setflags(write=False)
    both(x, w, 1)


@pytest.mark.parametrize("r", winograd.OUTPUTS)
def test_the_transforms_are_exact_for_polynomials(r: int) -> None:
    """Aᵀ((G g) ∘ (Bᵀ d)) = Σ_k g_k d_{i+k}, in one dimension, for every unit g and d."""
    m = winograd.OUTPUTS[r]
    at, g, bt = (np.array(table) for table in winograd.transforms(m, r))
    for k in range(r):
        for j in range(m + r - 1):
            expected = [float(i + k == j) for i in range(m)]
            np.testing.assert_allclose(at @ (g[:, k] * bt[:, j]), expected, atol=1e-14)


def test_roots_make_their_polynomial() -> None:
    assert winograd._product_of_roots([Fraction(1), Fraction(-2)]) == [-2, 1, 1]
