"""Affine layers in the noise paper's notation: one image, one channel, one filter; readings of its variances.

X: (d1, d2) an image, W: (k1, k2) a filter, b: (p1, p2) a bias for each output pixel, as Eq. 2 has it. In a fully
connected layer W: (O, I). Standard deviations are s, variances v.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from .plain import Floats


def _over(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return np.ndindex(*shape)


def flipped_convolution(X: Floats, W: Floats, b: Floats) -> Floats:
    """y_ij = Σ_mn w_mn x_{i+k1-1-m, j+k2-1-n} + b_ij: Eq. 2 with * the convolution of mathematics (audit N2)."""
    (k1, k2), y = W.shape, b.copy()
    for i, j in _over(y.shape):
        y[i, j] += sum(W[m, n] * X[i + k1 - 1 - m, j + k2 - 1 - n] for m, n in _over((k1, k2)))
    return y


def matrix(W: Floats, d1: int, d2: int) -> Floats:
    """A of Sec. 2.1, (d1 d2, p1 p2), with vect(y) = Aᵀ vect(x): a_i holds w where output i sees it (audit N3).

    vect takes the rows one after the other; any fixed order will do.
    """
    k1, k2 = W.shape
    p1, p2 = d1 - k1 + 1, d2 - k2 + 1
    A = np.zeros((d1 * d2, p1 * p2))
    for i, j in _over((p1, p2)):
        for m, n in _over((k1, k2)):
            A[(i + m) * d2 + j + n, i * p2 + j] = W[m, n]
    return A


def convolution(o: Floats, w: Floats, b: Floats) -> Floats:
    """x_ij = Σ_m Σ_n w_mn o_{i+m, j+n} + b_ij: Sec. 2.3, first line (audit N2, N27)."""
    x = b.copy()
    for i, j in _over(x.shape):
        x[i, j] += sum(w[m, n] * o[i + m, j + n] for m, n in _over(w.shape))
    return x


def convolution_delta(delta: Floats, w: Floats, slope: Floats) -> Floats:
    """∂Loss/∂x_i'j' = Σ_m Σ_n δ_{i'-m, j'-n} w_mn f'(x_i'j'): Sec. 2.3, second line (audit N27).

    delta, w: of the next layer; slope: f'(x). δ is 0 outside its range, which the paper leaves out.
    """
    g = np.zeros_like(slope)
    for i, j in _over(g.shape):
        for m, n in _over(w.shape):
            if 0 <= i - m < delta.shape[0] and 0 <= j - n < delta.shape[1]:
                g[i, j] += delta[i - m, j - n] * w[m, n] * slope[i, j]
    return g


def convolution_weight_gradient(delta: Floats, o: Floats, size: tuple[int, int], kernel: tuple[int, int]) -> Floats:
    """∂Loss/∂w_m'n' = Σ_{i=0}^{H-k1} Σ_{j=0}^{W-k2} δ_ij o_{i+m', j+n'}: Sec. 2.3, third line (audit N27).

    size: (H, W), which must be the layer input's size, o.shape.
    """
    g = np.zeros(kernel)
    for m, n in _over(kernel):
        for i, j in _over((size[0] - kernel[0] + 1, size[1] - kernel[1] + 1)):
            g[m, n] += delta[i, j] * o[i + m, j + n]
    return g


def constant_variance_printed(W: Floats, sigma: float) -> Floats:
    """sigma² for every output: "the variances will only depend on the noise variance", Sec. 2.1 and 2.2 (audit N16)."""
    return np.full(len(W), sigma**2)


def linear_sigma_printed(W: Floats, s: Floats) -> Floats:
    """s_i = Σ_j W_ij s_j, which the last-layer gradient of Sec. 2.3 implies (audit N25)."""
    return np.array([sum(float(W[i, j] * s[j]) for j in range(len(s))) for i in range(len(W))])


def sigma_slope_printed(W: Floats, s: Floats) -> Floats:
    """∂s_i/∂W_ij = s_j: Sec. 2.3, the factor sigma_(output-1)_j of the last line (audit N25)."""
    return np.array([[float(s[j]) for j in range(len(s))] for _ in range(len(W))])


def sigma_slope(W: Floats, s: Floats) -> Floats:
    """∂s_i/∂W_ij = W_ij s_j² / s_i of s_i² = Σ_j W_ij² s_j²: the factor as derived (audit N25)."""
    out = [sqrt(sum(float(W[i, j] * s[j]) ** 2 for j in range(len(s)))) for i in range(len(W))]
    return np.array([[float(W[i, j]) * float(s[j]) ** 2 / out[i] for j in range(len(s))] for i in range(len(W))])


def noise_slope(sigma: float, v: Floats, dv: Floats) -> float:
    """dLoss/dsigma = (2/sigma) Σ_i v_i ∂Loss/∂v_i of outputs whose variances are multiples of sigma² (audit N26).

    v may be the covariance of the outputs and dv the loss's gradient by it, (n, n).
    """
    return 2 / sigma * sum(float(v[place]) * float(dv[place]) for place in _over(v.shape))
