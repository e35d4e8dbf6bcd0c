"""How much of the probability of a correct answer an attack can take from a classifier with noise on its features.

G = P(correct at x) - P(correct at x + δ) for logits W(f + z) + b, z ~ N(0, L Lᵀ). For a class i ≠ k let d_i = w_k -
w_i, mu_i = d_iᵀf + b_k - b_i and s_i² = d_iᵀ L Lᵀ d_i, and let delta_i be the most by which the attack changes mu_i.
The bounds say nothing of x itself: with enough noise G is small, and clean images are misread as well (audit A10).

Arrays are float64: W (C, D), b (C,), L (D, D), features f and their shift (D,), and (C - 1,) for pairs of the class k
with each other class.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import erf, ndtr, ndtri

from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.noise import FeatureNoise
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.validate import check_count

Floats: TypeAlias = npt.NDArray[np.float64]

LEAST_SPREAD = 1e-200
"""The standard deviation taken for a pair of logits that no noise tells apart; no quotient by it overflows."""

ROUNDING = 10.0
"""Units of rounding for each number of a sum by which a solution of linear equations may miss."""


def theorem1(delta: Any, s: Any) -> Any:
    """The bound G <= delta/(s √(2π)) for a score of two classes.

    delta: the most by which the attack changes the score, >= 0.
    s: the standard deviation of the score, >= 0.
    Raises ValueError for an s below 0.
    Source: A2SNN Theorem 1 (audit A10).
    """
    return delta / (_spread(s) * sqrt(2 * pi))


def binary_tight(delta: Any, s: Any) -> Any:
    """The bound G <= 2Φ(delta/2s) - 1, which the margin delta/2 attains; it is never above Theorem 1.

    delta, s: as in `theorem1`.
    Raises ValueError for an s below 0.
    Source: audit A10.
    """
    return erf(delta / (_spread(s) * sqrt(8)))


def binary_with_margin(delta: Any, s: Any, m: Any) -> Any:
    """The bound G <= Φ((delta - m)/s) - Φ(-m/s).

    delta, s: as in `theorem1`.
    m: the margin of the score without noise.
    Raises ValueError for an s below 0.
    Source: audit A10, A15.
    """
    s = _spread(s)
    return ndtr((delta - m) / s) - ndtr(-m / s)


def _spread(s: Any) -> Floats:
    """A standard deviation, kept from 0, where the bounds are their limits; ValueError for one below."""
    s = np.asarray(s, np.float64)
    if not (s >= 0).all():
        raise ValueError(f"s must be a standard deviation >= 0, got {s.min()}")
    kept: Floats = np.maximum(s, LEAST_SPREAD)
    return kept


def _differences(W: Floats, k: int) -> Floats:
    """Rows d_i = w_k - w_i over i ≠ k."""
    return np.delete(W[k] - W, k, axis=0)


def pairs(W: Floats, b: Floats, L: Floats, f: Floats, k: int) -> tuple[Floats, Floats]:
    """mu_i and s_i for each i ≠ k, (C - 1,) each.

    k: the label.
    Source: extension E4.
    """
    d = _differences(W, k)
    return d @ f + np.delete(b[k] - b, k), np.linalg.norm(d @ L, axis=1)


def pair_reach(W: Floats, shift: Floats, k: int) -> Floats:
    """delta_i = |d_iᵀ shift| for each i ≠ k, (C - 1,).

    shift: of the features, (D,).
    k: the label.
    Source: extension E4.
    """
    return np.abs(_differences(W, k) @ shift)


def pairs_with_margin(delta: Floats, mu: Floats, s: Floats) -> float:
    """The bound G <= Σ_i [Φ((delta_i - mu_i)/s_i) - Φ(-mu_i/s_i)]; delta, mu, s: (C - 1,).

    Source: extension E4.
    """
    return float(binary_with_margin(delta, s, mu).sum())


def pairs_tight(delta: Floats, s: Floats) -> float:
    """The bound G <= Σ_i (2Φ(delta_i/2s_i) - 1); delta, s: (C - 1,).

    Source: extension E4.
    """
    return float(binary_tight(delta, s).sum())


def pairs_lipschitz(delta: Floats, s: Floats) -> float:
    """The bound G <= Σ_i delta_i/(s_i √(2π)), Theorem 1 for each pair; delta, s: (C - 1,).

    Source: extension E4.
    """
    return float(theorem1(delta, s).sum())


def feature_distance(L: Floats, shift: Floats) -> float:
    """The length of the shortest e with L e = shift, which is ‖L⁻¹ shift‖; inf where no e is such.

    It is a shift of the features in standard deviations of their noise.

    Source: extension E4.
    """
    return _shortest(L, shift)


def difference_distance(W: Floats, L: Floats, shift: Floats, k: int) -> float:
    """The length of the shortest e with D L e = D shift, where D has the rows d_i; inf where no e is such.

    It is the shift of the differences of logits in standard deviations, and never above `feature_distance`. A shift
    along which there is no noise is infinitely far.

    k: the label.
    Source: extension E4.
    """
    d = _differences(W, k)
    return _shortest(d @ L, d @ shift)


def _shortest(A: Floats, y: Floats) -> float:
    """The length of the shortest e with A e = y; inf where A misses a part of y that is more than rounding."""
    U, sizes, _ = np.linalg.svd(A, full_matrices=False)
    along, unit = U.T @ y, max(A.shape) * np.finfo(np.float64).eps
    reached = sizes > unit * sizes.max(initial=0)
    length = float(np.linalg.norm(along[reached] / sizes[reached]))
    lost = np.abs(along) > ROUNDING * unit * (np.abs(U.T) @ np.abs(y))
    outside = np.linalg.norm(y - U @ along)
    missed = outside > ROUNDING * unit * (np.linalg.norm(y) + np.linalg.norm(A) * length)
    return np.inf if missed or lost[~reached].any() else length


def total_variation(distance: float) -> float:
    """The bound G <= 2Φ(distance/2) - 1.

    distance: in standard deviations of the noise.
    Raises ValueError for a distance below 0.
    Source: extension E4.
    """
    if not distance >= 0:
        raise ValueError(f"distance must be >= 0, got {distance!r}")
    return float(erf(distance / sqrt(8)))


def neyman_pearson(p: float, distance: float) -> float:
    """The bound G <= p - Φ(Φ⁻¹(p) - distance), which is p for a distance of inf.

    p: the probability of a correct answer without the attack.
    distance: in standard deviations of the noise.
    Raises ValueError for a p outside [0, 1] and for a distance below 0.
    Source: extension E4.
    """
    if not 0 <= p <= 1 or not distance >= 0:
        raise ValueError(f"p must be a probability and distance >= 0, got {p!r} and {distance!r}")
    return float(p - ndtr(ndtri(p) - distance)) if distance < np.inf else float(p)


@dataclass(frozen=True, eq=False, repr=False)
class Gap:
    """The gap of each image, by simulation and by its bounds: (N,) each.

    Use the lesser of with_margin and neyman_pearson. The gap may be off by some 1/draws where all draws agree.

    clean: P(correct at x), from draws common to both inputs.
    gap: from the same draws.
    standard_error: of the gap; 0 where all draws agree.
    with_margin: `pairs_with_margin`.
    neyman_pearson: `neyman_pearson` with the draws' P(correct).
    total_variation: `total_variation`.
    tight: `pairs_tight`.
    lipschitz: `pairs_lipschitz`.
    """

    clean: Floats
    gap: Floats
    standard_error: Floats
    with_margin: Floats
    neyman_pearson: Floats
    total_variation: Floats
    tight: Floats
    lipschitz: Floats

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {values.mean():.4g}" for name, values in vars(self).items())
        return f"<Gap of {len(self.gap)} images; means: {means}>"


def gap(
    classifier: Classifier,
    x: npt.NDArray[Any],
    x_adv: npt.NDArray[Any],
    labels: Any,
    draws: int = 2000,
    seed: Randomness = 0,
) -> Gap:
    """The gap of each image under an attack x -> x_adv, by simulation and by its bounds.

    classifier: a network whose one noise is on its features.
    x: images before the attack, (N, C, H, W) in [0, 1].
    x_adv: the same images after it.
    labels: (N,).
    draws: of the noise, for each image.
    seed: of these draws.
    Raises ValueError for a network with other noise or none, for noise that is off, and for images that do not fit the
    network.
    Source: A2SNN Theorem 1 (audit A10), extension E4.
    """
    layer = _feature_noise(classifier)
    check_count("draws", draws, 2)
    (x, labels), (x_adv, _) = (classifier.checked(images, labels) for images in (x, x_adv))
    if not len(x):
        raise ValueError("there must be at least one image, got none")
    stream = as_stream(seed)
    W, b, L = _head(classifier, layer)
    before, after = _features(classifier, x), _features(classifier, x_adv)
    rows = [
        _of_image(W, b, L, before[n], after[n], int(k), stream.at("gap", stream.first + n), draws)
        for n, k in enumerate(labels)
    ]
    return Gap(*(np.array(column) for column in zip(*rows, strict=True)))


def _feature_noise(classifier: Classifier) -> FeatureNoise:
    """The network's one noise layer; ValueError where it is none on features, or off, or where logits do not answer."""
    what, layers = "the bounds are for noise on the features and no other", classifier.model.noise_layers
    if classifier.pools:
        raise ValueError(f"the bounds are for answers of logits, got answers of {classifier.answer}")
    if not classifier.random:
        raise ValueError(f"{what}: in this network the noise is off, or there is none")
    layer = next(iter(layers.values()), None)
    if len(layers) > 1 or not isinstance(layer, FeatureNoise):
        where = f"noise in {', '.join(layers)}" if layers else "layers that draw other noise"
        raise ValueError(f"{what}: this network has {where}")
    return layer


def _head(classifier: Classifier, layer: FeatureNoise) -> tuple[Floats, Floats, Floats]:
    """W (C, D), b (C,) and L (D, D) in float64; L of the noise of an answer, averaged or not."""
    name, _ = classifier.model.noise
    last = classifier.params[classifier.model.network.layers[-1][0]]
    W, b = (to_host(last[key]).astype(np.float64) for key in "wb")
    L = to_host(layer.factor(classifier.params[name], W.shape[1])).astype(np.float64)
    return W, b, L / sqrt(classifier.average)


def _features(classifier: Classifier, x: npt.NDArray[Any]) -> Floats:
    """What the noise is added to: (N, C, H, W) -> (N, D)."""
    body = classifier.model.before_noise

    def one(s: slice) -> Floats:
        m, _ = body.forward(classifier.params, Moments(classifier.to_engine(x[s])), EXPECTATION)
        features: Floats = to_host(m.mean).T.astype(np.float64)
        return features

    return np.concatenate(classifier.each_batch(one, len(x)))


def _of_image(
    W: Floats, b: Floats, L: Floats, f: Floats, f_adv: Floats, k: int, stream: Stream, draws: int
) -> tuple[float, ...]:
    """The fields of `Gap` for one image."""
    mu, s = pairs(W, b, L, f, k)
    mu_adv, _ = pairs(W, b, L, f_adv, k)
    noise = _differences(W, k) @ L @ stream.generator().standard_normal((len(f), draws))
    clean, attacked = ((m[:, None] + noise > 0).all(axis=0) for m in (mu, mu_adv))
    change = clean.astype(np.float64) - attacked
    delta, distance = pair_reach(W, f_adv - f, k), difference_distance(W, L, f_adv - f, k)
    p = (clean.sum() + 0.5) / (draws + 1)
    by_pairs = pairs_with_margin(delta, mu, s), pairs_tight(delta, s), pairs_lipschitz(delta, s)
    return (
        float(clean.mean()),
        float(change.mean()),
        float(change.std() / sqrt(draws)),
        by_pairs[0],
        neyman_pearson(p, distance),
        total_variation(distance),
        *by_pairs[1:],
    )
