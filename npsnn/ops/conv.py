"""Two-dimensional cross-correlation (the "convolution" of both papers, audit N2), batch last.

Activations are (H, C, W, N) and weights (O, kh, kw, C). Only the kernel's columns are expanded: one strided copy
to (Hp, kw, C, OW, N), whose kh consecutive rows are, as overlapping views, the matrices of a batched product.
"""

from npsnn.backend import Array, namespace, on_gpu, strided
from npsnn.products import matmul


def pad_image(x: Array, padding: int) -> Array:
    """The image with zeros around it: (H, C, W, N) -> (H + 2p, C, W + 2p, N).

    padding: p, on each side.
    """
    if not padding:
        return x
    xp = namespace(x)
    h, c, w, n = x.shape
    padded = xp.zeros((h + 2 * padding, c, w + 2 * padding, n), x.dtype)
    padded[padding : padding + h, :, padding : padding + w] = x
    return padded


def columns(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """The matrices that a kernel meets: (H, C, W, N) -> (OH, kh*kw*C, OW*N), overlapping in kh, copied in kw.

    kernel: (kh, kw).
    stride: of the kernel, in pixels.
    padding: zeros around the image, in pixels.
    """
    xp = namespace(x)
    kh, kw = kernel
    x = pad_image(x, padding)
    hp, c, wp, n = x.shape
    oh, ow = (hp - kh) // stride + 1, (wp - kw) // stride + 1
    sh, sc, sw, sn = x.strides
    if on_gpu(x):  # CuPy copies what overlaps for each product: once here will do
        windows = strided(x, (oh, kh, kw, c, ow, n), (stride * sh, sh, sw, sc, stride * sw, sn))
        return xp.ascontiguousarray(windows).reshape(oh, kh * kw * c, ow * n)
    copied = xp.ascontiguousarray(strided(x, (hp, kw, c, ow, n), (sh, sw, sc, stride * sw, sn)))
    row = copied.strides[0]
    width = ow * n * x.itemsize
    return strided(copied, (oh, kh * kw * c, ow * n), (stride * row, width, x.itemsize))


def conv2d(cols: Array, w: Array, batch: int) -> Array:
    """Cross-correlation from the input's columns: (OH, O, OW, N).

    cols: `columns` of the input, (OH, K, OW*N).
    w: (O, kh, kw, C), K = kh*kw*C.
    batch: N.
    Source: noise paper Eq. 2 (audit N2).
    """
    y = _product(w.reshape(len(w), -1), cols)
    return y.reshape(len(y), len(w), -1, batch)


def _product(w: Array, matrices: Array, out: Array | None = None) -> Array:
    """w times each matrix: (M, K), (B, K, N) -> (B, M, N); with `out` into that."""
    xp = namespace(w, matrices)
    m, (b, _, n) = len(w), matrices.shape
    y = xp.empty((b, m, n), w.dtype) if out is None else out
    if _halved(matrices, m):
        matmul(w, _halves(matrices), out=_halves(y))
    else:
        matmul(w, matrices, out=y)
    return y


def _halved(matrices: Array, rows: int) -> bool:
    """Whether to take N of (B, K, N) in two halves for a product with so many rows.

    OpenBLAS has a faster path for products of up to 10^6 multiplications, which pays where there are few rows.
    """
    _, k, n = matrices.shape
    few = rows <= 32 and n % 2 == 0 and 1_000_000 < rows * k * n <= 2_000_000
    return few and not on_gpu(matrices)


def _halves(z: Array) -> Array:
    """A view of the columns in two halves: (B, K, N) -> (B, 2, K, N / 2)."""
    b, k, n = z.shape
    return z.reshape(b, k, 2, n // 2).transpose(0, 2, 1, 3)


def conv2d_weight_backward(dy: Array, cols: Array, shape: tuple[int, ...]) -> Array:
    """Cotangent of the weights, of the shape `shape`.

    dy: cotangent of the output, (OH, O, OW, N).
    cols: `columns` of the input, (OH, K, OW*N).
    shape: (O, kh, kw, C).
    Source: noise paper Sec. 2.3 (audit N27).
    """
    dy = dy.reshape(dy.shape[0], dy.shape[1], -1)
    if len(dy) == 1:
        return matmul(dy[0], cols[0].T).reshape(shape)
    if _halved(cols, shape[0]):
        cols, dy = _halves(cols), _halves(dy)
    # K by O, not O by K: the larger dimension first is the faster product.
    dw = matmul(cols, dy.swapaxes(-1, -2))
    return dw.reshape(-1, *dw.shape[-2:]).sum(axis=0).T.reshape(shape)


def conv2d_input_backward(dy: Array, w: Array, stride: int, padding: int, shape: tuple[int, ...]) -> Array:
    """Cotangent of the input, of the shape `shape`.

    dy: cotangent of the output, (OH, O, OW, N).
    w: (O, kh, kw, C).
    stride, padding: as in `columns`.
    shape: (H, C, W, N).
    Source: noise paper Sec. 2.3 (audit N27).
    """
    xp = namespace(dy, w)
    h, c, width, n = shape
    oh, ow = dy.shape[0], dy.shape[2]
    if not padding and w.shape[1:3] == (h, width):  # a kernel that covers the image is a matrix
        g = matmul(w.reshape(len(w), -1).T, dy.reshape(len(w), n)).reshape(h, width, c, n)
        return xp.ascontiguousarray(g.transpose(0, 2, 1, 3))
    rows = _spread_rows if oh < w.shape[1] else _gather_rows
    g = rows(dy, w, stride, h + 2 * padding)[padding : padding + h]
    dx = xp.zeros((h, c, width + 2 * padding, n), dy.dtype)
    for j in range(w.shape[2]):
        dx[:, :, j : j + stride * (ow - 1) + 1 : stride] += g[:, j]
    return dx[:, :, padding : padding + width]


def _gather_rows(dy: Array, w: Array, stride: int, height: int) -> Array:
    """The kernel's rows undone, its columns not yet: (OH, O, OW, N) -> (height, kw, C, OW, N).

    Input rows that are a stride apart meet the same rows of the kernel, and each as many rows of dy, which lie between
    rows of zeros and are taken without a copy.
    """
    xp = namespace(dy, w)
    (oh, o, ow, n), (_, kh, kw, c) = dy.shape, w.shape
    above = (kh - 1) // stride
    padded = xp.zeros((oh + 2 * above + 1, o, ow, n), dy.dtype)
    padded[above : above + oh] = dy
    row, width = padded.strides[0], ow * n * dy.itemsize
    g = xp.empty((height, kw * c, ow * n), dy.dtype)
    for first in range(stride):
        part, taps = g[first::stride], len(range(first, kh, stride))
        if taps:
            windows = strided(padded[above - taps + 1 :], (len(part), taps * o, ow * n), (row, width, dy.itemsize))
            flipped = xp.ascontiguousarray(w[:, first::stride][:, ::-1].transpose(2, 3, 1, 0)).reshape(kw * c, taps * o)
            _product(flipped, windows, part)
        else:
            part[...] = 0
    return g.reshape(height, kw, c, ow, n)


def _spread_rows(dy: Array, w: Array, stride: int, height: int) -> Array:
    """The same where there are fewer output rows than kernel rows: most windows of `_gather_rows` would be zeros."""
    xp = namespace(dy, w)
    (oh, o, ow, n), (_, kh, kw, c) = dy.shape, w.shape
    g = matmul(xp.ascontiguousarray(w.reshape(o, -1).T), dy.reshape(oh, o, -1)).reshape(oh, kh, kw, c, ow, n)
    rows = xp.zeros((height, kw, c, ow, n), dy.dtype)
    for i in range(oh):
        rows[i * stride : i * stride + kh] += g[i]
    return rows
