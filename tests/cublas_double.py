"""cuBLAS of the double: products of matrices that are found by their addresses alone, as on a GPU.

Whatever lies at an address is read and written there, so a wrong offset, leading dimension or step gives wrong numbers.
Refused, where cuBLAS would read or write what it finds: memory that is no array's, results that overlap one another or
a factor, and arguments that ctypes would cut. Products with TF32 round their factors.
"""

import ctypes
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
from cupy_graph_double import Kernel, noted, refuse

from npsnn.gpu import blas

_owners: dict[int, Any] = {}
"""Weak references to the arrays that own memory, by address."""
_starts: list[int] = []
"""These addresses, sorted, and some at which nothing is any more."""


def address(array: np.ndarray) -> int:
    """Where the array begins; its memory may be read and written from now on."""
    owner, link = array, array
    while link is not None:  # a strided view has a stand-in between itself and the array that it views
        owner, link = link if isinstance(link, np.ndarray) else owner, getattr(link, "base", None)
    start = owner.__array_interface__["data"][0]
    if start not in _owners and _starts[(at := bisect_left(_starts, start)) : at + 1] != [start]:
        _starts.insert(at, start)
    _owners[start] = ref(owner, lambda gone: _owners.get(start) is gone and _owners.pop(start))
    return array.__array_interface__["data"][0]


def memory(start: int, count: int, dtype: np.dtype) -> np.ndarray:
    """So many numbers from an address on, in the memory of one array."""
    if _holder(start, count * dtype.itemsize) is None:
        raise AssertionError(f"{count} numbers at {start:#x} are not in the memory of an array")
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(start), dtype)


def owner_of(start: int) -> np.ndarray:
    owner = _holder(start, 1)
    assert owner is not None, f"{start:#x} is not in the memory of an array"
    return owner


def _holder(start: int, size: int) -> np.ndarray | None:
    """The array in whose memory so many bytes from an address on lie; no two arrays lie on one another."""
    for at in range(bisect_right(_starts, start) - 1, -1, -1):
        found = _owners.get(first := _starts[at])
        if found is not None and (owner := found()) is not None:
            return owner if start + size <= first + owner.nbytes else None
        del _starts[at]
    return None


@dataclass(frozen=True)
class Operand:
    """A factor or the result as cuBLAS is told of it: by columns."""

    transposed: bool
    start: int
    leading: int
    step: int | None

    def matrix(self, which: int, rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
        """A view of one of the matrices, which has so many rows and columns once it is turned, if it is."""
        if self.transposed:
            rows, columns = columns, rows
        assert self.leading >= rows >= 1 and columns >= 1, "CUBLAS_STATUS_INVALID_VALUE"
        start = self.first(which, dtype)
        numbers = memory(start, (columns - 1) * self.leading + rows, dtype)
        strides = dtype.itemsize, self.leading * dtype.itemsize
        found = np.lib.stride_tricks.as_strided(numbers, (rows, columns), strides)
        return found.T if self.transposed else found

    def first(self, which: int, dtype: np.dtype) -> int:
        if self.step is not None:
            assert self.step >= 0, "cuBLAS does not say what a negative step does"
            return self.start + which * self.step * dtype.itemsize
        return int(memory(self.start + 8 * which, 1, np.dtype(np.int64))[0])

    def moved(self, count: int, rows: int, columns: int, dtype: np.dtype) -> int:
        """Bytes of so many matrices, each number once: some lie on one another."""
        if self.transposed:
            rows, columns = columns, rows
        if self.leading == rows:  # the columns lie side by side
            rows, columns = rows * columns, 1
        starts = np.array([self.first(i, dtype) for i in range(count)])[:, None]
        starts = np.unique(starts + np.arange(columns) * self.leading * dtype.itemsize)
        length = rows * dtype.itemsize
        return int(np.minimum(np.diff(starts), length).sum()) + length


def double_gemm(
    shape: tuple[int, int, int],
    a: Operand,
    b: Operand,
    c: Operand,
    count: int,
    dtype: np.dtype,
    scales: tuple[float, float],
    tf32: bool,
) -> None:
    """C = alpha A B + beta C for matrices by columns, in the order of cuBLAS's arguments."""
    m, n, k = shape
    alpha, beta = scales
    results = [c.matrix(i, m, n, dtype) for i in range(count)]
    _refuse_overlaps(results)
    for i, result in enumerate(results):
        factors = a.matrix(i, m, k, dtype), b.matrix(i, k, n, dtype)
        assert not any(np.may_share_memory(result, factor) for factor in factors), "a result lies on a factor"
        left, right = map(_rounded, factors) if tf32 else factors
        product = alpha * (left @ right)
        result[...] = product if beta == 0 else product + beta * result  # what is there is not read where beta is 0


def _refuse_overlaps(results: list[np.ndarray]) -> None:
    spans = sorted(
        (
            z.__array_interface__["data"][0] + np.array([0, (z.shape[1] - 1) * z.strides[1] + z.shape[0] * z.itemsize])
        ).tolist()
        for z in results
    )
    if all(end <= start for (_, end), (start, _) in pairwise(spans)):
        return
    places = [
        np.add.outer(z.strides[0] * np.arange(z.shape[0]), z.strides[1] * np.arange(z.shape[1])).ravel()
        + z.__array_interface__["data"][0]
        for z in results
    ]
    every = np.concatenate(places)
    assert len(np.unique(every)) == len(every), "results overlap"


def _rounded(x: np.ndarray) -> np.ndarray:
    """To 10 bits of mantissa."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


_calls: list[str] = []


@contextmanager
def called() -> Iterator[list[str]]:
    """The names of the functions for products that are called."""
    _calls.clear()
    yield _calls


settings: dict[str, Any] = {}
"""The stream and the workspace that cuBLAS was given last."""


def _multiply(name: str, arguments: tuple[Any, ...]) -> int:
    _, ta, tb, m, n, k, alpha, *rest = arguments
    stepped = "Strided" in name
    length = 4 if stepped else 3
    parts = [rest[:length], rest[length : 2 * length], rest[2 * length + 1 : 3 * length + 1]]
    beta, (*counts, compute, algorithm) = rest[2 * length], rest[3 * length + 1 :]
    assert algorithm == -1 and len(counts) == ("Batched" in name)
    count = counts[0] if counts else 1
    assert 1 <= count <= 65535
    kinds = {part[1] for part in parts}
    dtype = {0: np.dtype(np.float32), 1: np.dtype(np.float64)}[kinds.pop()]
    assert not kinds and compute in ({68, 77} if dtype.itemsize == 4 else {70})
    number = ctypes.c_float if dtype.itemsize == 4 else ctypes.c_double
    scales = number.from_address(alpha).value, number.from_address(beta).value
    operands = [
        Operand(bool(turned), part[0], part[2], part[3] if stepped else 0 if name == "cublasGemmEx" else None)
        for turned, part in zip((ta, tb, 0), parts, strict=True)
    ]
    if compute == 77 and name == "cublasGemmBatchedEx":
        first = [operand.first(i, dtype) for operand in operands for i in range(count)]
        assert not any(start % 16 for start in first), "misaligned address"
    targets = {id(owner): owner for i in range(count) for owner in [owner_of(operands[2].first(i, dtype))]}
    _calls.append(name)

    def kernel(_: list[np.ndarray]) -> Kernel:
        a, b, c = (x.moved(count, *size, dtype) for x, size in zip(operands, ((m, k), (k, n), (m, n)), strict=True))
        return Kernel("product", a + b + (c if scales[1] else 0), c, 2 * m * n * k * count)

    compute_all = lambda: double_gemm((m, n, k), *operands, count, dtype, scales, compute == 77)  # noqa: E731
    noted(compute_all, [], targets.values(), kernel)
    return 0


def library() -> SimpleNamespace:
    """The functions of cuBLAS that npsnn calls."""

    def create(handle: int) -> int:
        refuse("a new handle of cuBLAS")
        ctypes.c_void_p.from_address(handle).value = 0xB1A5
        return 0

    def set_stream(handle: Any, stream: int) -> int:
        settings.update(stream=stream, workspace=None)  # cuBLAS goes back to a workspace of its own
        return 0

    def set_workspace(handle: Any, start: int, size: int) -> int:
        settings.update(workspace=(start, size))
        return 0

    functions: dict[str, Callable[..., int]] = {
        "cublasCreate_v2": create,
        "cublasSetPointerMode_v2": lambda handle, mode: int(mode != 0),
        "cublasSetStream_v2": set_stream,
        "cublasSetWorkspace_v2": set_workspace,
    }
    for name in ("cublasGemmEx", "cublasGemmBatchedEx", "cublasGemmStridedBatchedEx"):
        functions[name] = lambda *arguments, name=name: _multiply(name, arguments)
    return SimpleNamespace(**{name: _checked(name, f) for name, f in functions.items()})


def _checked(name: str, f: Callable[..., int]) -> Callable[..., int]:
    def call(*arguments: Any) -> int:
        types = blas.SIGNATURES[name]
        assert len(arguments) == len(types), name
        for argument, kind in zip(arguments, types, strict=True):
            if isinstance(argument, int):
                assert kind(argument).value == (argument or (None if kind is ctypes.c_void_p else 0)), name
            else:
                assert isinstance(argument, kind), name
        if name != "cublasCreate_v2":
            assert arguments[0].value == 0xB1A5, "CUBLAS_STATUS_NOT_INITIALIZED"
        return f(*arguments)

    return call
