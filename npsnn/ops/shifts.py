"""Cross-correlation on a GPU, batch last: products of views, without the columns of every window (`npsnn.ops.conv`).

In an image (H, C, W, N) kh rows that follow one another are one matrix (kh*C, W*N), and a column further to the right
is N numbers further in memory. So the windows of a row of outputs are, for each column of the kernel, a matrix that
lies in the image itself. Three forms of the same sum, from a channels to b:

* shifts: one product for each column of the kernel, b by kh*a, added up where they belong. Nothing is copied.
* columns: the image is copied once for each column of the kernel; then one product, b by kh*kw*a, is left. The copy, kw
  times the image, is kept until the gradient of the weights.
* gather: one product for all columns of the kernel, kw*b by kh*a, whose results are added up, shifted.

`_form` says which is taken when.

A kernel that covers the image is one matrix. With a stride the image is taken apart into columns that are a stride
apart; its gradient consists of one correlation with a part of the kernel for each remainder of rows and of columns.
Source: noise paper Eq. 2, Sec. 2.3 (audit N2, N27).
"""

from dataclasses import dataclass
from itertools import product

from npsnn.backend import Array, namespace, strided
from npsnn.gpu import blas
from npsnn.ops.framing import WIDE, Span, copy_wide, framed_part, remainders_of, rows_met
from npsnn.products import matmul

SHORT = 64
"""The numbers kh*a that a product sums up, below which a copy of the columns makes products long enough."""
FEW = 16
"""The channels b below which a product for each column of the kernel would be too flat."""
TILE = 64
"""About the side of what a GPU computes side by side."""
IDLE = 32
"""So many tiles leave most of an H100's 132 processors without work."""

BUSY, BUSY_TF32, LONG = 1024, 80, 512
"""The tiles up to which a gradient's sums are cut into pieces, without and with TF32, and the numbers that a piece has
at least."""


@dataclass(frozen=True)
class Taken:
    """An image as the products take it.

    form: shifts, columns, gather or whole.
    parts: the image, one for each remainder of a column by the stride; or its copied columns.
    step: rows of a part from one output to the next.
    rows, columns: number of outputs.
    """

    form: str
    parts: tuple[Array, ...]
    step: int
    rows: int
    columns: int


def conv2d(x: Array, w: Array, stride: int, padding: int) -> tuple[Array, Taken]:
    """Cross-correlation, (OH, O, OW, N), and what `conv2d_weight_backward` needs.

    x: (H, C, W, N).
    w: (O, kh, kw, C).
    stride: of the kernel, in pixels.
    padding: zeros around the image, in pixels.
    """
    (h, _, width, n), (o, kh, kw, _) = x.shape, w.shape
    if not padding and (kh, kw) == (h, width):
        taken = Taken("whole", (x.reshape(-1, n),), 1, 1, 1)
        return matmul(_covering(w), taken.parts[0]).reshape(1, o, 1, n), taken
    rows, columns = (
        Span(-padding, stride, (size + 2 * padding - k) // stride + 1) for size, k in ((h, kh), (width, kw))
    )
    return _correlated(x, w, rows, columns)


def conv2d_input_backward(dy: Array, w: Array, stride: int, padding: int, shape: tuple[int, ...]) -> Array:
    """Cotangent of the input, of the shape `shape`.

    dy: cotangent of the output, (OH, O, OW, N).
    w, stride, padding: as for `conv2d`.
    shape: (H, C, W, N).
    """
    (h, _, width, n), (o, kh, kw, _) = shape, w.shape
    if not padding and (kh, kw) == (h, width):
        return matmul(_covering(w).T, dy.reshape(o, n)).reshape(shape)
    xp = namespace(dy, w)
    rows, columns = remainders_of(kh, stride, padding, h), remainders_of(kw, stride, padding, width)
    if not rows or not columns:
        return xp.zeros(shape, dy.dtype)
    if stride == 1:
        return _correlated(dy, _turned(w), *(Span(r.first, 1, r.count) for r in (rows[0], columns[0])))[0]
    top, left = rows_met(rows), rows_met(columns)
    framed = framed_part(dy, top, left)  # once, for all remainders
    every = len(rows) * len(columns) == min(stride, h) * min(stride, width)
    dx = (xp.empty if every else xp.zeros)(shape, dy.dtype)  # pixels that meet no kernel have no gradient
    for r, q in product(rows, columns):
        part = _turned(w[:, r.tap :: stride, q.tap :: stride])
        spans = Span(r.first - top.first, 1, r.count), Span(q.first - left.first, 1, q.count)
        dx[r.pixel :: stride, :, q.pixel :: stride] = _correlated(framed, part, *spans)[0]
    return dx


def conv2d_weight_backward(dy: Array, taken: Taken, shape: tuple[int, ...]) -> Array:
    """Cotangent of the weights, of the shape `shape`.

    dy: cotangent of the output, (OH, O, OW, N).
    taken: the last result of `conv2d`.
    shape: (O, kh, kw, C).
    """
    xp, (o, kh, kw, c), (oh, _, ow, n) = namespace(dy), shape, dy.shape
    if taken.form == "whole":
        found = matmul(dy.reshape(o, n), taken.parts[0].T).reshape(o, kh, c, kw)
        return xp.ascontiguousarray(found.transpose(0, 1, 3, 2))
    # columns of the kernel that a product is not for all of
    apart, k = (1, kh * kw * c) if taken.form == "columns" else (kw, kh * c)
    busy = BUSY_TF32 if _on_tensor_cores(dy) else BUSY
    pieces = _pieces(apart * oh * -(-o // TILE) * -(-k // TILE), ow, n, busy)
    dy = dy.reshape(oh, o, pieces, -1).transpose(0, 2, 1, 3)
    # each where tensor cores may write it: products that are not at multiples of 16 bytes would be single calls
    room = -(-o * k * dy.itemsize // WIDE) * WIDE // dy.itemsize
    each = xp.empty((apart, oh, pieces, room), dy.dtype)[..., : o * k].reshape(apart, oh, pieces, o, k)
    for q, part in enumerate(taken.parts):
        out = each[q :: len(taken.parts)]
        matmul(dy, _turned_windows(part, taken, (len(out), pieces, dy.shape[3], k)), out=out)
    if taken.form == "columns":
        return each.sum(axis=(0, 1, 2)).reshape(shape)
    return each.reshape(kw, oh * pieces, o, kh, c).transpose(2, 3, 0, 4, 1).sum(axis=4)


def _pieces(tiles: int, width: int, n: int, busy: int) -> int:
    """Into how many pieces to cut the sum over a row of outputs, so that the products keep a GPU busy.

    Measured on an H200 at batch 128: ResNet-18's first stage, 288 tiles, takes 348 us uncut, and 310, 280 and 295 us in
    2, 4 and 8 pieces of 2048, 1024 and 512 numbers. TF32 computes faster than pieces are added up: 78 us uncut, 84 us
    in 2 pieces.

    tiles: parts of all products that a GPU computes side by side.
    width: outputs of the row, (width, n) numbers, between which the sum may be cut.
    busy: tiles that are enough.
    """
    found = 1
    for pieces in range(2, width + 1):
        if width % pieces == 0 and tiles * found < busy and width // pieces * n >= LONG:
            found = pieces
    return found


def _turned(w: Array) -> Array:
    """The kernels of the input's gradient: (O, kh, kw, C) -> (C, kh, kw, O), upside down."""
    return w[:, ::-1, ::-1].transpose(3, 1, 2, 0)


def _covering(w: Array) -> Array:
    """The matrix of a kernel that covers the image, (O, kh*C*kw)."""
    return w.transpose(0, 1, 3, 2).reshape(len(w), -1)


def _correlated(x: Array, w: Array, rows: Span, columns: Span) -> tuple[Array, Taken]:
    """The correlation of an image with zeros around it: (H, A, W, N), (B, kh, kw, A) -> (rows, B, columns, N)."""
    xp, (b, kh, kw, a), n = namespace(x, w), w.shape, x.shape[3]
    tiles = rows.count * -(-b // TILE) * -(-columns.count * n // TILE)
    form = _form(a, b, kh, kw, columns.step, tiles, _on_tensor_cores(x))
    taken = _taken(x, (kh, kw), rows, columns, form)
    y = xp.empty((rows.count, b, columns.count, n), x.dtype)
    flat = y.reshape(rows.count, b, -1)
    if taken.form == "columns":
        matmul(w.reshape(b, -1), _windows(taken.parts[0], taken, kh, columns.count), out=flat)
        return y, taken
    by_column = xp.ascontiguousarray(w.transpose(2, 0, 1, 3)).reshape(kw, b, kh * a)
    if taken.form == "gather":
        whole = taken.parts[0]
        found = matmul(by_column.reshape(kw * b, kh * a), _windows(whole, taken, kh, whole.shape[2]))
        (row, line), number = found.strides[:2], found.itemsize
        moved = strided(
            found,
            (rows.count, kw, b, columns.count, n),
            (row, b * line + n * number, line, n * number, number),
        )
        return moved.sum(axis=1), taken
    for j in range(kw):
        part = taken.parts[j % columns.step][:, :, j // columns.step :]
        matmul(by_column[j], _windows(part, taken, kh, columns.count), out=flat, add=j > 0)
    return y, taken


def _form(a: int, b: int, kh: int, kw: int, step: int, tiles: int, tensor_cores: bool) -> str:
    """The form for a correlation from a channels to b.

    Measured on an H200 at batch 128, in us:
    * Few channels b make flat products, and gather makes them kw times as high: 26 against 47 (shifts) from 16 to 6
      channels, but 99 against 67 from 64 to 32.
    * Few channels a make short products, and columns make them kw times as long: 40 against 73 (shifts) from 3 to 64.
    * An image of 2 by 2 has work for few processors, and gather gives it to kw times as many: 25 against 40 (shifts).
    * With TF32 one long product takes half the time of kw short ones (256 channels, 8 by 8: 52 against 94). The copy
      that it needs takes 21 if a GPU moves 3 TB/s, an estimate. Without TF32 a long product gains a tenth (208 against
      229), which the copy costs: the memory is saved. With 32 channels b, less than a tile, columns pay in neither.
    Columns must not move more numbers than shifts do, which read and write results again for each column of the kernel.

    tiles: of the results, that a GPU computes side by side.
    tensor_cores: whether the products take TF32.
    """
    if kw == 1:
        return "shifts"  # which is one product
    if b < FEW and b <= a and step == 1:
        return "gather"
    # numbers that each pixel costs beside the products: a copy of the columns, or sums of kw results
    copied, added = (kw + 1) * a, 2 * (kw - 1) * b
    if kh * a < SHORT and copied <= added:
        return "columns"
    if tiles < IDLE and step == 1:
        return "gather"
    return "columns" if tensor_cores and b >= TILE and copied <= added else "shifts"


def _on_tensor_cores(x: Array) -> bool:
    return x.dtype.char == "f" and blas.uses_tf32()


def _taken(x: Array, kernel: tuple[int, int], rows: Span, columns: Span, form: str) -> Taken:
    """The image as the products of a form take it."""
    (kh, kw), n = kernel, x.shape[3]
    # one row of the kernel: no need for the rows between
    down, step = (rows.step, 1) if kh == 1 else (1, rows.step)
    height = rows.count if kh == 1 else rows.step * (rows.count - 1) + kh
    apart = 1 if form == "columns" else columns.step
    parts = []
    for q in range(min(apart, kw)):
        width = columns.count + (kw - 1 - q) // apart if apart > 1 else columns.step * (columns.count - 1) + kw
        parts.append(framed_part(x, Span(rows.first, down, height), Span(columns.first + q, apart, width)))
    if form == "columns":
        (part,) = parts
        (height, c, _, _), (down, line, across, number) = part.shape, part.strides
        windows = strided(part, (height, kw, c, columns.count, n), (down, across, line, columns.step * across, number))
        copied = namespace(x).empty(windows.shape, x.dtype)
        copy_wide(copied, windows)
        parts = [copied.reshape(height, kw * c, columns.count, n)]
    return Taken(form, tuple(parts), step, rows.count, columns.count)


def _windows(part: Array, taken: Taken, kh: int, width: int) -> Array:
    """The matrices that lie in a part, one for each row of outputs: (rows, kh*channels, width*N)."""
    (_, a, _, n), (row, line, _, number) = part.shape, part.strides
    return strided(part, (taken.rows, kh * a, width * n), (taken.step * row, line, number))


def _turned_windows(part: Array, taken: Taken, sizes: tuple[int, int, int, int]) -> Array:
    """The same for columns of the kernel that are N numbers apart, turned, and each cut into pieces.

    sizes: (columns, pieces, length, kh*channels) of the result (columns, rows, pieces, length, kh*channels).
    """
    (columns, pieces, length, k), (row, line, across, number) = sizes, part.strides
    shape = columns, taken.rows, pieces, length, k
    return strided(part, shape, (across, taken.step * row, length * number, number, line))
