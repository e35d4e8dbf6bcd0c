"""Products of matrices by cuBLAS, which is called through ctypes: CuPy refuses its own calls during a capture.

A stream that is captured into a CUDA graph accepts cuBLAS where cuBLAS needs no memory of its own: each device has one
handle with a workspace of fixed size. Numbers that scale a product are the host's, and are read at the call.
"""

import ctypes
import importlib
import re
import warnings
from collections.abc import Iterator
from ctypes import c_int, c_longlong, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from npsnn.backend import gpu

WORKSPACE = 64 << 20
"""Bytes that cuBLAS has on each device for what it keeps between the kernels of a product."""
LARGEST = (1 << 31) - 1
"""The largest size of a matrix that cuBLAS's 32-bit functions take."""
TOGETHER = 65535
"""The most products of one call: the third dimension of a grid of CUDA's blocks."""
TENSOR_CORES = 80
"""The compute capability, times ten, of the first GPUs that have TF32."""

STATUS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
    16: "CUBLAS_STATUS_LICENSE_ERROR",
}

HOST_POINTERS, DEFAULT_ALGORITHM = 0, -1
NUMBERS = {"f": 0, "d": 1}
"""cudaDataType by the character of a dtype."""
COMPUTE, COMPUTE_TF32 = {"f": 68, "d": 70}, 77
"""cublasComputeType_t by the character of a dtype, and the one that rounds float32 to TF32."""
SCALES = {
    "f": (ctypes.c_float(0), ctypes.c_float(1)),
    "d": (ctypes.c_double(0), ctypes.c_double(1)),
}
"""0 and 1, at addresses that stay."""
SIZE, ADDRESS = {"f": 4, "d": 8}, 8
"""Bytes of a number and of an address."""

_MATRIX = (c_void_p, c_int, c_int)
_SHAPE = (c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (c_void_p,),
    "cublasSetPointerMode_v2": (c_void_p, c_int),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasGemmEx": (*_SHAPE, *_MATRIX, *_MATRIX, c_void_p, *_MATRIX, c_int, c_int),
    "cublasGemmBatchedEx": (*_SHAPE, *_MATRIX, *_MATRIX, c_void_p, *_MATRIX, c_int, c_int, c_int),
    "cublasGemmStridedBatchedEx": (
        *(*_SHAPE, *_MATRIX, c_longlong, *_MATRIX, c_longlong),
        *(c_void_p, *_MATRIX, c_longlong, c_int, c_int, c_int),
    ),
}
"""The types of the arguments of the functions that are called."""


class Matrices(NamedTuple):
    """Where a product finds its matrices, or puts them; a matrix lies in memory row by row.

    address: of the first number of the first matrix; or of an array of addresses, one for each matrix.
    leading: numbers from one row to the next.
    transposed: whether the transpose is what lies there row by row.
    step: numbers from one matrix to the next; for an array of addresses it is not used.
    """

    address: int
    leading: int
    transposed: bool = False
    step: int = 0


def available() -> bool:
    """Whether cuBLAS can be called; without it products are CuPy's own, and no graph can be captured."""
    return library() is not None


@cache
def library() -> Any:
    """The functions of cuBLAS; None, and a RuntimeWarning once, where the library is not found."""
    missing: list[str] = []
    for path in _paths(missing):
        try:
            found = ctypes.CDLL(path)
            for name, arguments in SIGNATURES.items():
                function = getattr(found, name)
                function.argtypes, function.restype = arguments, c_int
        except (OSError, AttributeError) as error:
            missing.append(f"{path}: {error}")
        else:
            return found
    warnings.warn(
        "cuBLAS was not found, so that products are CuPy's own and no CUDA graphs are made, which is slower but right "
        f"({'; '.join(missing)}): install the library beside CuPy, pip install 'cupy-cuda13x[ctk]' (or cuda12x)",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _paths(missing: list[str]) -> Iterator[str]:
    """Where cuBLAS may be: as CuPy 14 looks for it, what is loaded already, and where the system looks."""
    try:
        found = importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas").abs_path
        if found:
            yield found
    except (ImportError, RuntimeError, OSError) as error:  # DynamicLibNotFoundError is a RuntimeError
        missing.append(f"cuda.pathfinder: {error}")
    maps = Path("/proc/self/maps")
    if maps.exists():
        yield from sorted(set(re.findall(r"/\S*/libcublas\.so[.\d]*$", maps.read_text(), re.MULTILINE)))
    major = gpu().cuda.runtime.runtimeGetVersion() // 1000  # another version's library would not fit CuPy's CUDA
    yield f"libcublas.so.{major}"
    yield f"cublas64_{major}.dll"


_precision = {"tf32": False}


def tf32(on: bool) -> None:
    """Let products of float32 round their factors to TF32, 10 bits of mantissa, on tensor cores; or no longer.

    Raises ValueError where TF32 would have no effect: without cuBLAS, and on a GPU that has no such tensor cores.
    """
    if on and not available():
        raise ValueError("TF32 needs cuBLAS, which was not found")
    capability = str(gpu().cuda.Device().compute_capability) if on else ""
    if on and int(capability) < TENSOR_CORES:
        raise ValueError(
            f"TF32 has no effect on a GPU of compute capability {capability[:-1]}.{capability[-1]}: it takes 8.0"
        )
    _precision["tf32"] = on


def uses_tf32() -> bool:
    """Whether products of float32 round their factors to TF32."""
    return _precision["tf32"]


def multiply(
    kind: str,
    shape: tuple[int, int, int],
    a: Matrices,
    b: Matrices,
    c: Matrices,
    count: int = 1,
    add: bool = False,
    addressed: bool = False,
) -> None:
    """C = A B, or C += A B, for a number of products of the same shape, in one call.

    kind: character of the dtype, f or d.
    shape: (M, K, N) of the products (M, K) (K, N), each >= 1.
    c: not transposed; its matrices must not overlap.
    count: number of products.
    add: whether the products are added to the numbers that are there.
    addressed: whether each matrix has an address of its own (`Matrices`).
    Raises ValueError for a matrix that is too large for the library, RuntimeError with the name of cuBLAS's error.
    """
    m, k, n = shape
    if max(m, k, n, a.leading, b.leading, c.leading) > LARGEST:
        raise ValueError(f"a matrix of a product must have sizes up to {LARGEST}, got {shape}: take a smaller batch")
    handle = _handle(gpu().cuda.runtime.getDevice())
    handle.follow_the_stream()
    # of one product alone cuBLAS may split the sum, which keeps more of the GPU busy
    function = f"cublasGemm{'' if count == 1 and not addressed else 'Batched' if addressed else 'StridedBatched'}Ex"
    compute = COMPUTE_TF32 if kind == "f" and uses_tf32() else COMPUTE[kind]
    scales = [ctypes.addressof(SCALES[kind][int(i)]) for i in (True, add)]
    for first in range(0, count, TOGETHER):  # almost always once
        parts = []
        # by columns, as cuBLAS sees the same memory, the product is Cᵀ = Bᵀ Aᵀ
        for matrices in (b, a, c):
            size = ADDRESS if addressed else matrices.step * SIZE[kind]
            parts.append([matrices.address + first * size, NUMBERS[kind], matrices.leading])
            if "Strided" in function:
                parts[-1].append(matrices.step)
        _check(
            getattr(handle.library, function)(
                *(handle.own, int(b.transposed), int(a.transposed), n, m, k),
                *(scales[0], *parts[0], *parts[1], scales[1], *parts[2]),
                *([min(count - first, TOGETHER)] if "Batched" in function else []),
                *(compute, DEFAULT_ALGORITHM),
            ),
            f"{function} for {count} products of {shape}",
        )


class Handle:
    """cuBLAS on the current device."""

    def __init__(self) -> None:
        self.library, self.own, self.stream = library(), c_void_p(), -1
        _check(self.library.cublasCreate_v2(ctypes.addressof(self.own)), "cublasCreate")
        _check(self.library.cublasSetPointerMode_v2(self.own, HOST_POINTERS), "cublasSetPointerMode")
        # no pool's, for a graph may have a pool of its own, and go with it
        self.workspace = gpu().cuda.Memory(WORKSPACE)

    def follow_the_stream(self) -> None:
        """Put the next products into CuPy's current stream."""
        stream = gpu().cuda.get_current_stream().ptr
        if stream != self.stream:
            _check(self.library.cublasSetStream_v2(self.own, stream), "cublasSetStream")
            # which gives the workspace back
            _check(self.library.cublasSetWorkspace_v2(self.own, self.workspace.ptr, WORKSPACE), "cublasSetWorkspace")
            self.stream = stream


@cache
def _handle(device: int) -> Handle:
    """The one handle of a device, which is the current one."""
    return Handle()


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} failed: {STATUS.get(status, f'status {status}')}")
