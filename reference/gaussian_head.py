"""What A2SNN's classifier does without drawing its noise: h = W (f + z) + b is N(m, S) (extension E3, audit A3).

One example: f (D,), W (C, D), b (C,), L (D, D) with Sigma = L Lᵀ; m (C,), S (C, C); k the true class. For a class i ≠ k
d_i = w_k - w_i, s_i² = d_iᵀ Sigma d_i and u_i = (d_iᵀ f + b_k - b_i)/s_i, so that P(h_k > h_i) = Φ(u_i).
"""

from math import exp, pi, sqrt

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import multivariate_normal, qmc

from . import alignment, loss, plain, theorem
from .a2snn import Labels, Slopes, softmax
from .plain import Floats


def mean(f: Floats, W: Floats, b: Floats) -> Floats:
    """m = W f + b (audit A3)."""
    return W @ f + b


def covariance(W: Floats, L: Floats) -> Floats:
    """S = W Sigma Wᵀ (audit A3)."""
    return W @ alignment.covariance(L) @ W.T


def covariance_after_variances(W: Floats, L: Floats, v: Floats) -> Floats:
    """S_ij = Σ_d W_id W_jd v_d + Σ_de W_id W_je Sigma_de: of features that come with variances v (D,) (E3)."""
    C, D = W.shape
    Sigma, S = alignment.covariance(L), np.zeros((C, C))
    for i, j in np.ndindex(C, C):
        S[i, j] = sum(float(W[i, d] * W[j, d] * v[d]) for d in range(D))
        S[i, j] += sum(float(W[i, d] * W[j, e] * Sigma[d, e]) for d, e in np.ndindex(D, D))
    return S


def covariance_after_variances_slopes(dS: Floats, W: Floats, L: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Gradients by v, W and L of whatever has the gradient dS by that S (E3).

    dv_d = Σ_ij dS_ij W_id W_jd, dW = (dS + dSᵀ) W (diag(v) + Sigma), dL = tril(Wᵀ (dS + dSᵀ) W L).
    """
    C, D = W.shape
    dv = [sum(float(dS[i, j] * W[i, d] * W[j, d]) for i, j in np.ndindex(C, C)) for d in range(D)]
    both = dS + dS.T
    return np.array(dv), both @ W @ (np.diag(v) + alignment.covariance(L)), np.tril(W.T @ both @ W @ L)


def others(C: int, k: int) -> list[int]:
    """The classes i ≠ k."""
    return [i for i in range(C) if i != k]


def margin(i: int, k: int, f: Floats, W: Floats, b: Floats, L: Floats) -> float:
    """u_i = (d_iᵀ f + b_k - b_i)/s_i (E3)."""
    mu, s = theorem.pair(W, b, L, f, k, i)
    return mu / s


def margin_slopes(i: int, k: int, f: Floats, W: Floats, b: Floats, L: Floats) -> Slopes:
    """∂u_i/∂f = d/s; ∂u_i/∂d = f/s - u Sigma d/s², to w_k, and from w_i; ∂u_i/∂b_k = 1/s; -(u/s²) tril(d dᵀ L) (E3)."""
    d = W[k] - W[i]
    q = alignment.variance_along(d, L)
    s, u = sqrt(q), margin(i, k, f, W, b, L)
    by_difference = f / s - u * (alignment.covariance(L) @ d) / q
    dW, db = np.zeros_like(W), np.zeros_like(b)
    dW[k], dW[i] = by_difference, -by_difference
    db[k], db[i] = 1 / s, -1 / s
    return Slopes(d / s, dW, db, -u / q * np.tril(np.outer(d, d) @ L))


def win_probabilities(k: int, f: Floats, W: Floats, b: Floats, L: Floats) -> Floats:
    """P(h_k > h_i) = Φ(u_i) for the classes i ≠ k (E3)."""
    return np.array([ndtr(margin(i, k, f, W, b, L)) for i in others(len(b), k)])


def log_wins(k: int, f: Floats, W: Floats, b: Floats, L: Floats) -> float:
    """Σ_{i≠k} ln P(h_k > h_i) (E3)."""
    return sum(float(log_ndtr(margin(i, k, f, W, b, L))) for i in others(len(b), k))


def mills(u: float) -> float:
    """d ln Φ(u)/du = exp(-u²/2 - ln Φ(u))/√(2π) (E3)."""
    return exp(-u * u / 2 - float(log_ndtr(u))) / sqrt(2 * pi)


def log_wins_slopes(k: int, f: Floats, W: Floats, b: Floats, L: Floats) -> Slopes:
    """Gradients of Σ_{i≠k} ln P(h_k > h_i): those of u_i, each times d ln Φ(u_i)/du (E3)."""
    parts = [(mills(margin(i, k, f, W, b, L)), margin_slopes(i, k, f, W, b, L)) for i in others(len(b), k)]
    return Slopes(
        sum((r * g.f for r, g in parts), np.zeros_like(f)),
        sum((r * g.W for r, g in parts), np.zeros_like(W)),
        sum((r * g.b for r, g in parts), np.zeros_like(b)),
        sum((r * g.L for r, g in parts), np.zeros_like(L)),
    )


def chain(dm: Floats, dS: Floats, f: Floats, W: Floats, L: Floats) -> Slopes:
    """Gradients of whatever has the gradients dm and dS by the mean and the covariance of the logits (E3).

    df = Wᵀ dm, dW = dm fᵀ + (dS + dSᵀ) W Sigma, db = dm, dL = tril(Wᵀ (dS + dSᵀ) W L).
    """
    both = dS + dS.T
    dW = np.outer(dm, f) + both @ W @ alignment.covariance(L)
    return Slopes(W.T @ dm, dW, dm, np.tril(W.T @ both @ W @ L))


def differences(m: Floats, S: Floats, k: int) -> tuple[Floats, Floats]:
    """Mean and covariance of h_k - h_i over i ≠ k."""
    A = np.array([np.eye(len(m))[k] - np.eye(len(m))[i] for i in others(len(m), k)])
    return A @ m, A @ S @ A.T


def correct_probability(m: Floats, S: Floats, k: int) -> float:
    """P(h_k is the largest), by the multivariate normal distribution function (E3)."""
    mu, V = differences(m, S, k)
    return float(multivariate_normal(-mu, V).cdf(np.zeros(len(mu))))


def correct_probability_slope(m: Floats, S: Floats, k: int, i: int) -> float:
    """∂P(correct)/∂(m_k - m_i) = φ(u_i)/s_i P(the other differences > 0 | h_k - h_i = 0) (E3)."""
    mu, V = differences(m, S, k)
    at = others(len(m), k).index(i)
    s = sqrt(float(V[at, at]))
    rest = [j for j in range(len(mu)) if j != at]
    lean = V[rest, at] / V[at, at]
    given = multivariate_normal(-(mu[rest] - lean * mu[at]), V[np.ix_(rest, rest)] - np.outer(lean, V[at, rest]))
    return plain.phi(float(mu[at]) / s) / s * float(given.cdf(np.zeros(len(rest))))


def correct_bounds(wins: Floats) -> tuple[float, float, float]:
    """1 - Σ(1 - P_i) <= P(correct) <= min P_i, and Π P_i, a lower bound where no correlation is negative (E3)."""
    return 1 - float((1 - wins).sum()), float(np.prod(wins)), float(wins.min())


def cross_entropy_second_order(m: Floats, S: Floats, k: int) -> float:
    """CE(m) + ½ (qᵀp - pᵀSp), q = diag S: E[CE] for little noise (E3)."""
    p = softmax(m)
    return loss.cross_entropy(m, k) + (float(np.diag(S) @ p) - float(p @ S @ p)) / 2


def cross_entropy_second_order_slope(m: Floats, S: Floats, k: int) -> Floats:
    """Its gradient by m: p - e_k + p ∘ (x - pᵀx), x = ½ q - S p (E3)."""
    p = softmax(m)
    x = np.diag(S) / 2 - S @ p
    return np.asarray(p - np.eye(len(m))[k] + p * (x - float(p @ x)))


def sobol(count: int, C: int) -> Floats:
    """Standard normal quantiles of the first `count` Sobol points, half a step inside the cube: (count, C) (E3)."""
    return np.asarray(ndtri(qmc.Sobol(C, scramble=False).random(count) + 1 / (2 * count)), np.float64)


def nodes(m: Floats, S: Floats, points: Floats) -> Floats:
    """m + S^½ x for each standard normal point x, S^½ the symmetric root."""
    size, axes = np.linalg.eigh(S)
    root = axes * np.sqrt(np.maximum(size, 0)) @ axes.T
    noisy: Floats = m + points @ root
    return noisy


def expected_probabilities(m: Floats, S: Floats, points: Floats) -> Floats:
    """E[p] = E[softmax(h)]: the gradient of E[CE] by m is E[p] - e_k (E3)."""
    return np.asarray(softmax(nodes(m, S, points)).mean(axis=0))


def expected_curvature(m: Floats, S: Floats, points: Floats) -> Floats:
    """E[diag(p) - p pᵀ]: the gradient of E[CE] by S is half of it (Price's theorem, E3)."""
    p = softmax(nodes(m, S, points))
    return np.asarray(np.diag(p.mean(axis=0)) - p.T @ p / len(p))


def expected_cross_entropy_by_factor(W: Floats, L: Floats, curvature: Floats) -> Floats:
    """dE[CE]/dL = tril(Wᵀ E[diag(p) - p pᵀ] W L) (audit A20, E3)."""
    return np.tril(W.T @ curvature @ W @ L)


def expected_cross_entropy(
    mean: Floats, covariance: Floats, labels: Labels, points: Floats
) -> tuple[Floats, Floats, Floats]:
    """E[CE] of each example over `points` (P, C), and its gradients by mean and covariance; batch last (E3).

    mean: (C, N), covariance: (C, C, N), labels: (N,) -> (N,), (C, N), (C, C, N).
    """
    value, dm, dS = np.zeros(len(labels)), np.zeros_like(mean), np.zeros_like(covariance)
    for n, k in enumerate(labels):
        m, S = mean[:, n], covariance[..., n]
        value[n] = np.mean([loss.cross_entropy(h, int(k)) for h in nodes(m, S, points)])
        dm[:, n] = expected_probabilities(m, S, points) - np.eye(len(m))[k]
        dS[..., n] = expected_curvature(m, S, points) / 2
    return value, dm, dS
