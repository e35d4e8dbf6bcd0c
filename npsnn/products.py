"""Products of matrices: NumPy's on a CPU, cuBLAS's on a GPU (`npsnn.gpu.blas`), which can add to what is there."""

from math import prod
from typing import NamedTuple

import numpy as np

from npsnn.backend import Array, constant, fused, gpu, namespace
from npsnn.gpu import blas
from npsnn.gpu.blas import Matrices

ALIGNED = 16
"""Bytes to whose multiples tensor cores want addresses that cuBLAS does not see."""


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """The products of matrices, (..., M, K) (..., K, N) -> (..., M, N).

    Matrices may be views with any strides, overlap and be transposed; what cuBLAS cannot read is copied. Dimensions
    before the last two are broadcast. On a GPU the dtypes of cuBLAS are float32 and float64.

    out: where the result goes; its elements must not overlap, nor be those of a or b.
    add: whether the products are added to `out`.
    Raises ValueError for shapes that do not fit.
    """
    if namespace(a, b) is not np:
        return _on_gpu(a, b, out, add)
    if add:
        out += np.matmul(a, b)
        return out
    return a @ b if out is None else np.matmul(a, b, out=out)


def _on_gpu(a: Array, b: Array, out: Array | None, add: bool) -> Array:
    xp = gpu()
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"a and b must be matrices (..., M, K) and (..., K, N), got {a.shape} and {b.shape}")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    dtype = np.promote_types(a.dtype, b.dtype)
    if out is None:
        if add:
            raise ValueError("out must be given where products are added to it, got None")
        out = xp.empty(shape, dtype)
    elif out.shape != shape:
        raise ValueError(f"out must have the shape {shape}, got {out.shape}")
    if not out.size:
        return out
    if not a.shape[-1]:
        if not add:
            out.fill(0)
    elif dtype.char not in blas.NUMBERS or out.dtype != dtype or not blas.available():
        _put(xp.matmul(a, b), out, add)
    else:
        _into(a.astype(dtype, copy=False), b.astype(dtype, copy=False), out, add)
    return out


def _into(a: Array, b: Array, out: Array, add: bool) -> None:
    """a b into `out`, however the matrices lie there: arrays of one dtype, not empty."""
    layout = _layout(out)
    if layout is None:
        _put(_on_gpu(a, b, None, False), out, add)
    elif layout.transposed:
        _multiply(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out.swapaxes(-1, -2), add)
    else:
        _multiply(a, b, out, add)


def _put(product: Array, out: Array, add: bool) -> None:
    if add:
        out += product
    else:
        out[...] = product


class Layout(NamedTuple):
    """How matrices lie in memory, as `Matrices` has it."""

    leading: int
    transposed: bool


def _layout(x: Array) -> Layout | None:
    """How the matrices in the last two dimensions lie; None where they do row by row neither as they are nor turned."""
    (rows, columns), (down, along) = x.shape[-2:], (s // x.itemsize for s in x.strides[-2:])
    if min(x.strides) < 0:
        return None
    if (columns == 1 or along == 1) and (rows == 1 or down >= columns):
        return Layout(down if rows > 1 else columns, False)
    if (rows == 1 or down == 1) and (columns == 1 or along >= rows):
        return Layout(along if columns > 1 else rows, True)
    return None


class Batch(NamedTuple):
    """Products at equal distances: how many, and the numbers from one matrix of a, b and out to the next."""

    number: int
    steps: tuple[int, ...]


def _multiply(a: Array, b: Array, out: Array, add: bool) -> None:
    """a b into `out`, whose matrices lie row by row."""
    arrays, matrices = [], []
    for x in (a, b, out):
        layout = _layout(x)
        if layout is None:
            x = gpu().ascontiguousarray(x)
            layout = Layout(x.shape[-1], False)
        arrays.append(x)
        matrices.append(Matrices(x.data.ptr, *layout))
    (m, k), n = a.shape[-2:], b.shape[-1]
    batches = _batches(arrays)
    if batches and not batches[-1].steps[1] and not matrices[0].transposed:
        count, steps = batches[-1]
        if all(step == m * x.leading for step, x in zip(steps[::2], matrices[::2], strict=True)):
            m, batches = m * count, batches[:-1]  # one b for all, whose products go on row by row
    _launch(out, (m, k, n), matrices, batches, add)


def _batches(arrays: list[Array]) -> list[Batch]:
    """The dimensions before the last two, as few as will do."""
    out = arrays[-1]
    steps = [(0,) * (out.ndim - x.ndim) + tuple(_step(x, i) for i in range(x.ndim - 2)) for x in arrays]
    found: list[Batch] = []
    for count, *now in zip(out.shape[:-2], *steps, strict=True):
        if count == 1:
            continue
        if found and all(before == count * s for before, s in zip(found[-1].steps, now, strict=True)):
            count *= found.pop().number
        found.append(Batch(count, tuple(now)))
    return found


def _step(x: Array, dimension: int) -> int:
    return x.strides[dimension] // x.itemsize if x.shape[dimension] > 1 else 0


def _launch(
    like: Array, shape: tuple[int, int, int], matrices: list[Matrices], batches: list[Batch], add: bool
) -> None:
    """Start the products: with two batches each matrix has its address, which the GPU computes from the first one."""
    kind = like.dtype.char
    if len(batches) < 2:
        count, steps = batches[0] if batches else (1, (0, 0, 0))
        a, b, c = (x._replace(step=step) for x, step in zip(matrices, steps, strict=True))
        blas.multiply(kind, shape, a, b, c, count, add)
    elif kind == "f" and blas.uses_tf32() and not _aligned(like.itemsize, matrices, batches):
        count, steps = batches[0]
        for i in range(count):
            moved = [
                x._replace(address=x.address + i * step * like.itemsize)
                for x, step in zip(matrices, steps, strict=True)
            ]
            _launch(like, shape, moved, batches[1:], add)
    else:
        offsets = [constant(_offsets(batches, i, like.itemsize), np.int64, like) for i in range(3)]
        addresses = _addresses(*offsets, *(x.address for x in matrices))
        a, b, c = (x._replace(address=at.data.ptr) for x, at in zip(matrices, addresses, strict=True))
        blas.multiply(kind, shape, a, b, c, prod(batch.number for batch in batches), add, addressed=True)


def _aligned(size: int, matrices: list[Matrices], batches: list[Batch]) -> bool:
    """Whether the addresses of all matrices are multiples of `ALIGNED`."""
    steps = [step * size for batch in batches for step in batch.steps]
    return not any(number % ALIGNED for number in (*steps, *(x.address for x in matrices)))


def _offsets(batches: list[Batch], operand: int, size: int) -> Array:
    """Bytes from the first matrix of an operand to each, in the order of the products."""
    found = np.zeros(1, np.int64)
    for count, steps in batches:
        found = np.add.outer(found, np.arange(count, dtype=np.int64) * steps[operand] * size).ravel()
    return found


@fused
def _addresses(
    of_a: Array, of_b: Array, of_c: Array, first_a: int, first_b: int, first_c: int
) -> tuple[Array, Array, Array]:
    """Address of each matrix of the three operands."""
    return of_a + first_a, of_b + first_b, of_c + first_c
