"""Winograd's minimal filtering: cross-correlation with r by r kernels from fewer products, batch last, stride 1.

An image is cut into windows of n by n pixels, n = m + r - 1, each of which gives m by m outputs: y = Aᵀ(U ∘ V)A with
U = G w Gᵀ and V = Bᵀ x B, summed over the channels as n² products of matrices: n² m⁻² multiplications for an output
instead of r². The backward pass is the adjoint of each of these steps. Each is a matrix product: windows are
overlapping views of an image that lies in memory as (H, W, N, C), and so does the result.

Activations are (H, C, W, N), here as transposed views, weights (O, r, r, C). In float32 rounding costs a few times as
much as in the direct sum of `npsnn.ops.conv`; sums of positive numbers may come out slightly negative.
Source: Winograd 1980; Lavin and Gray 2016. The transforms are Toom and Cook's for the points of `POINTS`.
"""

from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias

from npsnn.backend import Array, constant, frozen, namespace, strided
from npsnn.products import matmul

Table: TypeAlias = tuple[tuple[float, ...], ...]

POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
"""Where the polynomials are evaluated, besides infinity: few and small, for rounding grows with their powers."""
ONE = POINTS.index(1)
OUTPUTS = {3: 4, 5: 4}
"""m for each r that is supported."""
SMALL = 1_000_000
"""OpenBLAS has a faster path for products of so few multiplications, which a transform is cut into."""


@cache
def transforms(m: int, r: int) -> tuple[Table, Table, Table]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n), exact but for the rounding of thirds.

    Row j belongs to the point a_j: (Aᵀ)_ij = a_jⁱ, G_jk = a_jᵏ/Π_{l≠j}(a_j - a_l), (Bᵀ)_j the coefficients of
    Π_{l≠j}(x - a_l). The last row belongs to infinity.

    m: outputs of a window, along one side.
    r: side of the kernel.
    """
    points = [Fraction(p) for p in POINTS[: m + r - 2]]
    at = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        g.append([p**k / scale for k in range(r)])
        bt.append([*_product_of_roots(others), Fraction(0)])
    g.append([Fraction(k == r - 1) for k in range(r)])
    bt.append(_product_of_roots(points))
    a, b, c = (tuple(tuple(float(v) for v in row) for row in table) for table in (at, g, bt))
    return a, b, c


def _product_of_roots(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of Π(x - root), lowest power first."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [high - root * low for high, low in zip([Fraction(0), *poly], [*poly, Fraction(0)], strict=True)]
    return poly


def winograd(x: Array, w: Array, padding: int, b: Array | None = None) -> tuple[Array, list[Array]]:
    """Cross-correlation, (OH, O, OW, N), and V for each row of windows.

    The point 1 contributes the same to all outputs of a window: the bias is added there, to one number in n².

    x: (H, C, W, N).
    w: (O, r, r, C).
    padding: zeros around the image, in pixels.
    b: bias, (O,), or None.
    """
    (h, _, width, batch), (o, r, _, _) = x.shape, w.shape
    out, m = (h + 2 * padding - r + 1, width + 2 * padding - r + 1), OUTPUTS[r]
    down, across = (-(-size // m) for size in out)
    at, bt, u = _table(x, "Aᵀ", r), _table(x, "Bᵀ", r), _frequencies_of_weights(w)
    image = _padded(x, padding, m * down + r - 1, m * across + r - 1)
    y = namespace(x, w).empty((m * down, m * across, batch, o), x.dtype)
    saved = []
    for i in range(down):
        v = _frequencies(bt, _transform(bt, image[m * i : m * (i + 1) + r - 1]), m, batch)
        products = _products(v, u)
        if b is not None:
            products[ONE, ONE] += b
        _transform(at, matmul(at, _by_window(products)), y[m * i : m * (i + 1)])
        saved.append(v)
    return y[: out[0], : out[1]].transpose(0, 3, 1, 2), saved


def winograd_backward(
    dy: Array, w: Array, saved: list[Array], padding: int, shape: tuple[int, ...] | None, weights: bool
) -> tuple[Array | None, Array | None]:
    """Cotangents of the input and of the weights.

    dy: cotangent of the output, (OH, O, OW, N).
    w: (O, r, r, C).
    saved: the last result of `winograd`.
    padding: as in `winograd`.
    shape: (H, C, W, N); None where no cotangent of the input is wanted, which is then None.
    weights: whether the cotangent of the weights is wanted, which is None otherwise.
    """
    xp = namespace(dy, w)
    (o, r, _, c), batch = w.shape, dy.shape[3]
    m = OUTPUTS[r]
    n, down, across = m + r - 1, -(-dy.shape[0] // m), -(-dy.shape[2] // m)
    a, b = _table(dy, "A", r), _table(dy, "B", r)
    image, du, dx = _padded(dy, 0, m * down, m * across), None, None
    if shape is not None:
        # made anew: to turn U round would take as long, and to keep it memory
        u = _frequencies_of_weights(w.transpose(3, 1, 2, 0))
        dx = xp.empty((m * down + r - 1, m * across + r - 1, batch, c), dy.dtype)
        dx[: r - 1] = 0
    for i, v in enumerate(saved):
        d = _frequencies(a, _transform(a, image[m * i : m * (i + 1)]), m, batch)
        if weights:
            product = matmul(d.reshape(n, n, -1, o).swapaxes(2, 3), v.reshape(n, n, -1, c))
            du = product if du is None else xp.add(du, product, out=du)
        if dx is not None:
            columns = _overlapped(matmul(b, _by_window(_products(d, u))), m)
            # of the rows, r - 1 are the window's above, too
            shared, own = dx[m * i : m * i + r - 1], dx[m * i + r - 1 : m * i + n]
            shared += _transform(b[: r - 1], columns).reshape(shared.shape)
            _transform(b[r - 1 :], columns, own)
    if dx is not None and shape is not None:
        dx = dx[padding : padding + shape[0], padding : padding + shape[2]].transpose(0, 3, 1, 2)
    return dx, None if du is None else _weights_backward(du, r)


def _frequencies_of_weights(w: Array) -> Array:
    """U = G w Gᵀ: (O, r, r, C) -> (n, n, C, O)."""
    o, r, _, c = w.shape
    n = OUTPUTS[r] + r - 1
    return _transform(_table(w, "G⊗G", r), w.transpose(1, 2, 3, 0).reshape(r * r, c, o)).reshape(n, n, c, o)


def _weights_backward(du: Array, r: int) -> Array:
    """Cotangent of the weights: (n, n, O, C) -> (O, r, r, C)."""
    n, _, o, c = du.shape
    dw = _transform(_table(du, "(G⊗G)ᵀ", r), du.reshape(n * n, o * c))
    return dw.reshape(r, r, o, c).transpose(2, 0, 1, 3)


def _table(like: Array, name: str, r: int) -> Array:
    """Aᵀ, Bᵀ or, for rows and columns at once, G⊗G, or one of them turned, in the dtype and library of `like`."""
    return constant(_tables(r, like.dtype.char)[name], like.dtype, like)


@cache
def _tables(r: int, dtype: str) -> dict[str, Array]:
    """Made once, for every layer of every micro-batch asks for them."""
    at, g, bt = transforms(OUTPUTS[r], r)
    both = [[p * q for p in one for q in other] for one in g for other in g]
    tables = {"Aᵀ": at, "Bᵀ": bt, "G⊗G": both}
    tables |= {"A": _turned(at), "B": _turned(bt), "(G⊗G)ᵀ": _turned(both)}
    return {name: frozen(table, dtype) for name, table in tables.items()}


def _turned(table: Any) -> Any:
    """Rows for columns."""
    return [*zip(*table, strict=True)]


def _padded(x: Array, padding: int, height: int, width: int) -> Array:
    """(H, C, W, N) with zeros around it, (height, width, N, C); a view where nothing is to be done."""
    h, c, w, batch = x.shape
    image = x.transpose(0, 2, 3, 1)
    if (h, w) == (height, width) and image.flags.c_contiguous:
        return image
    out = namespace(x).empty((height, width, batch, c), x.dtype)
    out[padding : padding + h, padding : padding + w] = image
    for edge in (out[:padding], out[padding + h :], out[:, :padding], out[:, padding + w :]):
        edge[...] = 0
    return out


def _transform(table: Array, rows: Array, out: Array | None = None) -> Array:
    """The table times the rows: (n, k), (k, ...) -> (n, ...); with `out` into that."""
    (n, k), size = table.shape, rows.size // len(rows)
    result = namespace(rows).empty((n, *rows.shape[1:]), rows.dtype) if out is None else out
    parts = -(-n * k * size // SMALL)
    while size % parts:
        parts += 1
    into = result.reshape(n, parts, -1).transpose(1, 0, 2)
    matmul(table, rows.reshape(k, parts, -1).transpose(1, 0, 2), out=into)
    return result


def _frequencies(table: Array, half: Array, m: int, batch: int) -> Array:
    """The table times the columns of each window, m apart: (n, k), (n, width, ...) -> (n, n, windows, N, channels)."""
    xp = namespace(table, half)
    (n, k), (_, width) = table.shape, half.shape[:2]
    columns, count = half.reshape(n, width, -1), (width - k) // m + 1
    row, column, number = columns.strides
    windows = strided(columns, (n, count, k, columns.shape[2]), (row, m * column, column, number))
    out = xp.empty((n, n, count, batch, columns.shape[2] // batch), half.dtype)
    matmul(table, windows, out=_by_window(out))
    return out


def _by_window(frequencies: Array) -> Array:
    """A view of each window's columns as rows of a matrix: (n, n, windows, ...) -> (n, windows, n, P)."""
    n, _, count = frequencies.shape[:3]
    return frequencies.reshape(n, n, count, -1).transpose(0, 2, 1, 3)


def _products(v: Array, u: Array) -> Array:
    """(n, n, windows, N, C), (n, n, C, O) -> (n, n, windows, N, O), window by window if that is the faster path."""
    n, _, count, batch, c = v.shape
    if batch * c * u.shape[3] <= SMALL:
        return matmul(v, u[:, :, None])
    return matmul(v.reshape(n, n, -1, c), u).reshape(n, n, count, batch, -1)


def _overlapped(windows: Array, m: int) -> Array:
    """The sum of windows of k columns, m apart, k < 2m: (n, windows, k, P) -> (n, width, P)."""
    n, across, k, p = windows.shape
    shared, width = k - m, m * across
    columns = namespace(windows).empty((n, width + shared, p), windows.dtype)
    columns[:, :shared] = 0
    columns[:, shared:].reshape(n, across, m, p)[...] = windows[:, :, shared:]
    columns[:, :width].reshape(n, across, m, p)[:, :, :shared] += windows[:, :, :shared]
    return columns
