"""How much an accuracy over images and draws says: its interval, and whether two accuracies surely differ."""

from dataclasses import dataclass
from fractions import Fraction
from math import inf, lcm, log2, sqrt

import numpy as np

Z = 1.959963984540054
"""Quantile of the normal distribution that 2.5 % lie above."""
LEVEL = 0.025
"""Chance at which two attacks that are alike may count as surely different."""
_SUMS = 2**18
"""Most values of a sum of differences; beyond, the unit that they are counted in is no longer exact."""


def wilson_interval(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean of `each`, (..., N): the part of an image's draws that are right, for N images.

    Wilson's score interval, with n = N/D images in place of N:

        (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n),    D = (Σ(eᵢ - p)² + a) / (N p(1 - p) + a).

    The design effect D is the variance of the images over that of images that are right or wrong in every draw. With
    one draw D is 1. `a` is the part of the images that gave one answer in all draws, (c + 1)/(N + 1) for c of them: as
    much as one such image that is wrong, and was not among the N, would add. Covers the choice of the images and the
    noise, as docs/attacks.md measures. Source: Wilson 1927; n from Korn and Graubard 1998, Survey Methodology 24.
    """
    n = each.shape[-1]
    p = each.mean(axis=-1)
    unanimous = ((each == 0) | (each == 1)).sum(axis=-1)
    unseen = (unanimous + 1) / (n + 1)
    spread = ((each - p[..., None]) ** 2).sum(axis=-1)
    n = n * (n * p * (1 - p) + unseen) / (spread + unseen)
    centre = p + Z**2 / (2 * n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    whole = 1 + Z**2 / n
    low = np.where(p > 0, (centre - half) / whole, 0)
    high = np.where(p < 1, (centre + half) / whole, 1)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def paired_interval(each: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of paired differences, (N,), each from -1 to 1.

    The adjusted interval of Agresti and Min. It adds two images, one on which both agree and a half for each side.

        m ± z √((s/n - m²)/n),    n = N + 2,  m = Σ eᵢ/n,  s = Σ eᵢ² + 1.

    Images on which two networks agree everywhere still leave an interval. Covers the choice of the images and of the
    noise that each image has for itself. Source: Agresti and Min 2005, Statistics in Medicine 24, for answers that are
    right or wrong; here for fractions of draws as well.
    """
    n = len(each) + 2
    mean = float(each.sum()) / n
    half = Z * sqrt((float((each**2).sum() + 1) / n - mean**2) / n)
    return max(mean - half, -1.0), min(mean + half, 1.0)


def needed(comparisons: int = 1) -> int:
    """The least number of images on which two attacks must differ to differ surely, as one of `comparisons`."""
    return int(np.ceil(log2(comparisons / LEVEL)))


@dataclass(frozen=True)
class Difference:
    """How much more of the same images one attack leaves than another.

    mean: over images. error: its standard error over images. chance: how often two attacks that are alike would differ
    by at least as much. Both are judged on the same draws; where images share draws, all three are of these draws.
    """

    mean: float
    error: float
    chance: float

    @staticmethod
    def of(more: np.ndarray, less: np.ndarray) -> "Difference":
        """Compare two accuracies of each image, (N,).

        The error of a single image is unknown, and counts as infinite.
        """
        each = more - less
        error = float(each.std(ddof=1)) / sqrt(len(each)) if len(each) > 1 else inf
        return Difference(float(each.mean()), error, sign_flip(each))

    def surely(self, comparisons: int = 1) -> bool:
        """Whether the difference is above 0 by more than chance, as the greatest of `comparisons` (Bonferroni)."""
        return comparisons * self.chance <= LEVEL


def sign_flip(differences: np.ndarray) -> float:
    """Chance that the sum of the differences, (N,), with a random sign each, is at least theirs.

    The exact one-sided sign-flip test of paired values (Fisher 1935): between two attacks that are alike either sign is
    as likely on each image. Differences of fractions of draws are whole multiples of one unit, so that the distribution
    of their sum is found from the product of their characteristic functions.
    """
    sizes, kind = np.unique(np.abs(differences).round(12), return_inverse=True)
    unit = lcm(*(Fraction(size).limit_denominator(_SUMS).denominator for size in sizes.tolist()))
    unit = min(unit, max(1, int(_SUMS / max(1.0, float(np.abs(differences).sum())))))
    weights = np.rint(sizes * unit).astype(np.int64)
    length = int(weights[kind].sum()) + 1
    angles = 2 * np.pi / length * np.arange(length // 2 + 1)
    found = np.ones(len(angles), complex)
    for weight, count in zip(weights.tolist(), np.bincount(kind).tolist(), strict=True):
        found *= ((1 + np.exp(-1j * (angles * weight))) / 2) ** count
    chance = np.fft.irfft(found, length)[int(weights[kind][differences > 0].sum()) :].sum()
    # the transform is exact to 1e-15 or so, and the one choice of signs that is theirs always counts
    return min(1.0, max(float(chance), 0.5 ** int(np.count_nonzero(differences))))
