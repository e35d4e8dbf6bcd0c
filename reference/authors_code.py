"""What the published code of A2SNN's authors computes where the paper says something else (audit B1 to B17).

W: (C, D) weights of the last layer, row w_i for class i. L: (D, D) lower triangular, Sigma = L Lᵀ the covariance of the
noise. Derivatives by L are those by its lower triangle, with zeros above.
"""

from math import exp, log, log1p, sqrt

import numpy as np
from scipy import integrate, special

from .a2snn import Labels, Slopes, logits, reparameterised, softmax
from .alignment import covariance, max_entropy, max_entropy_by_factor, variance_along
from .plain import Floats, Phi


def log_trace(W: Floats, L: Floats) -> float:
    """ln tr(W Sigma Wᵀ) = ln Σ_i w_iᵀ Sigma w_i, in place of Eq. 4 (audit B1)."""
    return log(sum(variance_along(w, L) for w in W))


def log_trace_slopes(W: Floats, L: Floats) -> tuple[float, Floats, Floats]:
    """The value, row i of 2 Sigma w_i / q, and tril(Σ_i 2 w_i w_iᵀ L) / q, q = tr(W Sigma Wᵀ) (audit B1)."""
    q = sum(variance_along(w, L) for w in W)
    by_weights = np.array([2 * (covariance(L) @ w) / q for w in W])
    return log_trace(W, L), by_weights, np.tril(sum((2 * np.outer(w, w) @ L / q for w in W), np.zeros_like(L)))


def log_entropy_slopes(L: Floats) -> tuple[float, Floats]:
    """ln H, H = ½ ln det(2πe Sigma) > 0, in place of Eq. 2, and its gradient diag(1/L_ii) / H (audit B2)."""
    return log(max_entropy(L)), max_entropy_by_factor(L) / max_entropy(L)


def softplus(x: float) -> float:
    """ln(1 + eˣ): the "isotropic" noise's standard deviation, from its raw parameter (audit B4)."""
    return max(x, 0.0) + log1p(exp(-abs(x)))


def raw_trace(W: Floats, raw: Floats) -> float:
    """Σ_i Σ_j w_ij² raw_j: the "isotropic" tr(W Sigma Wᵀ), the raw parameter for the variance (audit B4)."""
    return sum(float(w[j]) ** 2 * float(raw[j]) for w in W for j in range(len(raw)))


def drawn_trace(W: Floats, raw: Floats) -> float:
    """Σ_i Σ_j w_ij² softplus(raw_j)²: the same of the noise that is drawn (audit B4)."""
    return sum(float(w[j]) ** 2 * softplus(float(raw[j])) ** 2 for w in W for j in range(len(raw)))


def start(rng: np.random.Generator, D: int) -> Floats:
    """L at the start: uniform on [0, 1) in the lower triangle (audit B5)."""
    return np.tril(rng.uniform(size=(D, D)))


def start_without_entropy(D: int) -> float:
    """P(Σ_i ln U_i <= -D/2 ln(2πe)): the entropy of such a start is no more than 0; -Σ ln U_i is Gamma(D) (B5)."""
    return float(special.gammaincc(D, max_entropy(np.eye(D))))


def one_draw(F: Floats, labels: Labels, W: Floats, b: Floats, L: Floats, eps: Floats) -> Slopes:
    """Gradients of the mean cross-entropy with the draw eps, (D,), for all examples of the batch (audit B6).

    Written out: with delta = (softmax(W (f + L eps) + b) - e_k)/N that by L is tril((Σ_n Wᵀ delta_n) epsᵀ).
    """
    noisy = F + L @ eps
    delta = (softmax(logits(noisy, W, b)) - np.eye(len(b))[labels]) / len(F)
    return Slopes(delta @ W, delta.T @ noisy, delta.sum(axis=0), np.tril(np.outer((delta @ W).sum(axis=0), eps)))


def own_draws(F: Floats, labels: Labels, W: Floats, b: Floats, L: Floats, eps: Floats) -> Slopes:
    """The same with a draw for each example, eps (N, D), as Sec. 3 has it (audit B6, A20)."""
    return reparameterised(F, labels, W, b, L, eps)


def decayed(gradient: Floats, weights: Floats, weight_decay: float) -> Floats:
    """gradient + weight_decay · weights: the decay that goes through Adam's moments (audit B7)."""
    return gradient + weight_decay * weights


def unit_matrix(W: Floats) -> Floats:
    """W / ‖W‖_F, ‖W‖_F = √Σ_ij w_ij²: the projection of the paper's commit, in place of rows of norm 1 (audit B13)."""
    return W / sqrt(sum(float(w) ** 2 for w in W.ravel()))


def single_slopes(z: Floats, k: int) -> Floats:
    """exp(ln softmax(z)_i) - [i = k] where each step is rounded to single precision (audit B11)."""
    single = np.float32
    top = single(max(float(a) for a in z))
    shifted = [single(single(a) - top) for a in z]
    total = single(0)
    for s in shifted:
        total = single(total + single(exp(float(s))))
    log_total = single(log(float(total)))
    p = [single(exp(float(single(s - log_total)))) for s in shifted]
    return np.array([float(single(p_i - single(i == k))) for i, p_i in enumerate(p)])


def best_of(epochs: int) -> float:
    """E max of `epochs` independent standard normal errors: ∫ x d Φ(x)ⁿ (audit B8)."""
    tail = integrate.quad(lambda x: 1 - Phi(x) ** epochs, 0, np.inf)[0]
    return float(tail - integrate.quad(lambda x: Phi(x) ** epochs, -np.inf, 0)[0])


def one_pass_error(p: Floats) -> float:
    """√(Σ p(1 - p))/n: the standard deviation of the accuracy of one pass with a draw for each image (audit B9).

    p: the probabilities with which the images are read correctly under the noise.
    """
    return sqrt(sum(float(a) * (1 - float(a)) for a in p)) / len(p)


def shared_pass_error(p: Floats) -> float:
    """√(Σ_ij (min(p_i, p_j) - p_i p_j))/n: the most that it can be with one draw for all of them (audit B9).

    It is attained where the same draws misread all images, so that the image i is right for U < p_i, U uniform.
    """
    return sqrt(sum(min(float(a), float(c)) - float(a) * float(c) for a in p for c in p)) / len(p)


def score(x: Floats, W: Floats, w: Floats, mean: float, deviation: float) -> float:
    """wᵀ max(0, W (x - mean)/deviation): a score of an image that is normalised first (audit B10)."""
    return float(w @ np.maximum(W @ (x - mean) / deviation, 0))


def score_slope(x: Floats, W: Floats, w: Floats, mean: float, deviation: float) -> Floats:
    """Wᵀ (w 1[W (x - mean) > 0])/deviation: its gradient by x (audit B10)."""
    return W.T @ (w * (W @ (x - mean) > 0)) / deviation
