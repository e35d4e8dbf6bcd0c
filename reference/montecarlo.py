"""Draws of a noisy network, and how far an average over them may be from the truth: checks that assume no formula."""

from dataclasses import dataclass

import numpy as np

from .plain import Floats


@dataclass(frozen=True)
class Estimate:
    """Mean and variance of draws, each with its standard error."""

    mean: Floats
    var: Floats
    mean_error: Floats
    var_error: Floats

    def deviations(self, mean: Floats, var: Floats) -> float:
        """The largest distance of `mean` and `var` from the estimate, in standard errors."""
        off = np.abs(mean - self.mean) / self.mean_error, np.abs(var - self.var) / self.var_error
        return float(np.max(off))


def estimate(draws: Floats) -> Estimate:
    """Of draws (D, ...): the standard error of a mean is √(var/D), of a variance √((m₄ - var²)/D)."""
    count = len(draws)
    mean = draws.mean(axis=0)
    square = (draws - mean) ** 2
    var = square.mean(axis=0)
    fourth = (square**2).mean(axis=0)
    return Estimate(mean, var, np.sqrt(var / count), np.sqrt((fourth - var**2) / count))


def gaussian(mu: Floats, v: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Independent X_j ~ N(mu_j, v_j): (D, ...)."""
    return mu + np.sqrt(v) * rng.standard_normal((draws, *mu.shape))


def preactivation(x: Floats, W: Floats, b: Floats, sigma: float, draws: int, rng: np.random.Generator) -> Floats:
    """Z = W x + b + ν, ν ~ N(0, sigma² I): (D, O) (noise paper Eq. 3, audit N4)."""
    return gaussian(W @ x + b, np.full(len(b), sigma**2), draws, rng)


def relu(z: Floats) -> Floats:
    """Y = max(0, Z), draw by draw (noise paper Sec. 2.1; its law is audit N5)."""
    return np.maximum(z, 0)


def affine(z: Floats, W: Floats, b: Floats) -> Floats:
    """W z + b, draw by draw: (D, I) -> (D, O)."""
    return z @ W.T + b


def network(
    x: Floats, layers: list[tuple[Floats, Floats]], sigma: float, draws: int, rng: np.random.Generator
) -> list[Floats]:
    """Draws of every layer of a ReLU network with noise on its first pre-activation: those of each W z + b, in order.

    layers: (W, b) of each; the last of the list are the logits (D, classes).
    """
    outputs = [preactivation(x, *layers[0], sigma, draws, rng)]
    for W, b in layers[1:]:
        outputs.append(affine(relu(outputs[-1]), W, b))
    return outputs


def wins(logits: Floats, k: int) -> Floats:
    """1[Y_k > Y_i] for each draw and each i ≠ k: (D, n) -> (D, n - 1); its mean estimates N18's probabilities."""
    others = np.delete(logits, k, axis=1)
    return np.asarray(logits[:, [k]] > others, np.float64)


def noise_aware(mu: Floats, logits: Floats, k: int) -> tuple[float, float]:
    """MSE of mu - 1/(n-1) Σ_{i≠k} P(Y_k > Y_i) from draws of the logits, and its standard error (audit N18)."""
    target = np.zeros(len(mu))
    target[k] = 1
    mean_win = wins(logits, k).mean(axis=1)
    value = float(np.mean((target - mu) ** 2) - mean_win.mean())
    return value, float(mean_win.std() / np.sqrt(len(logits)))
