"""Full covariance through a ReLU network (extension E5): affine maps, ReLU and max pooling of joint Gaussians.

mu, v: means and variances; c = Cov(X1, X2), rho = c / √(v1 v2), a = mu1 / √v1, b = mu2 / √v2, and φ₂(a, b; r) the
density of two standard normals of correlation r. Arrays of any shapes that go together, or mu (n,) and V (n, n).
"""

from itertools import pairwise
from math import cos, exp, pi, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.special import ndtr

from . import plain
from .plain import Floats

Indices: TypeAlias = npt.NDArray[np.intp]
Joint: TypeAlias = tuple[Floats, Floats]

NODES = 8
"""Of Gauss and Legendre."""

CLOSEST = 0.999999
"""|rho| stops there: at 1 the integrand's exponent is 0/0."""

FAR = 40.0
"""Standard deviations; φ and 1 - Φ are 0 in double precision from there on, as is every product with them."""

TINY = 1e-150
"""Standard deviations stop there, so that a unit without variance divides nothing by 0."""


def affine(mu: Floats, V: Floats, W: Floats, b: Floats) -> Joint:
    """W mu + b and W V Wᵀ (noise paper Sec. 2.1, audit N3); V (n,) is that of independent units."""
    if V.ndim == 1:
        scaled = W * np.sqrt(V)
        return W @ mu + b, scaled @ scaled.T
    return W @ mu + b, W @ V @ W.T


def rectified_moments(mu: Floats, v: Floats) -> Joint:
    """Mean and variance of max(X, 0): E1 with tau = |mu| / s, q = Φ(-tau), g = φ(tau) - tau q, and v = 0 allowed.

    m = max(mu, 0) + s g and var = v (1[mu > 0] (1 - 2q) + q - tau g - g²): no large mean cancels.
    """
    s = np.sqrt(v)
    tau = np.minimum(np.abs(mu) / np.maximum(s, TINY), FAR)
    q = ndtr(-tau)
    g = _phi(tau) - tau * q
    return np.maximum(mu, 0) + s * g, v * np.maximum((mu > 0) * (1 - 2 * q) + q - tau * g - g * g, 0)


def pair_covariance(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats, nodes: int = NODES) -> Floats:
    """Cov(X1⁺, X2⁺) = s1 s2 {rho Φ(a)Φ(b) + ∫ (rho - r) φ₂(a, b; r) dr over 0 < r < rho}, Gauss-Legendre in arcsin r.

    With 8 nodes the error over s1 s2 is at most 2e-14 for |rho| < 0.6, 5e-8 for |rho| < 0.95 and 1e-5 beyond.
    """
    a, b, rho = _standard(mu1, v1, mu2, v2, c)
    _, lifted = _integrals(a, b, rho, nodes)
    return np.asarray(np.sqrt(v1 * v2) * (rho * ndtr(a) * ndtr(b) + lifted))


def by_covariance(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats, nodes: int = NODES) -> Floats:
    """∂ Cov(X1⁺, X2⁺)/∂c = P(X1 > 0, X2 > 0) = Φ(a)Φ(b) + ∫ φ₂(a, b; r) dr over 0 < r < rho (Price's theorem).

    With 8 nodes the error is at most 5e-7 for |rho| < 0.95 and 2e-3 beyond.
    """
    a, b, rho = _standard(mu1, v1, mu2, v2, c)
    density, _ = _integrals(a, b, rho, nodes)
    return np.asarray(ndtr(a) * ndtr(b) + density)


def by_mean(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats) -> Floats:
    """∂ Cov(X1⁺, X2⁺)/∂mu1 = mu2 Φ₂ + s2 [φ(b)Φ(A) + rho φ(a)Φ(B)] - Φ(a) E[X2⁺]; by mu2 with the pair exchanged.

    A = (a - rho b)/k, B = (b - rho a)/k, k = √(1 - rho²).
    """
    a, b, rho = _standard(mu1, v1, mu2, v2, c)
    k = np.sqrt(1 - rho * rho)
    edges = _phi(b) * ndtr((a - rho * b) / k) + rho * _phi(a) * ndtr((b - rho * a) / k)
    joint = mu2 * by_covariance(mu1, v1, mu2, v2, c) + np.sqrt(v2) * edges
    return np.asarray(joint - ndtr(a) * rectified_moments(mu2, v2)[0])


def by_variance(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats) -> Floats:
    """∂ Cov(X1⁺, X2⁺)/∂v1 = φ(a)/(2 s1) (E[X2⁺ | X1 = 0] - E[X2⁺]), c held; by v2 with the pair exchanged.

    Given X1 = 0, X2 has the mean mu2 - rho s2 a and the variance v2 (1 - rho²).
    """
    a, _, rho = _standard(mu1, v1, mu2, v2, c)
    given, _ = rectified_moments(mu2 - rho * np.sqrt(v2) * a, v2 * (1 - rho * rho))
    return np.asarray(_phi(a) / (2 * np.sqrt(v1)) * (given - rectified_moments(mu2, v2)[0]))


def covariance_closed_form(mu1: float, v1: float, mu2: float, v2: float, c: float) -> float:
    """Cov(X1⁺, X2⁺) = s1 s2 [(ab + rho)Φ₂ + aφ(b)Φ(A) + bφ(a)Φ(B) + k² φ₂(a, b; rho)] - E[X1⁺] E[X2⁺]; |rho| < 1.

    A = (a - rho b)/k, B = (b - rho a)/k, k = √(1 - rho²); Φ₂ by adaptive integration.
    """
    s1, s2 = sqrt(v1), sqrt(v2)
    a, b, rho = mu1 / s1, mu2 / s2, c / (s1 * s2)
    k = sqrt(1 - rho * rho)
    edges = a * plain.phi(b) * plain.Phi((a - rho * b) / k) + b * plain.phi(a) * plain.Phi((b - rho * a) / k)
    density = exp(-(a * a + b * b - 2 * rho * a * b) / (2 * k * k)) / (2 * pi * k)
    product = s1 * s2 * ((a * b + rho) * orthant(a, b, rho) + edges + k * k * density)
    return product - plain.rectified_moments(mu1, v1)[0] * plain.rectified_moments(mu2, v2)[0]


def orthant(a: float, b: float, rho: float) -> float:
    """Φ₂(a, b; rho) = P(T1 < a, T2 < b) = ∫ φ(t) Φ((b - rho t)/k) dt over t < a, of standard normals; |rho| < 1."""
    k = sqrt(1 - rho * rho)
    edges = sorted({-10.0, *(min(max(p, -10.0), a) for p in (b / rho if rho else 0.0, 0.0)), a})
    total = 0.0
    for low, high in pairwise(edges):
        total += quad(lambda t: plain.phi(t) * plain.Phi((b - rho * t) / k), low, high, epsabs=1e-14, epsrel=1e-12)[0]
    return total


def arc_cosine(v1: float, v2: float, c: float) -> float:
    """E[X1⁺ X2⁺] for means of 0: s1 s2 (sin w + (π - w) cos w)/2π, cos w = rho (the arc-cosine kernel of degree 1)."""
    w = float(np.arccos(c / sqrt(v1 * v2)))
    return sqrt(v1 * v2) * (float(np.sin(w)) + (pi - w) * cos(w)) / (2 * pi)


def rectified_covariance(mu: Floats, V: Floats) -> Joint:
    """Mean (n,) and covariance (n, n) of max(X, 0), X ~ N(mu, V): E1 on the diagonal, `pair_covariance` beside it."""
    v = np.maximum(np.diagonal(V), 0)
    m, out = rectified_moments(mu, v)
    joint = pair_covariance(mu[:, None], v[:, None], mu, v, V)
    np.fill_diagonal(joint, out)
    return m, joint


def leaky_moments(mu: Floats, v: Floats, slope: Floats) -> Joint:
    """Mean and variance of a X + (1 - a) max(X, 0), a the slope: Cov(X, max(X, 0)) = v P(X > 0) (Stein's lemma)."""
    m, out = rectified_moments(mu, v)
    positive = ndtr(mu / np.maximum(np.sqrt(v), TINY))
    var = slope**2 * v + (1 - slope) ** 2 * out + 2 * slope * (1 - slope) * positive * v
    return slope * mu + (1 - slope) * m, var


def leaky_covariance(mu: Floats, V: Floats, slope: Floats) -> Joint:
    """The same of joint Gaussians: Cov(X1, max(X2, 0)) = Cov(X1, X2) P(X2 > 0)."""
    m, rectified = rectified_covariance(mu, V)
    positive = ndtr(mu / np.maximum(np.sqrt(np.maximum(np.diagonal(V), 0)), TINY))
    mixed = np.outer(slope, (1 - slope) * positive) * V
    kept = np.outer(slope, slope) * V + np.outer(1 - slope, 1 - slope) * rectified
    return slope * mu + (1 - slope) * m, kept + mixed + mixed.T


def covariance_masked(mu1: Floats, mu2: Floats, c: Floats) -> Floats:
    """1[mu1 > 0] 1[mu2 > 0] c: both ReLUs linearised at the means; to compare with."""
    return np.asarray((mu1 > 0) * (mu2 > 0) * c)


def covariance_linearised(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats) -> Floats:
    """Φ(a)Φ(b) c, the first order in rho (statistical linearisation); to compare with."""
    a, b, _ = _standard(mu1, v1, mu2, v2, c)
    return np.asarray(ndtr(a) * ndtr(b) * c)


def maximum(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of max(X1, X2), and P(X1 > X2): Clark (1961), counted from the larger mean (extension E2).

    theta² = v1 + v2 - 2c, tau = |mu1 - mu2| / theta, q = Φ(-tau), g = φ(tau) - tau q, w and l the variances of the
    one with the larger mean and of the other: mean = max(mu1, mu2) + theta g, var = w + (l - w) q - theta² g (tau + g).
    """
    theta = np.sqrt(np.maximum(v1 + v2 - 2 * c, TINY**2))
    first = mu1 >= mu2
    tau = np.minimum(np.abs(mu1 - mu2) / theta, FAR)
    q = ndtr(-tau)
    g = _phi(tau) - tau * q
    larger, other = np.where(first, v1, v2), np.where(first, v2, v1)
    var = larger + (other - larger) * q - theta**2 * g * (tau + g)
    return np.maximum(mu1, mu2) + theta * g, np.maximum(var, 0), np.where(first, 1 - q, q)


def max_pool(mu: Floats, V: Floats, windows: Indices) -> Joint:
    """Moments of the largest unit of each window, by pairs: down each column of the window, then from the left.

    mu: (n,); V: (n, n), or (n,) of independent units; windows: (outputs, rows, columns) of places in mu, disjoint.
    A maximum M = max(X1, X2) has Cov(M, X3) = P(X1 > X2) Cov(X1, X3) + P(X2 > X1) Cov(X2, X3), exactly, where X3 is
    Gaussian; Clark (1961) takes it for the next X3 too. Source: extension E2; the order is that of audit N17's pooling.
    """
    mu, V = mu.copy(), V.copy()
    rows, columns = windows.shape[1:]
    for i in range(1, rows):
        _fold(mu, V, windows[:, 0].ravel(), windows[:, i].ravel())
    for j in range(1, columns):
        _fold(mu, V, windows[:, 0, 0], windows[:, 0, j])
    heads = windows[:, 0, 0]
    return mu[heads], V[heads] if V.ndim == 1 else V[np.ix_(heads, heads)]


def _fold(mu: Floats, V: Floats, first: Indices, second: Indices) -> None:
    """Put the maximum of each pair into the place of its first."""
    v = V if V.ndim == 1 else np.diagonal(V)
    c = np.zeros(len(first)) if V.ndim == 1 else V[first, second]
    mean, var, p = maximum(mu[first], v[first], mu[second], v[second], c)
    mu[first] = mean
    if V.ndim == 2:
        V[first] = p[:, None] * V[first] + (1 - p)[:, None] * V[second]
        V[:, first] = p * V[:, first] + (1 - p) * V[:, second]
        V[first, first] = var
    else:
        V[first] = var


def _phi(t: Floats) -> Floats:
    return np.exp(-t * t / 2) / sqrt(2 * pi)


def _standard(mu1: Floats, v1: Floats, mu2: Floats, v2: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """a, b and rho, within FAR and CLOSEST; a unit without variance has no correlation."""
    s1, s2 = np.maximum(np.sqrt(v1), TINY), np.maximum(np.sqrt(v2), TINY)
    a, b = np.clip(mu1 / s1, -FAR, FAR), np.clip(mu2 / s2, -FAR, FAR)
    return a, b, np.clip(c / s1 / s2, -CLOSEST, CLOSEST)


def _integrals(a: Floats, b: Floats, rho: Floats, nodes: int) -> Joint:
    """∫ φ₂(a, b; r) dr and ∫ (rho - r) φ₂(a, b; r) dr over 0 < r < rho, r = sin theta; the exponent is

    -((a - b)² + 2ab (1 - r)) / (2 (1 - r²)).
    """
    end = np.arcsin(rho)
    apart, product = (a - b) ** 2, 2 * a * b
    density, lifted = np.zeros(np.shape(apart * rho)), np.zeros(np.shape(apart * rho))
    for node, weight in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        r = np.sin(end * ((1 + node) / 2))
        part = np.exp((apart + product * (1 - r)) / (-2 * (1 - r * r))) * end * (weight / (4 * pi))
        density += part
        lifted += (rho - r) * part
    return density, lifted
