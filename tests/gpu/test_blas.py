"""Where cuBLAS is looked for, what its errors say, and products without it."""

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import cublas_double
import numpy as np
import pytest
from cupy_double import Device, Module

from npsnn.backend import to_host
from npsnn.gpu import blas
from npsnn.gpu.blas import library
from npsnn.layers.affine import Conv2d
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Propagated
from npsnn.products import matmul


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were tried; those of `THERE` can be opened."""
    tried: list[str] = []

    def opening(path: str) -> Any:
        tried.append(path)
        if path not in THERE:
            raise OSError("no such file")
        return cublas_double.library()

    monkeypatch.setattr(ctypes, "CDLL", opening)
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", None)
    return tried


THERE = ["/cublas/of/pathfinder.so", "libcublas.so.13"]


def test_the_library_is_the_one_that_cupy_loads(
    double: Module, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: SimpleNamespace(abs_path=THERE[0]))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", found)
    own = library.__wrapped__()
    assert opened == [THERE[0]]
    assert {name: getattr(own, name).argtypes for name in blas.SIGNATURES} == blas.SIGNATURES
    assert all(getattr(own, name).restype is ctypes.c_int for name in blas.SIGNATURES)


def test_the_system_is_asked_for_the_version_of_cupys_cuda(double: Module, opened: list[str]) -> None:
    assert library.__wrapped__() is not None
    assert opened[-1] == "libcublas.so.13"


def test_without_the_library_there_is_one_clear_warning(
    double: Module, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(double.cuda.runtime, "runtimeGetVersion", lambda: 12090)
    with pytest.warns(RuntimeWarning, match=r"cuBLAS was not found.*libcublas\.so\.12: no such file.*pip install"):
        assert library.__wrapped__() is None


def test_products_without_the_library_are_cupys(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "library", lambda: None)
    a, out = double.asarray(np.arange(6.0).reshape(2, 3)), double.ones((2, 2))
    with cublas_double.called() as calls:
        matmul(a, a.T, out=out, add=True)
        np.testing.assert_array_equal(to_host(out), a.array @ a.array.T + 1)
        layer, x = Conv2d(2, 3, padding=1, bias=False), double.ones((4, 1, 4, 2), "f")
        y, backward = layer.forward({"w": double.ones((2, 3, 3, 1), "f")}, Moments(x), Propagated())
        dx, grads = backward(Moments(y.mean), Want.BOTH)
    assert not calls and not blas.available()
    assert float(y.mean[1, 0, 1, 0]) == 9 and dx is not None and grads["w"].shape == (2, 3, 3, 1)


def test_each_device_has_its_handle(double: Module) -> None:
    assert blas._handle(0) is not blas._handle(1)
    with Device(1):
        a = double.ones((2, 2))
        np.testing.assert_array_equal(to_host(matmul(a, a)), 2)


def test_errors_have_names(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    own, a = cublas_double.library(), double.ones((2, 2))
    monkeypatch.setattr(blas, "library", lambda: own)
    own.cublasGemmEx = lambda *args: 13
    with pytest.raises(
        RuntimeError, match=r"cublasGemmEx for 1 products of \(2, 2, 2\) failed: CUBLAS_STATUS_EXECUTION"
    ):
        matmul(a, a)
    own.cublasSetStream_v2 = lambda *args: 99
    with double.cuda.Stream(), pytest.raises(RuntimeError, match="cublasSetStream failed: status 99"):
        matmul(a, a)


def test_matrices_that_are_too_large_are_refused(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "LARGEST", 5)
    with pytest.raises(ValueError, match=r"sizes up to 5, got \(2, 6, 2\): take a smaller batch"):
        matmul(double.ones((2, 6)), double.ones((6, 2)))
