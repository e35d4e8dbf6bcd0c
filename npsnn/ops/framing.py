"""Parts of an image with zeros around it, batch last, as convolutions on a GPU take them (`npsnn.ops.shifts`)."""

from dataclasses import dataclass
from math import prod

from npsnn.backend import Array, namespace

WIDE = 16
"""Bytes of the largest number that a GPU copies at once."""
LARGE = 1 << 22
"""The numbers of an image with zeros around it from which only the zeros are set, and not the image as well."""


@dataclass(frozen=True)
class Span:
    """The rows, or the columns, of an image that a kernel meets; beyond the image there are zeros.

    first: the first output's first row, counted from the image's own first one.
    step: rows from one output to the next.
    count: number of outputs.
    """

    first: int
    step: int
    count: int


def framed_part(x: Array, rows: Span, columns: Span) -> Array:
    """Rows and columns of an image with zeros around it, in which kh rows are a matrix; a view where that will do.

    rows, columns: `step` of them is taken, `count` in all.
    """
    xp, (h, c, width, n) = namespace(x), x.shape
    down, own_rows = _inside(rows, h)
    across, own_columns = _inside(columns, width)
    image = x[own_rows, :, own_columns]
    if image.shape[0] == rows.count and image.shape[2] == columns.count:
        return image if _is_matrix(image) else xp.ascontiguousarray(image)
    shape = rows.count, c, columns.count, n
    if prod(shape) < LARGE:  # where starting a kernel takes longer than the kernel
        framed = xp.zeros(shape, x.dtype)
    else:
        framed = xp.empty(shape, x.dtype)
        for edge in _edges(down, rows.count):
            framed[edge] = 0
        for edge in _edges(across, columns.count):
            framed[down, :, edge] = 0
    copy_wide(framed[down, :, across], image)
    return framed


def copy_wide(into: Array, x: Array) -> None:
    """Copy x in the largest numbers that both consist of.

    A kernel of CuPy computes each number's place by divisions, which takes longer than to move 4 bytes.
    """
    if all(_is_wide(array) for array in (into, x)):
        into, x = into.view("D"), x.view("D")
    into[...] = x


def _is_wide(x: Array) -> bool:
    """Whether the last dimension consists of whole numbers of `WIDE` bytes, each at a multiple of so many."""
    sizes = x.data.ptr, x.shape[-1] * x.itemsize, *x.strides[:-1]
    return x.strides[-1] == x.itemsize and not any(size % WIDE for size in sizes)


def _edges(inside: slice, size: int) -> list[slice]:
    """What is left of so many rows, in as few slices as will do."""
    if inside.start == size - inside.stop == 1:
        return [slice(None, None, size - 1)]
    return [edge for edge in (slice(inside.start), slice(inside.stop, size)) if edge.start != edge.stop and edge.stop]


def _inside(span: Span, size: int) -> tuple[slice, slice]:
    """Which of the rows of a span lie in an image of so many, and which rows of the image they are."""
    start = min(max(0, -(span.first // span.step)), span.count)
    stop = max(start, min(span.count, -((span.first - size) // span.step)))
    first = span.first + span.step * start
    return slice(start, stop), slice(first, max(first, first + span.step * (stop - start - 1) + 1), span.step)


def _is_matrix(x: Array) -> bool:
    """Whether rows that follow one another are a matrix, and the numbers of a line lie side by side."""
    (_, c, width, n), (row, line, across, number) = x.shape, x.strides
    return bool((number == x.itemsize) and (across == n * number) and line >= width * across and row == c * line)


@dataclass(frozen=True)
class Remainder:
    """The rows of an image that are a stride apart: they meet the same rows of the kernel.

    pixel: the first of them.
    count: their number.
    tap: the first row of the kernel; `taps` of them are a stride apart.
    first: the first row of the output that the first one meets, which may lie before the output.
    """

    pixel: int
    count: int
    tap: int
    taps: int
    first: int


def remainders_of(kernel: int, stride: int, padding: int, size: int) -> list[Remainder]:
    """All remainders of rows that meet the kernel."""
    found = []
    for tap in range(min(stride, kernel)):
        row = -(-(padding - tap) // stride)  # the first output, if there were as many as one likes
        pixel = tap + stride * row - padding
        taps = -(-(kernel - tap) // stride)
        if pixel < size:
            found.append(Remainder(pixel, -(-(size - pixel) // stride), tap, taps, row - taps + 1))
    return found


def rows_met(remainders: list[Remainder]) -> Span:
    """The rows of the output, and of the zeros around it, that all remainders meet together."""
    first = min(r.first for r in remainders)
    return Span(first, 1, max(r.first + r.count + r.taps - 1 for r in remainders) - first)
