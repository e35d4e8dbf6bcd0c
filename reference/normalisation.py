"""Batch normalisation, PReLU and their gradients by loops over single numbers: slow, plain.

Images are (N, C, H, W), everything is float64. A Gaussian's mean is mu, its variance v.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from .plain import Floats, Moments2, rectified_moments
from .rectifier import Partials, rectified_gradients


def _channel(x: Floats, c: int) -> Iterator[tuple[int, int, int, int]]:
    """The places of channel c."""
    for n, i, j in np.ndindex(x.shape[0], x.shape[2], x.shape[3]):
        yield n, c, i, j


def channel_statistics(x: Floats) -> tuple[Floats, Floats]:
    """Mean and biased variance of each channel, Σ x / n and Σ (x - mean)² / n."""
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    count = x.size // x.shape[1]
    for c in range(x.shape[1]):
        mean[c] = sum(x[place] for place in _channel(x, c)) / count
        var[c] = sum((x[place] - mean[c]) ** 2 for place in _channel(x, c)) / count
    return mean, var


def batch_norm(x: Floats, w: Floats, b: Floats, mean: Floats, var: Floats, epsilon: float) -> Floats:
    """y = w (x - mean)/√(var + epsilon) + b, with one number of each a channel."""
    y = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        c = place[1]
        y[place] = w[c] * (x[place] - mean[c]) / sqrt(var[c] + epsilon) + b[c]
    return y


def fixed_norm_variance(v: Floats, w: Floats, var: Floats, epsilon: float) -> Floats:
    """w² v/(var + epsilon), the variance of `batch_norm` for inputs of variance v and constant statistics."""
    out = np.zeros_like(v)
    for place in np.ndindex(*v.shape):
        c = place[1]
        out[place] = w[c] ** 2 * v[place] / (var[c] + epsilon)
    return out


def batch_norm_gradients(dy: Floats, x: Floats, w: Floats, epsilon: float) -> tuple[Floats, Floats, Floats]:
    """Σ_p dy_p ∂y_p/∂ of x, w and b where the statistics are the batch's own, by the whole Jacobian.

    ∂y_p/∂x_q = w s (1[p = q] - 1/n - s² (x_p - mean)(x_q - mean)/n) within a channel, s = 1/√(var + epsilon).
    """
    mean, var = channel_statistics(x)
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(w)
    count = x.size // x.shape[1]
    for c in range(x.shape[1]):
        s = 1 / sqrt(var[c] + epsilon)
        for p in _channel(x, c):
            dw[c] += dy[p] * s * (x[p] - mean[c])
            db[c] += dy[p]
            for q in _channel(x, c):
                slope = float(p == q) - 1 / count - s * s * (x[p] - mean[c]) * (x[q] - mean[c]) / count
                dx[q] += dy[p] * w[c] * s * slope
    return dx, dw, db


def prelu(x: Floats, slope: Floats) -> Floats:
    """x where x > 0, slope_c x elsewhere."""
    y = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        y[place] = x[place] if x[place] > 0 else slope[place[1]] * x[place]
    return y


def prelu_gradients(dy: Floats, x: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """dy times 1 or slope_c, and the slope's own gradient, Σ dy x over x <= 0."""
    dx, dslope = np.zeros_like(x), np.zeros_like(slope)
    for place in np.ndindex(*x.shape):
        c = place[1]
        dx[place] = dy[place] * (1 if x[place] > 0 else slope[c])
        dslope[c] += 0 if x[place] > 0 else dy[place] * x[place]
    return dx, dslope


def prelu_moments(mu: float, v: float, slope: float) -> Moments2:
    """Mean and variance of P - slope Q for P = max(X, 0), Q = max(-X, 0), X ~ N(mu, v): exact, from extension E1.

    Never both are positive, so Cov(P, Q) = -E[P] E[Q]: m = m_P - slope m_Q, V = V_P + slope² V_Q + 2 slope m_P m_Q.
    """
    (above, v_above), (below, v_below) = rectified_moments(mu, v), rectified_moments(-mu, v)
    return above - slope * below, v_above + slope**2 * v_below + 2 * slope * above * below


def prelu_moment_gradients(mu: float, v: float, slope: float) -> tuple[Partials, Moments2]:
    """∂m/∂mu, ∂m/∂v, ∂V/∂mu, ∂V/∂v of `prelu_moments`, then ∂m/∂slope and ∂V/∂slope, by the same two halves."""
    (above, _), (below, v_below) = rectified_moments(mu, v), rectified_moments(-mu, v)
    m_mu, m_v, v_mu, v_v = rectified_gradients(mu, v)
    n_mu, n_v, w_mu, w_v = rectified_gradients(-mu, v)  # by -mu
    partials = (
        m_mu + slope * n_mu,
        m_v - slope * n_v,
        v_mu - slope**2 * w_mu + 2 * slope * (m_mu * below - above * n_mu),
        v_v + slope**2 * w_v + 2 * slope * (m_v * below + above * n_v),
    )
    return partials, (-below, 2 * slope * v_below + 2 * above * below)


def prelu_masked(mu: float, v: float, slope: float, kept: bool) -> Moments2:
    """PReLU of the mean, and v or slope² v, as the variance is kept or not: the reading of the rules that mask."""
    return mu if mu > 0 else slope * mu, v if kept else slope**2 * v
