"""Answers of several draws about one image, by loops: the plain version of `npsnn.ops.answers`.

z: logits of each draw, (K, C). y: the label.
"""

from math import exp, log

import numpy as np
from scipy.special import logsumexp

from .plain import Floats


def softmax(z: Floats) -> Floats:
    """Probabilities of the logits of one draw."""
    total = float(logsumexp(z))
    return np.array([exp(float(a) - total) for a in z])


def mean_probability(z: Floats) -> Floats:
    """p̄ = (1/K) Σ_k softmax(z_k): the answer of RSE (Liu et al. 2018) and of Adv-BNN (Liu et al. 2019)."""
    return np.array([sum(softmax(one)[c] for one in z) / len(z) for c in range(z.shape[1])])


def surprise(z: Floats, y: int) -> float:
    """-ln p̄_y."""
    return -log(mean_probability(z)[y])


def surprise_gradient(z: Floats, y: int) -> Floats:
    """Gradient of -ln p̄_y by the logits of each draw, r_k (p_k - e_y) with r_k = p_ky / Σ_j p_jy: (K, C)."""
    p = [softmax(one) for one in z]
    total = sum(float(one[y]) for one in p)
    return np.array([[one[y] / total * (one[c] - (c == y)) for c in range(z.shape[1])] for one in p])


def votes(z: Floats) -> list[int]:
    """How many draws name each class; the first of equal logits is named."""
    named = [max(range(z.shape[1]), key=lambda c: float(one[c])) for one in z]
    return [named.count(c) for c in range(z.shape[1])]


def expected_probability(m: Floats, S: Floats, y: int, nodes: int = 20) -> float:
    """-ln E[softmax(h)_y] for h ~ N(m, S), by Gauss-Hermite quadrature in each direction; for few classes."""
    t, weights = np.polynomial.hermite_e.hermegauss(nodes)
    root = np.linalg.cholesky(S)
    found = 0.0
    for place in np.ndindex(*[nodes] * len(m)):
        weight = float(np.prod(weights[list(place)] / weights.sum()))
        found += weight * softmax(m + root @ t[list(place)])[y]
    return -log(found)
