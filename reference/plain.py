"""What a layer does to a Gaussian, by loops over single numbers: slow, plain, in the papers' notation.

Images are (N, C, H, W), vectors (N, features), filters (O, kh, kw, C), matrices (O, I); everything is float64. Means
are mu, variances v. Rows and columns that a stride or a pooling window leaves over at the far edge are dropped.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import erf, exp, pi, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad

Floats: TypeAlias = npt.NDArray[np.float64]
Moments2: TypeAlias = tuple[float, float]
Tap: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


def phi(t: float) -> float:
    """Standard normal density (noise paper Sec. 2.1, audit N7)."""
    return exp(-t * t / 2) / sqrt(2 * pi)


def Phi(t: float) -> float:  # noqa: N802
    """Standard normal distribution function, ½ [1 + erf(t/√2)] (noise paper Sec. 2.1, audit N7)."""
    return (1 + erf(t / sqrt(2))) / 2


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """The number of places at which a kernel fits into size + 2 padding pixels, stride apart."""
    return len(range(0, size + 2 * padding - kernel + 1, stride))


def _taps(x: Floats, w: Floats, stride: int, padding: int) -> Iterator[tuple[tuple[int, ...], list[Tap]]]:
    """For each output (n, o, i, j): the pairs of a weight's index and the index of the pixel that it meets."""
    (batch, channels, height, width), (filters, kh, kw, _) = x.shape, w.shape
    rows, columns = output_size(height, kh, stride, padding), output_size(width, kw, stride, padding)
    for n, o, i, j in np.ndindex(batch, filters, rows, columns):
        met: list[Tap] = []
        for m, k, c in np.ndindex(kh, kw, channels):
            row, column = i * stride + m - padding, j * stride + k - padding
            if 0 <= row < height and 0 <= column < width:
                met.append(((o, m, k, c), (n, c, row, column)))
        yield (n, o, i, j), met


def _output(x: Floats, w: Floats, stride: int, padding: int) -> Floats:
    (batch, _, height, width), (filters, kh, kw, _) = x.shape, w.shape
    return np.zeros((batch, filters, output_size(height, kh, stride, padding), output_size(width, kw, stride, padding)))


def cross_correlation(x: Floats, w: Floats, b: Floats, stride: int = 1, padding: int = 0) -> Floats:
    """y_oij = b_o + Σ_mkc w_omkc x_c,i+m,j+k: noise paper Eq. 2 and Sec. 2.3 (audit N2, N27), one bias a filter."""
    y = _output(x, w, stride, padding)
    for place, met in _taps(x, w, stride, padding):
        y[place] = b[place[1]] + sum(w[weight] * x[pixel] for weight, pixel in met)
    return y


def cross_correlation_variance(v: Floats, w: Floats, stride: int = 1, padding: int = 0) -> Floats:
    """Var y_oij = Σ w_omkc² v_c,i+m,j+k for independent pixels (audit N3, N16, N25)."""
    y = _output(v, w, stride, padding)
    for place, met in _taps(v, w, stride, padding):
        y[place] = sum(w[weight] ** 2 * v[pixel] for weight, pixel in met)
    return y


def linear(x: Floats, W: Floats, b: Floats) -> Floats:
    """y_i = b_i + Σ_j W_ij x_j."""
    y = np.zeros((len(x), len(W)))
    for n, i in np.ndindex(*y.shape):
        y[n, i] = b[i] + sum(W[i, j] * x[n, j] for j in range(W.shape[1]))
    return y


def linear_covariance(v: Floats, W: Floats) -> Floats:
    """Cov(y_a, y_b) = Σ_j W_aj W_bj v_j for independent inputs, (N, O, O): noise paper Sec. 2.2 (audit N3, N21)."""
    s = np.zeros((len(v), len(W), len(W)))
    for n, a, b in np.ndindex(*s.shape):
        s[n, a, b] = sum(W[a, j] * W[b, j] * v[n, j] for j in range(W.shape[1]))
    return s


def linear_variance(v: Floats, W: Floats) -> Floats:
    """Var y_i = Σ_j W_ij² v_j for independent inputs (audit N16, N25)."""
    y = np.zeros((len(v), len(W)))
    for n, i in np.ndindex(*y.shape):
        y[n, i] = sum(W[i, j] ** 2 * v[n, j] for j in range(W.shape[1]))
    return y


def rectified_laplace(mu: float, v: float) -> Moments2:
    """Noise paper Eq. 6 as printed: max(mu, 0); v where mu >= -3 √v, else 0 for "close to zero" (audit N13, N14)."""
    return max(mu, 0.0), v if mu >= -3 * sqrt(v) else 0.0


def rectified_linear(mu: float, v: float) -> Moments2:
    """max(mu, 0), and v where mu > 0: max(X, 0) linearised at the mean."""
    return max(mu, 0.0), v if mu > 0 else 0.0


def rectified_moments(mu: float, v: float) -> Moments2:
    """Mean and variance of max(X, 0), textbook form: m = muΦ(t) + sφ(t), E[Y²] = (mu² + v)Φ(t) + mu s φ(t) (E1)."""
    s = sqrt(v)
    t = mu / s
    m = mu * Phi(t) + s * phi(t)
    return m, (mu * mu + v) * Phi(t) + mu * s * phi(t) - m * m


def rectified_moments_by_integration(mu: float, v: float) -> Moments2:
    """Mean and variance of max(X, 0) from the rectified law, ∫ ξ f(ξ) dξ over ξ > 0: audit N5, E1."""
    return maximum_moments_by_integration([mu, 0.0], [v, 0.0])


def maximum_winner(mu1: float, v1: float, mu2: float, v2: float) -> Moments2:
    """Noise paper Sec. 2.1, "maximum of the mean value", with the winner's variance; ties to the first (N17)."""
    return (mu1, v1) if mu1 >= mu2 else (mu2, v2)


def maximum_clark(mu1: float, v1: float, mu2: float, v2: float, c: float = 0.0) -> Moments2:
    """Mean and variance of max(X1, X2) for covariance c, Clark's (1961) two moments: extension E2."""
    theta = sqrt(v1 + v2 - 2 * c)
    a = (mu1 - mu2) / theta
    first = mu1 * Phi(a) + mu2 * Phi(-a) + theta * phi(a)
    second = (mu1 * mu1 + v1) * Phi(a) + (mu2 * mu2 + v2) * Phi(-a) + (mu1 + mu2) * theta * phi(a)
    return first, second - first * first


def maximum_clark_gradients(mu1: float, v1: float, mu2: float, v2: float, c: float = 0.0) -> tuple[Floats, Floats]:
    """∂/∂(mu1, v1, mu2, v2, c) of the mean E and of the variance V of `maximum_clark`: extension E2.

    With κ = φ(a)/theta, E' = E - mu2 and m0 = (mu1 - mu2)(v2 - c)/theta², the mean of X1 - mu2 given X1 = X2.
    """
    theta = sqrt(v1 + v2 - 2 * c)
    d = mu1 - mu2
    first, second, kappa = Phi(d / theta), Phi(-d / theta), phi(d / theta) / theta
    lift = d * first + theta * phi(d / theta)
    shift = kappa * (d * (v2 - c) / theta**2 - lift)
    dmu1 = 2 * (d * first + (v1 - c) * kappa) - 2 * lift * first
    dmu2 = 2 * (v2 - c) * kappa - 2 * lift * second
    mean = np.array([first, kappa / 2, second, kappa / 2, -kappa])
    return mean, np.array([dmu1, first + shift, dmu2, second + shift, -2 * shift])


def maximum_covariance(mu1: float, v1: float, mu2: float, v2: float, c: float, c13: float, c23: float) -> float:
    """Cov(max(X1, X2), X3) = c13 Φ(a) + c23 Φ(-a) for jointly Gaussian X1, X2, X3, exact: extension E2."""
    a = (mu1 - mu2) / sqrt(v1 + v2 - 2 * c)
    return c13 * Phi(a) + c23 * Phi(-a)


def maximum_moments_by_integration(mu: list[float], v: list[float]) -> Moments2:
    """Mean and variance of the largest of independent Gaussians, from F = Π Φ((y - mu_i)/s_i).

    A variance may be 0. With y counted from the largest mean: E[M] = ∫_{y>0} (1 - F) dy - ∫_{y<0} F dy and
    E[M²] = ∫_{y>0} 2y (1 - F) dy - ∫_{y<0} 2y F dy, over 10 standard deviations.
    """
    centre, reach = max(mu), 10 * sqrt(max(v))

    def below(y: float) -> float:
        p = 1.0
        for m, var in zip(mu, v, strict=True):
            p *= Phi((centre + y - m) / sqrt(var)) if var > 0 else float(centre + y >= m)
        return p

    def integral(f: Callable[[float], float], low: float, high: float) -> float:
        breaks = sorted({m - centre for m in mu if low < m - centre < high})
        edges = [low, *breaks, high]
        return sum(float(quad(f, a, b, epsabs=1e-13, epsrel=1e-12, limit=200)[0]) for a, b in pairwise(edges))

    first = integral(lambda y: 1 - below(y), 0, reach) - integral(below, -reach, 0)
    second = integral(lambda y: 2 * y * (1 - below(y)), 0, reach) - integral(lambda y: 2 * y * below(y), -reach, 0)
    return centre + first, second - first * first


MAXIMA: dict[str, Callable[[float, float, float, float], Moments2]] = {
    "laplace": maximum_winner,
    "linear": maximum_winner,
    "exact": maximum_clark,
}
RECTIFIERS: dict[str, Callable[[float, float], Moments2]] = {
    "laplace": rectified_laplace,
    "linear": rectified_linear,
    "exact": rectified_moments,
}


def rectify(mu: Floats, v: Floats, rule: str) -> tuple[Floats, Floats]:
    """Every unit of any array by the rule of RECTIFIERS."""
    m, out = np.zeros_like(mu), np.zeros_like(v)
    for place in np.ndindex(*mu.shape):
        m[place], out[place] = RECTIFIERS[rule](float(mu[place]), float(v[place]))
    return m, out


def _windows(
    x: Floats, k: int, stride: int, padding: int = 0
) -> Iterator[tuple[tuple[int, ...], list[list[tuple[int, ...]]]]]:
    """For each output (n, c, i, j): the columns of its window, each a list of the pixels from top to bottom.

    A window that reaches beyond the image has the pixels inside alone.
    """
    height, width = x.shape[2:]
    for n, c, i, j in np.ndindex(*_pooled(x, k, stride, padding).shape):
        rows = [a for a in range(i * stride - padding, i * stride - padding + k) if 0 <= a < height]
        columns = [b for b in range(j * stride - padding, j * stride - padding + k) if 0 <= b < width]
        yield (n, c, i, j), [[(n, c, a, b) for a in rows] for b in columns]


def _pooled(x: Floats, k: int, stride: int, padding: int = 0) -> Floats:
    return np.zeros((*x.shape[:2], *(output_size(size, k, stride, padding) for size in x.shape[2:])))


def mean_pool(x: Floats, k: int) -> Floats:
    """Mean of each k by k window."""
    y = _pooled(x, k, k)
    for place, columns in _windows(x, k, k):
        y[place] = sum(x[pixel] for column in columns for pixel in column) / k**2
    return y


def mean_pool_variance(v: Floats, k: int) -> Floats:
    """Var of the mean of k² independent pixels: Σ v / k⁴ (the quadratic rule, audit N16)."""
    y = _pooled(v, k, k)
    for place, columns in _windows(v, k, k):
        y[place] = sum(v[pixel] for column in columns for pixel in column) / k**4
    return y


def max_pool(x: Floats, k: int, stride: int | None = None, padding: int = 0) -> Floats:
    """Largest of each k by k window, of windows that do not overlap or are `stride` pixels apart."""
    y = _pooled(x, k, stride or k, padding)
    for place, columns in _windows(x, k, stride or k, padding):
        y[place] = max(x[pixel] for column in columns for pixel in column)
    return y


def max_pool_moments(
    mu: Floats, v: Floats, k: int, rule: str, stride: int | None = None, padding: int = 0
) -> tuple[Floats, Floats]:
    """Pairwise maxima by the rule of MAXIMA: down each column of the window, then over the columns from the left.

    Under "laplace" and "linear" a tie therefore goes to the smallest column, and in it to the smallest row (N17).
    """
    maximum = MAXIMA[rule]
    m, out = (_pooled(x, k, stride or k, padding) for x in (mu, v))
    for place, columns in _windows(mu, k, stride or k, padding):
        heads = [_fold([(float(mu[pixel]), float(v[pixel])) for pixel in column], maximum) for column in columns]
        m[place], out[place] = _fold(heads, maximum)
    return m, out


def _fold(parts: list[Moments2], maximum: Callable[[float, float, float, float], Moments2]) -> Moments2:
    best = parts[0]
    for part in parts[1:]:
        best = maximum(*best, *part)
    return best
