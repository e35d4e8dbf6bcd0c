"""Products of matrices: NumPy's own on a CPU, and on a GPU the same numbers whatever the strides."""

from types import ModuleType
from typing import Any

import cublas_double
import numpy as np
import pytest
from cupy_double import Module
from cupy_graph_double import Kernel, launches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npsnn.backend import strided, to_host
from npsnn.gpu import blas
from npsnn.products import matmul

TOLERANCE = {"f": 1e-5, "d": 1e-12}
LAYOUTS = ("rows", "columns", "spread", "wide", "reversed", "backwards", "constant", "windows")


def laid_out(values: np.ndarray, layout: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    """An array that holds the values, and the index of the view of it that is the values."""
    if layout == "columns":
        return np.ascontiguousarray(values.swapaxes(-1, -2)), ("turned",)
    if layout == "spread":  # no leading dimension fits
        wide = np.full((*values.shape[:-1], 2 * values.shape[-1]), np.nan, values.dtype)
        wide[..., ::2] = values
        return wide, (..., slice(None, None, 2))
    if layout == "wide":
        wide = np.full((*values.shape[:-1], values.shape[-1] + 3), np.nan, values.dtype)
        wide[..., 1:-2] = values
        return wide, (..., slice(1, -2))
    if layout == "reversed":
        return np.ascontiguousarray(values[..., ::-1, :]), (..., slice(None, None, -1), slice(None))
    if layout == "backwards" and values.ndim > 2:
        return np.ascontiguousarray(values[::-1]), (slice(None, None, -1), ...)
    return np.ascontiguousarray(values), (...,)


def view(array: Any, index: tuple[Any, ...]) -> Any:
    return array.swapaxes(-1, -2) if index == ("turned",) else array[index]


def on_device(cupy: Any, values: np.ndarray, layout: str) -> Any:
    if layout == "constant":
        return cupy.broadcast_to(cupy.asarray(values[..., :1, :1].copy()), values.shape)
    if layout == "windows":
        line = cupy.asarray(_line(values))
        return strided(line, values.shape, (0,) * (values.ndim - 2) + (line.itemsize,) * 2)
    array, index = laid_out(values, layout)
    return view(cupy.asarray(array), index)


def the_values(values: np.ndarray, layout: str) -> np.ndarray:
    if layout == "windows":
        return np.broadcast_to(np.lib.stride_tricks.sliding_window_view(_line(values), values.shape[-1]), values.shape)
    return np.broadcast_to(values[..., :1, :1], values.shape) if layout == "constant" else values


def _line(values: np.ndarray) -> np.ndarray:
    """Numbers of which each row of a matrix has the next one first."""
    return np.resize(values, sum(values.shape[-2:]) - 1)


BATCHES = (
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((3,), (3,)),
    ((1,), (3,)),
    ((2, 3), (3,)),
    ((2, 1), (2, 3)),
    ((2, 3), (2, 3)),
)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("out", [None, *LAYOUTS[:4]])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(*[st.integers(1, 5)] * 3),
    batches=st.sampled_from(BATCHES),
    a_lies=st.sampled_from(LAYOUTS),
    b_lies=st.sampled_from(LAYOUTS),
    add=st.booleans(),
)
def test_a_product_is_numpys_whatever_the_strides(
    cupy: ModuleType,
    dtype: str,
    out: str | None,
    sizes: tuple[int, int, int],
    batches: tuple[tuple[int, ...], tuple[int, ...]],
    a_lies: str,
    b_lies: str,
    add: bool,
) -> None:
    rng, (m, k, n) = np.random.default_rng(sum(sizes)), sizes
    a, b = (rng.normal(size=s).astype(dtype) for s in ((*batches[0], m, k), (*batches[1], k, n)))
    x, y = on_device(cupy, a, a_lies), on_device(cupy, b, b_lies)
    want = np.matmul(the_values(a, a_lies), the_values(b, b_lies))
    if out is None:
        got = matmul(x, y)
    else:
        before = rng.normal(size=want.shape).astype(dtype)
        array, index = laid_out(before, out)
        place = cupy.asarray(array)
        got = view(place, index)
        assert matmul(x, y, out=got, add=add) is got
        want = want + before if add else want
        outside = to_host(place).copy()
        view(outside, index)[...] = 0
        kept = array.copy()
        view(kept, index)[...] = 0
        np.testing.assert_array_equal(outside, kept, "something beside the result was written")
    assert got.dtype == np.dtype(dtype) and got.shape == want.shape
    np.testing.assert_allclose(to_host(got), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_numpys_products_are_numpys_own() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 40, 50)).astype("f"), rng.normal(size=(50, 30)).astype("f")
    np.testing.assert_array_equal(matmul(a, b), a @ b)
    out = np.empty((3, 40, 30), "f")
    assert matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, a @ b)
    matmul(a, b, out=out, add=True)
    np.testing.assert_array_equal(out, (a @ b) * 2)


def test_a_view_that_overlaps_itself_is_read_in_place(double: Module) -> None:
    """Windows of a convolution: rows of a matrix are those of the next one, too, and two dimensions lead to one."""
    x, w = double.asarray(np.random.default_rng(1).normal(size=(6, 5, 8))), double.ones((3, 10))
    windows = strided(x, (2, 5, 10, 6), (8, 5 * 8 * 8, 8 * 8, 8))
    want = np.ones((3, 10)) @ windows.array
    with cublas_double.called() as calls, launches() as kernels:
        found = matmul(w, windows)
    np.testing.assert_allclose(to_host(found), want, rtol=1e-12)
    assert calls == ["cublasGemmBatchedEx"] and len(kernels) == 2, "one kernel computes the addresses"
    met = 6 * 5 * 7 * 8  # bytes of seven columns of x
    assert kernels[1] == Kernel("product", w.nbytes + met, found.nbytes, 2 * 10 * 3 * 10 * 6)
    with cublas_double.called() as calls:
        matmul(w, windows[1])
        matmul(w, windows[:1])
        matmul(w, windows[:, :1])
    assert calls == ["cublasGemmStridedBatchedEx"] * 3


def test_one_factor_for_all_makes_one_product(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = double.ones((4, 3, 5)), double.ones((5, 2))
    counts: list[int] = []
    multiply = blas.multiply
    monkeypatch.setattr(blas, "multiply", lambda *args: counts.append(args[5]) or multiply(*args))
    with cublas_double.called() as calls:
        for factor in (a, a[:, :2]):
            np.testing.assert_array_equal(to_host(matmul(factor, b)), 5)
    assert calls == ["cublasGemmEx", "cublasGemmStridedBatchedEx"]
    square = double.asarray(np.random.default_rng(0).normal(size=(4, 5, 5))).transpose(0, 2, 1)
    np.testing.assert_allclose(to_host(matmul(square, b)), square.array @ b.array, rtol=1e-12)
    assert counts == [1, 4, 4]


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_empty_products(cupy: ModuleType, dtype: str) -> None:
    assert matmul(cupy.zeros((0, 3), dtype), cupy.zeros((3, 2), dtype)).shape == (0, 2)
    nothing, out = (cupy.zeros((4, 0), dtype), cupy.zeros((0, 2), dtype)), cupy.ones((4, 2), dtype)
    np.testing.assert_array_equal(to_host(matmul(*nothing)), 0)
    np.testing.assert_array_equal(to_host(matmul(*nothing, out=out, add=True)), 1)


def test_dtypes_meet_in_the_larger_one(cupy: ModuleType) -> None:
    a, b, whole = cupy.ones((2, 3), "f"), cupy.ones((3, 2), "d"), cupy.ones((3, 2), "i")
    assert matmul(a, b).dtype == np.float64
    assert matmul(a, whole).dtype == np.float64  # NumPy's rule for float32 and int32
    np.testing.assert_array_equal(to_host(matmul(whole, whole.T)), 2)


def test_shapes_that_do_not_fit_are_refused(cupy: ModuleType) -> None:
    a = cupy.ones((2, 3))
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 3\)"):
        matmul(a, a)
    with pytest.raises(ValueError, match=r"got \(3,\) and"):
        matmul(cupy.ones(3), a.T)
    with pytest.raises(ValueError, match="out must be given"):
        matmul(a, a.T, add=True)
    with pytest.raises(ValueError, match=r"out must have the shape \(2, 2\), got \(3, 2\)"):
        matmul(a, a.T, out=a.T)


@pytest.mark.parametrize("batch", [1, 8])
def test_tf32_rounds_factors_of_single_precision_alone(double: Module, batch: int) -> None:
    """With 1 the addresses of matrices are not multiples of 16 bytes, for which cuBLAS has no tensor cores."""
    x = np.random.default_rng(2).normal(size=(6, 4, 5, batch))
    w = np.random.default_rng(3).normal(size=(3, 8))

    def product(dtype: str) -> np.ndarray:
        a, on = double.asarray(w.astype(dtype)), double.asarray(x.astype(dtype))
        row, item = 4 * 5 * batch * on.itemsize, on.itemsize
        windows = strided(on, (2, 5, 8, 4 * batch), (batch * item, row, 5 * batch * item, item))
        return to_host(matmul(a, windows))

    exact = {dtype: product(dtype) for dtype in "fd"}
    blas.tf32(True)
    rounded = {dtype: product(dtype) for dtype in "fd"}
    np.testing.assert_array_equal(rounded["d"], exact["d"])
    error = np.abs(rounded["f"] - exact["d"]).max()
    assert 1e-4 < error < 1e-2 and np.abs(exact["f"] - exact["d"]).max() < 1e-5
    blas.tf32(False)
    np.testing.assert_array_equal(product("f"), exact["f"])


def test_products_are_captured_and_follow_the_stream(double: Module) -> None:
    a, b = double.asarray(np.eye(3)), double.asarray(np.arange(6.0).reshape(3, 2))
    out = matmul(a, b)
    assert cublas_double.settings["stream"] == 0
    stream = double.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        matmul(a, b, out=out, add=True)
        again = matmul(out, b.T)
        graph = stream.end_capture()
    assert cublas_double.settings == {"stream": stream.ptr, "workspace": (1 << 20, blas.WORKSPACE)}
    np.testing.assert_array_equal(to_host(out), to_host(b))
    for times in (2, 3):
        graph.launch()
        np.testing.assert_array_equal(to_host(out), times * to_host(b))
        np.testing.assert_array_equal(to_host(again), times * to_host(b) @ to_host(b).T)


def test_a_capture_does_not_make_a_handle(double: Module) -> None:
    a, stream = double.ones((2, 2)), double.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="handle of cuBLAS"):
            matmul(a, a)
        stream.end_capture()


def test_many_products_are_several_calls(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "TOGETHER", 3)
    x = double.asarray(np.random.default_rng(4).normal(size=(8, 3, 2, 4)))
    with cublas_double.called() as calls:
        found = matmul(x[:, 0], x[:, 1].transpose(0, 2, 1))
    np.testing.assert_allclose(to_host(found), x.array[:, 0] @ x.array[:, 1].transpose(0, 2, 1), rtol=1e-12)
    assert len(calls) == 3
    two = x[:, :2]  # two dimensions that are not one
    np.testing.assert_allclose(
        to_host(matmul(two, two.transpose(0, 1, 3, 2))), two.array @ two.array.transpose(0, 1, 3, 2), rtol=1e-12
    )
