"""A2SNN's attacks and its evaluation protocol (Sec. 2.1, 4.1): what each step does, in plain arithmetic."""

from math import inf, sqrt

import numpy as np

from .plain import Floats, Phi


def fgsm(x: Floats, gradient: Floats, eps: float) -> Floats:
    """x + ε sign(∇_x L), as printed: nothing keeps it in [0, 1] (A2SNN Sec. 2.1, audit A1)."""
    return x + eps * np.sign(gradient)


def lagrangian_printed(loss: float, delta: Floats, p: float) -> float:
    """L(h(x + δ), y) - ‖δ‖_p, to be maximised, as A2SNN prints Carlini and Wagner's attack (Sec. 2.1, audit A2)."""
    return loss - float(np.linalg.norm(delta, p))


def margin_loss(logits: Floats, k: int, kappa: float) -> float:
    """max(h_k - max_{i≠k} h_i, -κ) of Carlini and Wagner's untargeted attack, to be minimised (audit A2)."""
    runner_up = max(float(h) for i, h in enumerate(logits) if i != k)
    return max(float(logits[k]) - runner_up, -kappa)


def carlini_wagner(logits: Floats, k: int, delta: Floats, c: float, kappa: float) -> float:
    """‖δ‖₂² + c max(h_k - max_{i≠k} h_i, -κ), to be minimised; c by binary search (audit A2)."""
    return sum(float(d) ** 2 for d in delta.ravel()) + c * margin_loss(logits, k, kappa)


def boxed(omega: Floats) -> Floats:
    """x + δ = (tanh ω + 1)/2, in [0, 1] for every ω (audit A2)."""
    return (np.tanh(omega) + 1) / 2


def boxed_slope(omega: Floats) -> Floats:
    """dδ/dω = (1 - tanh² ω)/2 (audit A2)."""
    return (1 - np.tanh(omega) ** 2) / 2


def next_constant(c: float, low: float, high: float, success: bool) -> tuple[float, float, float]:
    """One step of the binary search for c: the next c, and the bounds; ten times c while nothing succeeded (A2)."""
    low, high = (low, min(high, c)) if success else (max(low, c), high)
    return (c * 10 if high == inf else (low + high) / 2), low, high


def converged(energies: Floats) -> bool:
    """√Var(E(X)) <= |1/(100N) Σ E(x)|, Var with 1/N: differential evolution stops (A2SNN Sec. 4.1, audit A22)."""
    n = len(energies)
    mean = sum(float(e) for e in energies) / n
    var = sum((float(e) - mean) ** 2 for e in energies) / n
    return sqrt(var) <= abs(sum(float(e) for e in energies) / (100 * n))


def reach(step: float, steps: int, random_start: bool, errors: float = 0.0, cells: int = 1000) -> tuple[float, float]:
    """How far projected sign steps get in one coordinate of the L∞ ball, in units of ε (A2SNN Sec. 4.1, audit A24).

    step: α/ε, times `cells` a whole number. errors: the share of steps with the wrong sign, drawn for each step.
    Returns E[δ · sign(∇)]/ε and P(δ = ε sign(∇)), of the law of the position carried step by step over places
    -1, -1 + 1/cells, ..., 1; a random start is uniform over the odd ones, the middles of the intervals.
    """
    places = 2 * cells + 1
    law = np.zeros(places)
    if random_start:
        law[1::2] = 1 / cells
    else:
        law[cells] = 1.0
    stride = round(step * cells)
    here = np.arange(places)
    up, down = np.minimum(here + stride, places - 1), np.maximum(here - stride, 0)
    for _ in range(steps):
        law = np.asarray(np.bincount(up, (1 - errors) * law, places) + np.bincount(down, errors * law, places), float)
    return float(law @ (here / cells - 1)), float(law[-1])


def wrong_sign(snr: float, samples: int) -> float:
    """P(the mean of `samples` gradients has the wrong sign) = Φ(-snr √samples), snr = |mean|/sd of one (audit A25)."""
    return Phi(-snr * sqrt(samples))
