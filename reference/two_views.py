"""Losses of two views of one image, by loops over the classes, in the notation of their papers.

z, zz: logits of the image and of its other view, lists of numbers. y: label. No sum is rearranged, and no
logarithm is kept from rounding: these are the formulas as they stand.
"""

from collections.abc import Sequence
from math import exp, log

Numbers = Sequence[float]


def softmax(z: Numbers) -> list[float]:
    e = [exp(a) for a in z]
    return [a / sum(e) for a in e]


def cross_entropy(z: Numbers, y: int) -> float:
    return -log(softmax(z)[y])


def divergence(z: Numbers, zz: Numbers) -> float:
    """KL(p || q) = Σ p_i ln(p_i / q_i)."""
    return sum(p * log(p / q) for p, q in zip(softmax(z), softmax(zz), strict=True))


def squared_distance(z: Numbers, zz: Numbers) -> float:
    return sum((a - b) ** 2 for a, b in zip(z, zz, strict=True))


def trades(z: Numbers, zz: Numbers, y: int, beta: float) -> float:
    """Zhang et al. 2019 with KL: CE(z, y) + beta KL(p || q)."""
    return cross_entropy(z, y) + beta * divergence(z, zz)


def mart(z: Numbers, zz: Numbers, y: int, weight: float) -> float:
    """Wang et al. 2020: -ln q_y - ln(1 - max_{k≠y} q_k) + lambda KL(p || q) (1 - p_y)."""
    p, q = softmax(z), softmax(zz)
    worst = max(q[k] for k in range(len(q)) if k != y)
    return -log(q[y]) - log(1 - worst) + weight * divergence(z, zz) * (1 - p[y])


def mart_of_the_code(z: Numbers, zz: Numbers, y: int, weight: float) -> float:
    """The same with the small numbers of the authors' code."""
    p, q, tau = softmax(z), softmax(zz), 1e-12
    worst = max(q[k] for k in range(len(q)) if k != y)
    apart = sum(p[i] * (log(p[i]) - log(q[i] + tau)) for i in range(len(q)))
    boosted = -log(q[y]) - log(1.0001 - worst + tau)
    return boosted + weight * apart * (1.0000001 - p[y])


def bpfc(z: Numbers, zz: Numbers, y: int, weight: float) -> float:
    """Addepalli et al. 2020: CE(z, y) + lambda ||z - zz||², zz of the quantised image."""
    return cross_entropy(z, y) + weight * squared_distance(z, zz)


def rlflat_p(whole: Numbers, shuffled: Numbers, y: int, weight: float) -> float:
    """Song et al. 2020 on PGD: CE(z_s, y) + eta ||z_s - z'||²."""
    return cross_entropy(shuffled, y) + weight * squared_distance(shuffled, whole)


def rlflat_t(clean: Numbers, whole: Numbers, shuffled: Numbers, y: int, weight: float, beta: float) -> float:
    """Song et al. 2020 on TRADES: CE(z, y) + beta KL(p || q_s) + eta ||z_s - z'||²."""
    return trades(clean, shuffled, y, beta) + weight * squared_distance(shuffled, whole)


def quantised(levels: Sequence[int], uniform: Numbers, bits: int, amplitude: float) -> list[float]:
    """Pixels 0 ... 255 with noise `amplitude` U(-1, 1) added, put to the middle of cells of 2^bits levels, in [0, 1].

    uniform: numbers on [0, 1), one a pixel.
    """
    found = []
    for level, u in zip(levels, uniform, strict=True):
        noisy = level + amplitude * (2 * u - 1)
        low = noisy - noisy % 2**bits
        found.append(min(max(low + 2 ** (bits - 1), 0), 255) / 255)
    return found


def swapped(pixels: Sequence[float], cut: int) -> list[float]:
    """A line of pixels cut in two parts, which change places."""
    return [*pixels[cut:], *pixels[:cut]]
