"""The twelve defences of A2SNN's tables, written out: as published, as coded, and as derived (audit C1 to C34).

Logits are (classes, N), with p = softmax of the clean image's and q = softmax of the changed one's; a loss is the mean
over the batch.
"""

from math import ceil, e, log, sqrt

import numpy as np
from scipy.special import ndtri

from .plain import Floats


def softmax(z: Floats) -> Floats:
    """The probabilities of logits, (classes, N)."""
    shifted = np.exp(z - z.max(axis=0))
    return np.asarray(shifted / shifted.sum(axis=0))


def log_softmax(z: Floats) -> Floats:
    """Their logarithms."""
    return np.asarray(z - z.max(axis=0) - np.log(np.exp(z - z.max(axis=0)).sum(axis=0)))


def divergence(z: Floats, other: Floats) -> tuple[Floats, Floats, Floats]:
    """KL(p‖q) of each column, and its derivatives p∘(ln p - ln q - KL) and q - p (audit C1)."""
    p, q, apart = softmax(z), softmax(other), log_softmax(z) - log_softmax(other)
    value = (p * apart).sum(axis=0)
    return value, p * (apart - value), q - p


def cross_entropy_of_answers(z: Floats, other: Floats) -> tuple[Floats, Floats, Floats]:
    """-Σ p ln q of each column, which is KL(p‖q) plus the entropy of p, and its derivatives (audit C1)."""
    p, q, surprise = softmax(z), softmax(other), -log_softmax(other)
    value = (p * surprise).sum(axis=0)
    return value, p * (surprise - value), q - p


def running_share(passes: str, kept: float = 0.9) -> float:
    """The part of the clean image in BatchNorm's statistics after a step of passes "c" and "a" (audit C2)."""
    weights = [(1 - kept) * kept ** (len(passes) - 1 - i) for i in range(len(passes))]
    clean = sum(w for w, image in zip(weights, passes, strict=True) if image == "c")
    return clean / sum(weights)


def stepped(epoch: int, at: tuple[int, ...], factor: float = 0.1) -> float:
    """The factor of the rate in an epoch, from 1, that falls by `factor` at the beginning of each epoch `at` (C3)."""
    return factor ** sum(epoch >= start for start in at)


def mart(
    z: Floats, other: Floats, labels: np.ndarray, weight: float, safe: float = 1e-4
) -> tuple[float, Floats, Floats]:
    """Mean of -ln q_y - ln(1 + safe - q_c) + weight (1 - p_y) KL(p‖q), and its derivatives (audit C4, C5).

    c is the largest wrong class of q, held fixed. The published loss has no `safe`; the code has 1e-4.
    """
    p, q, hot = softmax(z), softmax(other), np.eye(len(z))[:, labels]
    wrong = np.eye(len(z))[:, np.where(hot == 1, -1.0, q).argmax(axis=0)]
    p_y, q_c = (p * hot).sum(axis=0), (q * wrong).sum(axis=0)
    kl, by_p, by_q = divergence(z, other)
    values = -(log_softmax(other) * hot).sum(axis=0) - np.log(1 + safe - q_c) + weight * (1 - p_y) * kl
    by_other = q - hot + q_c / (1 + safe - q_c) * (wrong - q) + weight * (1 - p_y) * by_q
    by_clean = weight * ((1 - p_y) * by_p - kl * p_y * (hot - p))
    return float(values.mean()), by_clean / z.shape[1], by_other / z.shape[1]


def quantised(x: Floats, uniform: Floats, bits: int, cap: int | None = None) -> Floats:
    """BPFC's second view of pixels in [0, 1]: noise, then the middle of a bin of 2^bits levels (audit C6).

    uniform: numbers in [-1, 1], which are multiplied by 2^min(bits - 2, cap).
    """
    size = 2.0**bits
    u = np.round(255 * x) + uniform * 2.0 ** (bits - 2 if cap is None else min(bits - 2, cap))
    return np.asarray(np.clip(u - np.mod(u, size) + size / 2, 0, 255) / 255)


def shuffled(x: Floats, cuts: tuple[int, int], swapped: tuple[bool, bool]) -> Floats:
    """RLFLAT's shuffle with two parts along each of the last two axes: cut there, and the parts swapped or not (C8)."""
    for axis, cut, swap in zip((-2, -1), cuts, swapped, strict=True):
        parts = np.split(x, [cut], axis=axis)
        x = np.concatenate(parts[::-1] if swap else parts, axis=axis)
    return x


def prototypes_coded(
    f: Floats, labels: np.ndarray, own: Floats, others: Floats, b: float
) -> tuple[float, Floats, Floats, Floats]:
    """PCL in code: mean ‖f - c_y‖² - b mean over n and j ≠ y of ‖f - c'_j‖², and derivatives by f, c, c' (audit C10).

    f: features (N, D). own, others: the two sets of centres, (classes, D).
    """
    N, classes = len(f), len(own)
    value, df, dc, do = 0.0, np.zeros_like(f), np.zeros_like(own), np.zeros_like(others)
    for n, y in enumerate(labels):
        apart = f[n] - own[y]
        value += float(apart @ apart) / N
        df[n] += 2 * apart / N
        dc[y] -= 2 * apart / N
        for j in set(range(classes)) - {int(y)}:
            apart, share = f[n] - others[j], b / (N * (classes - 1))
            value -= share * float(apart @ apart)
            df[n] -= 2 * share * apart
            do[j] += 2 * share * apart
    return value, df, dc, do


def prototypes_printed(f: Floats, labels: np.ndarray, centres: Floats) -> tuple[float, Floats, Floats]:
    """PCL in the paper: Σ_n {‖f - c_y‖ - Σ_{j≠y} (‖f - c_j‖ + ‖c_y - c_j‖)/(classes - 1)}, and by f, c (audit C10)."""
    classes = len(centres)
    value, df, dc = 0.0, np.zeros_like(f), np.zeros_like(centres)

    def unit(v: Floats) -> tuple[float, Floats]:
        size = float(np.linalg.norm(v))
        return size, v / size

    for n, y in enumerate(labels):
        size, u = unit(f[n] - centres[y])
        value, df[n], dc[y] = value + size, df[n] + u, dc[y] - u
        for j in set(range(classes)) - {int(y)}:
            (size, u), (between, v), share = unit(f[n] - centres[j]), unit(centres[y] - centres[j]), 1 / (classes - 1)
            value -= share * (size + between)
            df[n] -= share * u
            dc[y] -= share * v
            dc[j] += share * (u + v)
    return value, df, dc


def without_normalisation(
    x: Floats, slope: Floats, mean: float, deviation: float, eps: float, step: float, steps: int
) -> tuple[Floats, Floats]:
    """PCL's attack in training on normalised images x: the attacked ones, and what is left of the clean ones (C12).

    slope: gradient of a score that is linear. Each step maps the images back to pixels, the first of them in the place
    of the clean ones; later steps map pixels as if they were normalised.
    """
    clean = adv = x * deviation + mean
    for i in range(steps):
        moved = (adv if i == 0 else adv * deviation + mean) + step * np.sign(slope)
        adv = np.clip(np.clip(moved, clean - eps, clean + eps), 0, 1)
    return adv, clean


def dropped(mean: Floats, var: Floats, p: float) -> tuple[Floats, Floats]:
    """Moments of x m/(1 - p), m = 1 with probability 1 - p: mean, and (var + p mean²)/(1 - p) (audit C14)."""
    return mean, (var + p * mean**2) / (1 - p)


def answered(z: Floats, labels: np.ndarray) -> tuple[Floats, Floats]:
    """-ln of the mean probability of the label over draws, z (draws, classes, N), and r_k (p_k - e_y) (audit C16)."""
    p = np.array([softmax(one) for one in z])
    hot = np.eye(z.shape[1])[:, labels]
    each = (p * hot).sum(axis=1)
    return -np.log(each.mean(axis=0)), (each / each.sum(axis=0))[:, None] * (p - hot)


def relative_noise(w: Floats, alpha: float, eps: Floats, g: Floats, through_std: bool) -> tuple[Floats, float, Floats]:
    """PNI: w + alpha std(w) eps, and from its cotangent g those of alpha and w (audit C17).

    std: with n - 1, constant in the code; `through_std` differentiates it.
    """
    std = float(w.std(ddof=1))
    dw = g + (alpha * float((g * eps).sum()) * (w - w.mean()) / ((w.size - 1) * std) if through_std else 0)
    return w + alpha * std * eps, std * float((g * eps).sum()), dw


def linear_moments(w: Floats, s: Floats, b: Floats, s_b: Floats, m: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of (w + s∘ε) x + b + s_b ε' for independent x of mean m and variance v (audit C19)."""
    return w @ m + b, (w * w) @ v + (s * s) @ (m * m + v) + s_b * s_b


def harmonic(epoch: int, delay: int) -> float:
    """L2P's h of an epoch, counted from 0, as coded: Σ 1/i over i from 1 to epoch - delay (audit C21)."""
    return sum(1 / i for i in range(1, epoch - delay + 1))


def root_reward(theta: Floats, gamma: float, h: float) -> tuple[float, Floats]:
    """L2P's -gamma/h Σ √θ, and its derivative -gamma/(2 h √θ) (audit C22)."""
    return -gamma / h * float(np.sqrt(theta).sum()), -gamma / (2 * h * np.sqrt(theta))


def gaussian_divergence(mu: Floats, rho: Floats, prior: float) -> tuple[float, Floats, Floats]:
    """Σ [ln σ₀ - ρ + (e^{2ρ} + μ²)/(2σ₀²) - ½]: KL(N(μ, e^{2ρ}) ‖ N(0, σ₀²)), and by μ, ρ (audit C27)."""
    value = (log(prior) - rho + (np.exp(2 * rho) + mu**2) / (2 * prior**2) - 0.5).sum()
    return float(value), mu / prior**2, np.exp(2 * rho) / prior**2 - 1


def private_radius(p_a: float, p_b: float, sigma: float) -> float:
    """PixelDP: max over ε ≤ 1 and δ of σ ε/√(2 ln(1.25/δ)) with p_A ≥ e^{2ε} p_B + (1 + e^ε) δ (audit C24).

    For each ε the largest δ that the condition allows is the best one.
    """
    best = 0.0
    for eps in np.linspace(1e-3, 1, 1000):
        delta = (p_a - e ** (2 * eps) * p_b) / (1 + e**eps)
        if 0 < delta < 1:
            best = max(best, sigma * float(eps) / sqrt(2 * log(1.25 / delta)))
    return best


def tight_radius(p_a: float, p_b: float, sigma: float) -> float:
    """σ (Φ⁻¹(p_A) - Φ⁻¹(p_B))/2, which no larger one can replace (Cohen et al. 2019; audit C24)."""
    return sigma * float(ndtri(p_a) - ndtri(p_b)) / 2


def parseval_bound(w: Floats, stride: int = 1) -> float:
    """PixelDP: ⌈k/stride⌉ ‖W‖, W (filters, k k channels), for filters w (filters, k, k, channels) (audit C26)."""
    return float(ceil(w.shape[1] / stride) * np.linalg.norm(w.reshape(len(w), -1), 2))
