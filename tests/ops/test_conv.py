"""Cross-correlation against loops, its gradients against finite differences."""

import numpy as np
import pytest
from hypothesis import given
from strategies import Convolution, Pixels, batch_first, batch_last, convolutions, frozen

from npsnn.ops import conv
from npsnn.reference import plain
from npsnn.testing.gradients import Arrays, check_gradient


def forward(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return conv.conv2d(conv.columns(x, w.shape[1:3], stride, padding), w, x.shape[-1])


def backward(dy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    cols = conv.columns(x, w.shape[1:3], stride, padding)
    dx = conv.conv2d_input_backward(dy, w, stride, padding, x.shape)
    return dx, conv.conv2d_weight_backward(dy, cols, w.shape)


def values(case: Convolution) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = case.pixels.rng
    return rng.normal(size=case.pixels.shape), rng.normal(size=(case.filters, *case.kernel, case.pixels.channels)), rng


@given(convolutions())
def test_value_is_the_papers_sum(case: Convolution) -> None:
    x, w, _ = values(case)
    want = plain.cross_correlation(batch_first(x), w, np.zeros(case.filters), case.stride, case.padding)
    got = forward(x, w, case.stride, case.padding)
    np.testing.assert_allclose(got, batch_last(want), rtol=1e-12, atol=1e-12)


@given(convolutions())
def test_gradients(case: Convolution) -> None:
    x, w, rng = values(case)
    dy = rng.normal(size=forward(x, w, case.stride, case.padding).shape)
    dx, dw = backward(dy, x, w, case.stride, case.padding)

    def f(a: Arrays) -> float:
        return (forward(a["x"], a["w"], case.stride, case.padding) * dy).sum()

    check_gradient(f, {"x": x, "w": w}, {"x": dx, "w": dw})


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (3, 1), (1, 2), (2, 2)])
def test_rows_and_columns_left_over_have_no_gradient(stride: int, padding: int) -> None:
    case = Convolution(Pixels(3, batch=2, channels=2, height=9, width=8), 3, (4, 3), stride, padding)
    x, w, _ = values(case)
    y = forward(x, w, stride, padding)
    dx, _ = backward(np.ones_like(y), x, w, stride, padding)
    used_rows = stride * (y.shape[0] - 1) + 4 - padding
    used_columns = stride * (y.shape[2] - 1) + 3 - padding
    assert (dx[used_rows:] == 0).all() and (dx[:, :, used_columns:] == 0).all()
    assert (dx[:used_rows, :, :used_columns] != 0).any(axis=(1, 3)).all() or stride > 1


@given(convolutions())
def test_single_precision_stays_and_no_argument_is_written(case: Convolution) -> None:
    x, w, rng = values(case)
    x, w = frozen(x.astype(np.float32)), frozen(w.astype(np.float32))
    cols = frozen(conv.columns(x, case.kernel, case.stride, case.padding))
    y = conv.conv2d(cols, w, x.shape[-1])
    dy = frozen(rng.normal(size=y.shape).astype(np.float32))
    dw = conv.conv2d_weight_backward(dy, cols, w.shape)
    dx = conv.conv2d_input_backward(dy, w, case.stride, case.padding, x.shape)
    assert {cols.dtype, y.dtype, dw.dtype, dx.dtype} == {np.dtype(np.float32)}
    assert dx.shape == x.shape and dw.shape == w.shape


@pytest.mark.parametrize("padding", [0, 2])
def test_views_of_any_strides_give_the_same_numbers(padding: int) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(7, 2, 6, 3)), rng.normal(size=(4, 3, 3, 2))
    want = forward(x, w, 2, padding)
    backwards = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(forward(backwards, w, 2, padding), want)
    one = np.broadcast_to(np.float64(0.36), x.shape)
    np.testing.assert_array_equal(forward(one, w, 2, padding), forward(np.array(one), w, 2, padding))
    dy = rng.normal(size=want.shape)
    view = np.ascontiguousarray(dy.transpose(1, 0, 3, 2)).transpose(1, 0, 3, 2)
    for got, expected in zip(backward(view, x, w, 2, padding), backward(dy, x, w, 2, padding), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_large_products_in_halves_are_the_same_products() -> None:
    """LeNet-5's second convolution on 64 images, whose columns are taken in two halves, against 5 and 59 of them."""
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(14, 6, 14, 64)), rng.normal(size=(16, 5, 5, 6))
    assert 1_000_000 < w.size * 10 * 64 <= 2_000_000, "the case no longer reaches that branch"
    y = forward(x, w, 1, 0)
    dx, dw = backward(y, x, w, 1, 0)
    few, rest = (forward(np.ascontiguousarray(x[..., s]), w, 1, 0) for s in (slice(5), slice(5, None)))
    np.testing.assert_allclose(y, np.concatenate([few, rest], axis=-1), rtol=1e-12)
    parts = [
        backward(np.ascontiguousarray(y[..., s]), np.ascontiguousarray(x[..., s]), w, 1, 0)
        for s in (slice(5), slice(5, None))
    ]
    np.testing.assert_allclose(dx, np.concatenate([p[0] for p in parts], axis=-1), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(dw, parts[0][1] + parts[1][1], rtol=1e-11)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(3, 3, 1, 0), (1, 3, 1, 1), (3, 2, 2, 0), (2, 4, 3, 1), (3, 3, 3, 1)]
)
def test_one_output_pixel(size: int, kernel: int, stride: int, padding: int) -> None:
    """Only the first of these kernels is a matrix; the others see padding, leave rows over, or do both."""
    pixels = Pixels(4, batch=2, channels=2, height=size, width=size)
    case = Convolution(pixels, 3, (kernel, kernel), stride, padding)
    x, w, rng = values(case)
    want = plain.cross_correlation(batch_first(x), w, np.zeros(3), stride, padding)
    assert want.shape[2:] == (1, 1)
    np.testing.assert_allclose(forward(x, w, stride, padding), batch_last(want), rtol=1e-12, atol=1e-12)
    dy = rng.normal(size=(1, 3, 1, 2))
    dx, dw = backward(dy, x, w, stride, padding)

    def f(a: Arrays) -> float:
        return (forward(a["x"], a["w"], stride, padding) * dy).sum()

    check_gradient(f, {"x": x, "w": w}, {"x": dx, "w": dw})
