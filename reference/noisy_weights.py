"""The Gaussian that an affine layer with Gaussian noise on its weights makes of one, by loops over single numbers.

Weights are w + s ε for independent standard normal ε, biases b + s_b ε. Shapes are those of `npsnn.reference.plain`.
"""

from math import sqrt

import numpy as np

from .plain import Floats


def spread(w: Floats) -> float:
    """The standard deviation of the weights of a layer, with n - 1: PNI (He et al. 2019), Eq. 2."""
    values = [float(w[place]) for place in np.ndindex(*w.shape)]
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def relative(w: Floats, alpha: Floats) -> Floats:
    """s = alpha std(w) of each weight, for one alpha, one of each output, or one of each weight."""
    s, std = np.zeros_like(w), spread(w)
    for place in np.ndindex(*w.shape):
        s[place] = std * alpha[place[: alpha.ndim]]
    return s


def product_variance(w: float, s: float, mean: float, v: float) -> float:
    """Var of (w + s ε) X for an independent X of this mean and variance: E[W²] E[X²] - (E[W] E[X])²."""
    return (w * w + s * s) * (mean * mean + v) - (w * mean) ** 2


def linear_covariance(mean: Floats, v: Floats, W: Floats, S: Floats, s_b: Floats) -> Floats:
    """Cov(y_a, y_c) of y = (W + S∘ε) x + b for independent inputs, (N, O, O): rows share inputs and no noise."""
    found = np.zeros((len(mean), len(W), len(W)))
    for n, a, c in np.ndindex(*found.shape):
        for j in range(W.shape[1]):
            if a == c:
                found[n, a, c] += product_variance(W[a, j], S[a, j], mean[n, j], v[n, j])
            else:
                found[n, a, c] += W[a, j] * W[c, j] * v[n, j]
        found[n, a, c] += s_b[a] ** 2 if a == c else 0
    return found


def convolution_variance(
    mean: Floats, v: Floats, w: Floats, s: Floats, s_b: Floats, stride: int, padding: int
) -> Floats:
    """Var y_oij of a convolution of independent pixels, (N, O, H, W): a sum of products of independent factors."""
    (batch, channels, height, width), (filters, kh, kw, _) = mean.shape, w.shape
    rows, columns = ((size + 2 * padding - k) // stride + 1 for size, k in ((height, kh), (width, kw)))
    found = np.zeros((batch, filters, rows, columns))
    for n, o, i, j in np.ndindex(*found.shape):
        found[n, o, i, j] = s_b[o] ** 2
        for a, b, c in np.ndindex(kh, kw, channels):
            row, column = i * stride + a - padding, j * stride + b - padding
            if 0 <= row < height and 0 <= column < width:
                pixel, weight = (n, c, row, column), (o, a, b, c)
                factor = float(w[weight]), float(s[weight]), float(mean[pixel]), float(v[pixel])
                found[n, o, i, j] += product_variance(*factor)
    return found
