"""Cross-correlation of views on a GPU against the one of NumPy, which has its own tests, in each form of the sum."""

from types import ModuleType
from typing import Any

import cublas_double
import numpy as np
import pytest
from cupy_double import Module
from cupy_graph_double import launches
from hypothesis import HealthCheck, given, settings
from on_device import same
from strategies import Convolution, convolutions

from npsnn.backend import Array
from npsnn.gpu import blas
from npsnn.layers.affine import Conv2d
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Propagated
from npsnn.ops import conv, framing, shifts

FORMS = {"shifts": (0, 0), "columns": (10**9, 0), "gather": (0, 10**9)}
"""SHORT and FEW for each form, where the form has a choice."""


def with_numpy(x: Array, w: Array, dy: Array, stride: int, padding: int) -> tuple[Array, Array, Array]:
    columns = conv.columns(x, w.shape[1:3], stride, padding)
    dx = conv.conv2d_input_backward(dy, w, stride, padding, x.shape)
    return conv.conv2d(columns, w, x.shape[-1]), dx, conv.conv2d_weight_backward(dy, columns, w.shape)


def by_shifts(x: Array, w: Array, dy: Array, stride: int, padding: int) -> tuple[Array, Array, Array]:
    y, taken = shifts.conv2d(x, w, stride, padding)
    dx = shifts.conv2d_input_backward(dy, w, stride, padding, x.shape)
    return y, dx, shifts.conv2d_weight_backward(dy, taken, w.shape)


def values(x: tuple[int, ...], w: tuple[int, ...], stride: int, padding: int, dtype: str = "d") -> list[Any]:
    rng = np.random.default_rng(0)
    out = [(size + 2 * padding - kernel) // stride + 1 for size, kernel in ((x[0], w[1]), (x[2], w[2]))]
    shapes = x, w, (out[0], w[0], out[1], x[3])
    return [(0.1 * rng.normal(size=shape)).astype(dtype) for shape in shapes]


def take(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have convolutions take the form, as if the batches were large."""
    for name, limit in zip(("SHORT", "FEW", "IDLE"), (*FORMS[form], 0), strict=True):
        monkeypatch.setattr(shifts, name, limit)


def compare(cupy: ModuleType, arrays: list[Any], stride: int, padding: int) -> None:
    want = with_numpy(*arrays, stride, padding)
    rtol = 1e-12 if arrays[0].dtype == np.float64 else 1e-5
    same(by_shifts(*map(cupy.asarray, arrays), stride, padding), want, rtol)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("large", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=convolutions())
def test_all_forms_are_numpys_sum(
    cupy: ModuleType, form: str, large: bool, case: Convolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(form, monkeypatch)
    monkeypatch.setattr(framing, "LARGE", 0 if large else 1 << 22)
    monkeypatch.setattr(shifts, "LONG", 1 if large else 512)  # sums over each row of outputs are cut into pieces
    w = (case.filters, *case.kernel, case.pixels.channels)
    compare(cupy, values(case.pixels.shape, w, case.stride, case.padding), case.stride, case.padding)


NETWORKS = {
    "LeNet-5, first": ((28, 1, 28, 4), (6, 5, 5, 1), 1, 2, "columns", "gather"),
    "LeNet-5, second": ((14, 6, 14, 4), (16, 5, 5, 6), 1, 0, "columns", "gather"),
    "LeNet-5, third": ((5, 16, 5, 4), (120, 5, 5, 16), 1, 0, "whole", "whole"),
    "ResNet-18, first": ((8, 3, 8, 4), (64, 3, 3, 3), 1, 1, "columns", "gather"),
    "ResNet-18": ((4, 64, 4, 4), (64, 3, 3, 64), 1, 1, "shifts", "shifts"),
    "ResNet-18, halving": ((4, 64, 4, 2), (128, 3, 3, 64), 2, 1, "shifts", "shifts"),
    "ResNet-18, shortcut": ((4, 64, 4, 2), (128, 1, 1, 64), 2, 0, "shifts", "shifts"),
}


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_networks(cupy: ModuleType, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, stride, padding, forward, backward = NETWORKS[name]
    monkeypatch.setattr(shifts, "IDLE", 0)  # as if the batches were large
    forms: list[str] = []
    correlated = shifts._correlated
    monkeypatch.setattr(shifts, "_correlated", lambda *args: forms.append((y := correlated(*args))[1].form) or y)
    compare(cupy, values(x, w, stride, padding, dtype), stride, padding)
    assert set(forms) <= {forward, backward}
    assert forms == [] if forward == "whole" else (forms[0], forms[-1]) == (forward, backward)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_views_are_read_as_they_are(
    cupy: ModuleType, form: str, stride: int, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut out, turned, every other pixel, some channels, every other example, and one number for all."""
    take(form, monkeypatch)
    arrays = values((7, 2, 6, 4), (3, 3, 3, 2), stride, padding)
    want = with_numpy(*arrays, stride, padding)

    def cut(a: Any) -> Any:
        wide = cupy.asarray(np.pad(a, 1, constant_values=np.nan))
        return wide[1:-1, 1:-1, 1:-1, 1:-1]

    def turned(a: Any) -> Any:
        return cupy.asarray(np.ascontiguousarray(a.transpose(3, 0, 2, 1))).transpose(1, 3, 2, 0)

    def other(a: Any) -> Any:
        return cupy.asarray(np.repeat(np.repeat(a, 2, axis=0), 2, axis=2))[::2, :, ::2]

    def channels(a: Any) -> Any:
        return cupy.asarray(np.pad(a, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=np.nan))[:, 1:-1]

    def examples(a: Any) -> Any:
        return cupy.asarray(np.repeat(a, 2, axis=3))[..., ::2]

    for view in (cut, turned, other, channels, examples):
        same(by_shifts(*map(view, arrays), stride, padding), want)
    arrays[0] = np.broadcast_to(arrays[0][0, 0, 0, 0], arrays[0].shape)
    x = cupy.broadcast_to(cupy.asarray(arrays[0][0, 0, 0, 0].copy()), arrays[0].shape)
    same(by_shifts(x, *map(cupy.asarray, arrays[1:]), stride, padding), with_numpy(*arrays, stride, padding))


def test_the_gradient_of_the_weights_is_one_call(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "IDLE", 0)
    x, w, dy = map(double.asarray, values((6, 64, 6, 4), (64, 3, 3, 64), 1, 1, "f"))
    with cublas_double.called() as calls:
        _, taken = shifts.conv2d(x, w, 1, 1)
    assert calls == ["cublasGemmStridedBatchedEx"] * 3
    with cublas_double.called() as calls, launches() as kernels:
        shifts.conv2d_weight_backward(dy, taken, w.shape)
    assert calls == ["cublasGemmBatchedEx"] and len(kernels) == 3, "the addresses, the products and one sum"


@pytest.mark.parametrize(
    ("tiles", "width", "n", "pieces"),
    [(28, 28, 128, 7), (30, 10, 128, 2), (30, 10, 1024, 10), (288, 32, 128, 4), (1152, 8, 1024, 1), (1, 7, 8, 1)],
)
def test_sums_are_cut_into_as_many_pieces_as_keep_a_gpu_busy(tiles: int, width: int, n: int, pieces: int) -> None:
    assert shifts._pieces(tiles, width, n, shifts.BUSY) == pieces
    assert pieces == 1 or width // pieces * n >= shifts.LONG


@pytest.mark.parametrize(
    ("a", "b", "kernel", "step", "size", "form", "with_tf32"),
    [
        (1, 6, 5, 1, 28, "columns", "columns"),
        (3, 64, 3, 1, 32, "columns", "columns"),
        (16, 6, 5, 1, 14, "gather", "gather"),
        (32, 32, 5, 1, 28, "shifts", "shifts"),
        (64, 64, 3, 1, 32, "shifts", "columns"),
        (64, 128, 3, 2, 16, "shifts", "columns"),
        (128, 64, 3, 1, 8, "shifts", "shifts"),
        (512, 512, 3, 1, 4, "shifts", "columns"),
        (128, 128, 3, 1, 2, "gather", "gather"),
        (128, 128, 1, 1, 2, "shifts", "shifts"),
    ],
)
def test_the_form_suits_the_sizes(a: int, b: int, kernel: int, step: int, size: int, form: str, with_tf32: str) -> None:
    tiles = size * -(-b // shifts.TILE) * (size * 128 // shifts.TILE)
    for tensor_cores, want in ((False, form), (True, with_tf32)):
        assert shifts._form(a, b, kernel, kernel, step, tiles, tensor_cores) == want


@pytest.mark.parametrize("form", FORMS)
def test_with_tf32_every_product_is_of_many_matrices(
    double: Module, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a gradient of 6 by 25 numbers is no multiple of 16 bytes."""
    monkeypatch.setattr(shifts, "SHORT", FORMS[form][0])
    monkeypatch.setattr(shifts, "FEW", FORMS[form][1])
    monkeypatch.setattr(shifts, "LONG", 1)
    monkeypatch.setitem(blas._precision, "tf32", True)
    arrays = values((8, 1, 8, 4), (6, 5, 5, 1), 1, 2, "f")
    with cublas_double.called() as calls:
        found = by_shifts(*map(double.asarray, arrays), 1, 2)
    for a, b in zip(found, with_numpy(*arrays, 1, 2), strict=True):
        assert np.linalg.norm(a.get() - b) < 1e-3 * np.linalg.norm(b)
    assert len(calls) <= 11 and calls[-1] == "cublasGemmBatchedEx"


@pytest.mark.parametrize(("n", "kind"), [(8, "D"), (6, "f")])
def test_copies_move_large_numbers_where_they_can(
    double: Module, n: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds, view = [], type(double.zeros(1)).__setitem__
    monkeypatch.setattr(
        type(double.zeros(1)), "__setitem__", lambda self, *args: kinds.append(self.dtype.char) or view(self, *args)
    )
    x, w, _ = map(double.asarray, values((6, 3, 6, n), (64, 3, 3, 3), 1, 1, "f"))
    shifts.conv2d(x, w, 1, 1)
    assert kinds == [kind, kind], "zeros around the image, and the columns"


def test_nothing_is_copied_without_need(double: Module) -> None:
    x, w, dy = map(double.asarray, values((6, 64, 6, 4), (64, 1, 1, 64), 1, 0, "f"))
    with launches() as kernels:
        _, taken = shifts.conv2d(x, w, 1, 0)
    assert len(kernels) == 1 and np.shares_memory(taken.parts[0].array, x.array)
    with launches() as kernels:
        shifts.conv2d_input_backward(dy, w, 1, 0, x.shape)
    assert len(kernels) == 2, "the turned kernel and the product"


def test_a_layer_on_the_device_carries_a_variance(cupy: ModuleType) -> None:
    layer, rng = Conv2d(3, 3, padding=1), np.random.default_rng(1)
    params = {"w": rng.normal(size=(3, 3, 3, 2)).astype("f"), "b": rng.normal(size=3).astype("f")}
    m = Moments(rng.normal(size=(5, 2, 5, 3)).astype("f"), rng.uniform(0.1, 1, size=(5, 2, 5, 3)).astype("f"))

    def run(xp: Any) -> Any:
        own = {name: xp.asarray(p) for name, p in params.items()}
        y, backward = layer.forward(own, Moments(xp.asarray(m.mean), xp.asarray(m.var)), Propagated())
        return y, *backward(Moments(y.mean * 2, y.var * 3), Want.BOTH)

    same(run(cupy), run(np), 1e-5)
