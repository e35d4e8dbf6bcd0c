"""Winograd's minimal filtering: cross-correlation with r by r kernels from fewer products, batch last, stride 1.

An image is cut into windows of n by n pixels, n = m + r - 1, each of which gives m by m outputs: y = Aᵀ(U ∘ V)A with
U = G w Gᵀ and V = Bᵀ x B, summed over the channels as n² products of matrices: n² m⁻² multiplications for an output
instead of r². The backward pass is the adjoint of each of these steps. Each is a matrix product: windows are
overlapping views of an image that lies in memory as (H, W, C, N), and so does the result.

Activations are (H, C, W, N), here as transposed views, weights (O, r, r, C). In float32 rounding costs a few times as
much as in the direct sum of `npsnn.ops.conv`; sums of positive numbers may come out slightly negative.
Source: Winograd 1980; Lavin and Gray 2016. The transforms are Toom and Cook's for the points of `POINTS`.
"""

from fractions import Fraction
from functools import cache
from typing import TypeAlias

from npsnn.backend import Array, namespace, strided

Table: TypeAlias = tuple[tuple[float, ...], ...]

POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
"""Where the polynomials are evaluated, besides infinity: few and small, for rounding grows with their powers."""
OUTPUTS = {3: 4, 5: 4}
"""m for each r that is supported."""
SMALL = 1_000_000
"""OpenBLAS has a faster path for products of so few multiplications, which a transform is cut into."""


@cache
def transforms(m: int, r: int) -> tuple[Table, Table, Table]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n), exact but for the rounding of thirds.

    Row j belongs to the point a_j: (Aᵀ)_ij = a_jⁱ, G_jk = a_jᵏ/Π_{l≠j}(a_j - a_l), (Bᵀ)_j the coefficients of
    Π_{l≠j}(x - a_l); the last row to infinity.
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


def winograd_weights(w: Array) -> Array:
    """U = G w Gᵀ: (O, r, r, C) -> (n, n, O, C)."""
    o, r, _, c = w.shape
    n = OUTPUTS[r] + r - 1
    return (_both_ways(w, r) @ w.transpose(1, 2, 0, 3).reshape(r * r, o * c)).reshape(n, n, o, c)


def winograd_weights_backward(du: Array, r: int) -> Array:
    """Cotangent of the weights: (n, n, O, C) -> (O, r, r, C)."""
    n, _, o, c = du.shape
    return (_both_ways(du, r).T @ du.reshape(n * n, o * c)).reshape(r, r, o, c).transpose(2, 0, 1, 3)


def _both_ways(like: Array, r: int) -> Array:
    """G for rows and columns at once: (n², r²)."""
    g = _table(like, 1, r)
    return namespace(like).kron(g, g)


def _table(like: Array, which: int, r: int) -> Array:
    """Aᵀ, G or Bᵀ in the dtype and library of `like`."""
    return namespace(like).asarray(transforms(OUTPUTS[r], r)[which], like.dtype)


def winograd(x: Array, u: Array, r: int, padding: int) -> tuple[Array, list[Array]]:
    """Cross-correlation: (H, C, W, N), (n, n, O, C) -> (OH, O, OW, N), and V for each row of windows."""
    xp = namespace(x, u)
    (h, c, w, batch), (n, _, o, _), m = x.shape, u.shape, OUTPUTS[r]
    out = h + 2 * padding - r + 1, w + 2 * padding - r + 1
    down, across = (-(-size // m) for size in out)
    at, bt = _table(x, 0, r), _table(x, 2, r)
    image = _padded(x, padding, m * down + r - 1, m * across + r - 1)
    y = xp.empty((m * down, m * across, o, batch), x.dtype)
    saved = []
    for i in range(down):
        v = _windows(bt, _transform(bt, image[m * i : m * i + n]), m).reshape(n, across, n, c, batch)
        columns = at @ (u[:, None] @ v).reshape(n, across, n, -1)
        _transform(at, columns, y[m * i : m * i + m])
        saved.append(v)
    return y[: out[0], : out[1]].transpose(0, 2, 1, 3), saved


def winograd_backward(
    dy: Array, u: Array, saved: list[Array], r: int, padding: int, shape: tuple[int, ...] | None, weights: bool
) -> tuple[Array | None, Array | None]:
    """Cotangents of the input, of `shape` or None where that is None, and of U, None unless `weights`."""
    xp = namespace(dy, u)
    (n, _, o, c), m, batch = u.shape, OUTPUTS[r], dy.shape[3]
    down, across = -(-dy.shape[0] // m), -(-dy.shape[2] // m)
    a, b = _table(dy, 0, r).T, _table(dy, 2, r).T
    image = _padded(dy, 0, m * down, m * across)
    dx = None if shape is None else xp.zeros((m * down + r - 1, m * across + r - 1, c, batch), dy.dtype)
    ut, du = u.transpose(0, 1, 3, 2)[:, None], None
    for i, v in enumerate(saved):
        d = _windows(a, _transform(a, image[m * i : m * i + m]), m).reshape(n, across, n, o, batch)
        for j in range(across if weights else 0):
            product = d[:, j] @ v[:, j].transpose(0, 1, 3, 2)
            du = product if du is None else xp.add(du, product, out=du)
        if dx is not None:
            dv = b @ (ut @ d).reshape(n, across, n, -1)
            dx[m * i : m * i + n] += _transform(b, _overlapped(dv, m)).reshape(n, -1, c, batch)
    if dx is not None and shape is not None:
        dx = dx[padding : padding + shape[0], padding : padding + shape[2]].transpose(0, 2, 1, 3)
    return dx, du


def _padded(x: Array, padding: int, height: int, width: int) -> Array:
    """(H, C, W, N) with zeros around it, (height, width, C, N); a view where nothing is to be done."""
    h, c, w, batch = x.shape
    image = x.transpose(0, 2, 1, 3)
    if (h, w) == (height, width) and image.flags.c_contiguous:
        return image
    out = namespace(x).zeros((height, width, c, batch), x.dtype)
    out[padding : padding + h, padding : padding + w] = image
    return out


def _transform(table: Array, rows: Array, out: Array | None = None) -> Array:
    """The table times the rows: (n, k), (k, ...) -> (n, ...); with `out` into that."""
    xp = namespace(table, rows)
    (n, k), flat = table.shape, rows.reshape(len(rows), -1)
    result = xp.empty((n, *rows.shape[1:]), rows.dtype) if out is None else out
    target, size = result.reshape(n, -1), SMALL // (n * k)
    for start in range(0, flat.shape[1], size):
        xp.matmul(table, flat[:, start : start + size], out=target[:, start : start + size])
    return result


def _windows(table: Array, half: Array, m: int) -> Array:
    """The table times the columns of each window, m apart: (n, k), (n, width, ...) -> (n, windows, n, P)."""
    (n, k), (_, width) = table.shape, half.shape[:2]
    columns = half.reshape(n, width, -1)
    row, column, number = columns.strides
    shape = n, (width - k) // m + 1, k, columns.shape[2]
    return table @ strided(columns, shape, (row, m * column, column, number))


def _overlapped(windows: Array, m: int) -> Array:
    """The sum of windows of k columns, m apart: (n, windows, k, P) -> (n, width, P)."""
    n, across, k, p = windows.shape
    columns = namespace(windows).zeros((n, m * (across - 1) + k, p), windows.dtype)
    for j in range(across):
        columns[:, m * j : m * j + k] += windows[:, j]
    return columns
