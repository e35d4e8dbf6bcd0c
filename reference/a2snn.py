"""A2SNN's classifier and objective on draws of its noise: Sec. 3, Eq. 1, and the reparameterised gradients of Sec. 3.3.

F: (N, D) features f(x_n). eps: (N, D) standard normal draws, z = L eps. W: (C, D), b: (C,), L: (D, D) lower triangular.
labels: (N,) integers. `add_noise` and `add_noise_backward`, which the engine will have, take features and draws as the
engine does, batch last: (D, N).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from .plain import Floats

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slopes:
    """Gradients by the features, the weights, the biases and the lower triangle of L."""

    f: Floats
    W: Floats
    b: Floats
    L: Floats


def add_noise(F: Floats, L: Floats, eps: Floats) -> Floats:
    """f + L eps, example by example: (D, N) -> (D, N) (A2SNN Sec. 3.3, audit A3, A20)."""
    return np.stack([f + L @ x for f, x in zip(F.T, eps.T, strict=True)], axis=-1)


def add_noise_backward(dz: Floats, L: Floats, eps: Floats) -> Floats:
    """The gradient by L from that by the noisy features, (D, N) like eps: tril(Σ_n dz_n eps_nᵀ) (audit A20)."""
    return np.tril(sum((np.outer(g, x) for g, x in zip(dz.T, eps.T, strict=True)), np.zeros_like(L)))


def logits(F: Floats, W: Floats, b: Floats) -> Floats:
    """h = W f + b of features, noisy or not: (..., D) -> (..., C) (A2SNN Sec. 3, audit A3)."""
    return F @ W.T + b


def softmax(H: Floats) -> Floats:
    """exp(h_i) / Σ_j exp(h_j) over the last axis."""
    return np.exp(H - logsumexp(H, axis=-1, keepdims=True))


def cross_entropy(H: Floats, labels: Labels) -> float:
    """Mean of -ln softmax(h)_k; H: (..., N, C), so that draws of the noise may come first."""
    right = H[..., np.arange(len(labels)), labels]
    return float((logsumexp(H, axis=-1) - right).mean())


def objective(cross_entropy: float, entropy: float, alignment: float, lambda1: float, lambda2: float) -> float:
    """L_C - lambda1 L_ME - lambda2 L_WCA (A2SNN Eq. 1, audit A4)."""
    return cross_entropy - lambda1 * entropy - lambda2 * alignment


def reparameterised(F: Floats, labels: Labels, W: Floats, b: Floats, L: Floats, eps: Floats) -> Slopes:
    """Gradients of the mean cross-entropy of W (f + L eps) + b for these draws (audit A20).

    With delta = (softmax(h) - e_k)/N those by F, W, b and L are delta W, deltaᵀ (f + z), Σ delta and
    tril(Σ_n (Wᵀ delta_n) eps_nᵀ).
    """
    noisy = add_noise(F.T, L, eps.T).T
    delta = (softmax(logits(noisy, W, b)) - np.eye(len(b))[labels]) / len(F)
    return Slopes(delta @ W, delta.T @ noisy, delta.sum(axis=0), add_noise_backward((delta @ W).T, L, eps.T))
