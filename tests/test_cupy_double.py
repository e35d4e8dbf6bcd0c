"""The double of CuPy: it refuses what CuPy refuses, and has nothing that CuPy has not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cublas_double
import cupy_double
import numpy as np
import pytest
from cupy_double import Module, ndarray, synchronisations

from npsnn.backend import namespace, special, to_device, to_host


def test_the_double_refuses_what_cupy_refuses(double: Module) -> None:
    x, host = double.ones((2, 3)), np.ones((2, 3))
    refused: list[Callable[[], Any]] = [
        lambda: np.asarray(x),
        lambda: np.sqrt(x),
        lambda: x + host,
        lambda: host + x,
        lambda: double.add(x, host),
        lambda: double.sqrt([1.0, 2.0]),
        lambda: x.sum(initial=1.0),
        lambda: x.__setitem__(0, host[0]),
        lambda: [0, 1][double.asarray(1)],
    ]
    for f in refused:
        with pytest.raises(TypeError):
            f()
    for missing in (lambda: double.vecdot, lambda: double.errstate, lambda: x.tofoo, lambda: x.__array_namespace__):
        with pytest.raises(AttributeError):
            missing()


def test_the_double_keeps_arrays_and_counts_waits(double: Module) -> None:
    x = double.asarray(np.arange(6.0).reshape(2, 3))
    assert isinstance(x.sum(), ndarray) and x.sum().shape == () and isinstance(x[0, 1], ndarray)
    x[:, 1] += 10
    row = x[1]
    row *= 2
    np.testing.assert_array_equal(x.get(), [[0, 11, 2], [6, 28, 10]])
    out = double.empty(3)
    assert double.multiply(x[0], 2, out=out) is out
    with synchronisations() as waits:
        assert x.sum() > 0 and float(x.max()) == 28 and int(x.argmax()) == 4
        x[x > 5] = 0
        x.get()
    assert waits == {"bool": 1, "float": 1, "int": 1, "mask": 1, "get": 1}


WITH_CUPY = pytest.mark.skipif(
    find_spec("cupy") is None, reason="CuPy is not installed; its wheel is enough, without a GPU"
)


@WITH_CUPY
def test_cupy_makes_a_kernel_of_every_fused_function() -> None:
    """In a process of its own, in which CuPy and the double meet."""
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent / "scripts", here.parent)))}
    done = subprocess.run(
        [sys.executable, str(here / "fusing_program.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == {} and found["functions"] > 50


@WITH_CUPY
def test_the_double_has_nothing_that_cupy_has_not() -> None:
    cupy, special = import_module("cupy"), import_module("cupyx.scipy.special")
    parts = (cupy, cupy_double.NAMES), (special, cupy_double.SPECIAL_NAMES), (cupy.ndarray, cupy_double.METHODS)
    assert [name for part, names in parts for name in names if not hasattr(part, name)] == []
    assert cupy.ndarray.__module__ == ndarray.__module__
    for name in ("__array_namespace__", "__index__"):
        assert hasattr(cupy.ndarray, name) == hasattr(ndarray, name)
    assert cupy.fuse is not None


def test_the_double_refuses_what_cupy_leaves_undefined(double: Module) -> None:
    x = double.asarray(np.arange(4.0))
    with pytest.raises(ValueError, match="one place twice"):
        x[double.asarray(np.array([1, 1]))] = 0
    overlapping = double.lib.stride_tricks.as_strided(x, (3, 2), (8, 8))
    with pytest.raises(ValueError, match="read-only"):
        overlapping += 1
    assert np.isnan(double.empty((2, 2)).get()).all()


def test_the_double_knows_what_lies_at_an_address(double: Module) -> None:
    x, number = double.asarray(np.arange(6.0)), np.dtype(np.float64)
    inside = x[2:].data.ptr
    assert cublas_double.owner_of(inside) is x.array
    np.testing.assert_array_equal(cublas_double.memory(inside, 4, number), [2.0, 3.0, 4.0, 5.0])
    for start, count in ((inside, 5), (inside - 24, 2), (inside + 32, 1)):
        with pytest.raises(AssertionError, match="not in the memory"):
            cublas_double.memory(start, count, number)
    del x
    with pytest.raises(AssertionError, match="not in the memory"):
        cublas_double.memory(inside, 1, number)


REFUSED_IN_FUSION: dict[str, Callable[[Module, Any, Any], Any]] = {
    "truth value": lambda xp, x, a: x if x > 0 else a * x,
    "index": lambda xp, x, a: x[:1],
    "attribute": lambda xp, x, a: x * x.size,
    "method": lambda xp, x, a: x.reshape(-1),
    "built-in": lambda xp, x, a: abs(x),
    "reduction": lambda xp, x, a: x * x.sum(),
    "function": lambda xp, x, a: xp.where(x > 0),
    "other reduction": lambda xp, x, a: x * xp.max(x, axis=0),
    "two sums": lambda xp, x, a: xp.sum(xp.sum(x, axis=0), axis=0),
    "sum beside what it is of": lambda xp, x, a: x - xp.sum(x, axis=0),
    "sum of everything": lambda xp, x, a: xp.sum(x, axis=(0, 1)),
    "array from elsewhere": lambda xp, x, a: x + xp.ones(2),
    "number as a result": lambda xp, x, a: (x, a),
    "list as a result": lambda xp, x, a: [x],
    "large number": lambda xp, x, a: x * 2**63,
    "two numbers": lambda xp, x, a: (a - 1) * x,
    "a function of a number": lambda xp, x, a: xp.sqrt(a) * x,
    "numbers alone to choose from": lambda xp, x, a: xp.where(x > 0, 1.0, a),
    "a number beside truth values": lambda xp, x, a: x * ((x > 0) * a),
    "a number as content": lambda xp, x, a: x.__setitem__(..., 3.0),
    "nothing": lambda xp, x, a: None,
}


@pytest.mark.parametrize("body", REFUSED_IN_FUSION.values(), ids=REFUSED_IN_FUSION)
def test_fusion_refuses_what_is_no_kernel(double: Module, body: Callable[[Module, Any, Any], Any]) -> None:
    def f(x: Any, a: float) -> Any:
        return body(double, x, a)

    with pytest.raises((TypeError, AttributeError, NotImplementedError)):
        double.fuse()(f)(double.asarray(np.array([[1.0, -2.0]])), 2.0)


def test_fusion_computes(double: Module) -> None:
    @double.fuse()
    def f(x: Any, a: float, nothing: None) -> Any:
        assert nothing is None
        y = double.sqrt(a * x) + 1
        y *= x > 0
        return y, y.astype(np.float64)

    x = double.asarray(np.array([[1.0, 4.0]], np.float32))
    y, wide = f(x, 4.0, None)
    np.testing.assert_array_equal(y.get(), [[3, 5]])
    assert y.dtype == np.float32 and wide.dtype == np.float64
    with pytest.raises(TypeError, match="Invalid argument type"):
        f(x, [4.0], None)


def test_fusion_writes_to_arguments_that_are_whole_and_apart(double: Module) -> None:
    @double.fuse()
    def f(x: Any, out: Any, row: Any) -> None:
        out[...] = 0
        out += x
        out += 1.0
        double.multiply(out, row, out=out)

    x, both, row = double.ones((2, 3)), double.zeros((4, 3)), double.asarray(np.array([1.0, 2.0, 3.0]))
    assert f(x, both[::2], row) is None
    np.testing.assert_array_equal(both.get(), [[2, 4, 6], [0, 0, 0], [2, 4, 6], [0, 0, 0]])
    with pytest.raises(TypeError, match="broadcast cannot be written to"):
        f(x, both[:1], row)
    with pytest.raises(TypeError, match="share memory"):
        f(both[1:3], both[:2], row)


def test_fusion_takes_one_sum(double: Module) -> None:
    @double.fuse()
    def f(x: Any, y: Any) -> Any:
        total = double.sum(double.where(x > 0, x * y, 0.0), axis=(1, 2))
        return 2 * total

    x = double.asarray(np.arange(-6.0, 6).reshape(2, 2, 3))
    np.testing.assert_array_equal(f(x, x).get(), [0, 110])


def test_fusion_gives_results_of_one_shape_from_few_arguments(double: Module) -> None:
    @double.fuse()
    def f(*x: Any) -> Any:
        return x[0], x[0] * x[1]

    with pytest.raises(TypeError, match="one shape"):
        f(double.ones(3), double.ones((2, 3)))
    with pytest.raises(TypeError, match="take 4160 bytes"):
        f(*[double.ones((1, 1, 1, 1))] * 50)


def test_arrays_of_another_device_are_refused(double: Module) -> None:
    x = double.ones(3)
    with double.cuda.Device(1), pytest.raises(ValueError, match="current device"):
        x + 1


def test_the_library_is_found_from_the_array(double: Module) -> None:
    x = double.ones(3)
    assert namespace(x, None, 2.0) is double and namespace(np.ones(3)) is np
    assert special(x).__name__ == "cupyx.scipy.special"
    with pytest.raises(TypeError, match="one library"):
        namespace(x, np.ones(3))
    assert isinstance(to_host(x), np.ndarray) and isinstance(to_device(np.ones(3), "cuda"), ndarray)
