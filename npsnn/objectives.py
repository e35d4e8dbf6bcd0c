"""Functions that training minimises and attacks ascend: the moments of the logits in, a value for each example out.

An objective takes `Moments` of the logits, (classes, N), and labels (N,), and returns the values (N,) and their
cotangent, again `Moments`. The table of objectives has a name for each. Of the margins, which C&W and One-Pixel ascend,
a value above 0 says that another class than the label is ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import TypeAlias

import numpy as np

from npsnn.backend import Array, constant, fused, namespace
from npsnn.foreign import asked_for
from npsnn.layers.moments import Moments
from npsnn.ops import expected, loss, ratio
from npsnn.ops.sure import FAINT
from npsnn.tables import Table

Objective: TypeAlias = Callable[[Moments, Array], tuple[Array, Moments]]

OBJECTIVES: Table[Objective] = Table(
    "objective", "from npsnn.objectives import objective", asked_for(__call__="m, labels")
)
objective = OBJECTIVES.enter

SIGNED = ("margin", "dlr", "targeted-dlr", "targeted-margin")
"""The objectives that are above 0 only where the mean of the logits has the label behind another class."""
TARGETED = ("targeted-dlr", "targeted-margin", "targeted-win")
"""The objectives whose labels are (N, 2), the label and the class to raise above it."""
BORDERS = ("margin", "dlr", "least-win-probability")
"""The objectives that are 0 on the border of misreading, and above 0 beyond it whatever the class."""
AS_IT_IS = "float32-cross-entropy"
"""The objective whose gradient is carried as it is, with what single precision loses of it."""
MARGINS = (
    *("margin", "least-win-probability", "true-class-probability", "expected-probability", "dlr", AS_IT_IS),
    *TARGETED,
)
"""The objectives that an attack alone ascends; no training minimises one."""
OF_VARIANCE = ("win-probability", "least-win-probability")
"""The objectives that are of the variance of the logits, which the closed form has and a draw of the noise has not."""


def losses() -> tuple[str, ...]:
    """The names of the objectives that training may minimise: all but the margins."""
    return tuple(name for name in OBJECTIVES if name not in MARGINS)


def untargeted() -> tuple[str, ...]:
    """The names of the objectives that any attack may ascend, those that aim at no class."""
    return tuple(name for name in OBJECTIVES if name not in TARGETED)


def chosen(objective: str | Objective) -> Objective:
    """The objective of that name, or the function itself; raises ValueError for an unknown name, naming the nearest."""
    return objective if callable(objective) else OBJECTIVES.named(objective)


def in_units(f: Objective, m: Moments, labels: Array) -> tuple[Array, Moments, Array]:
    """An objective's values in float64, and its cotangent in the logits' precision, in a unit for each example.

    f: the objective.
    m: moments of the logits, (classes, N).
    labels: (N,).
    The unit, (N,), is the largest entry of the example's cotangent. The gradient of a sure prediction lies below the
    range of float32 and would be lost as 0. The unit is 1 where that loss is the objective's own (`keeps_units`).
    """
    xp = namespace(m.mean)
    double = Moments(*(None if z is None else z.astype(xp.float64) for z in (m.mean, m.var)))
    values, cotangent = f(double, labels)
    channels = (cotangent.mean, cotangent.var)
    largest = [xp.abs(z).reshape(-1, z.shape[-1]).max(axis=0) for z in channels if z is not None]
    unit = _unit(largest[0], largest[-1]) if keeps_units(f) else xp.ones_like(largest[0])
    scaled = [None if z is None else _in_unit(z, unit, m.mean[0]) for z in channels]
    return values, Moments(*scaled), unit


def keeps_units(f: Objective) -> bool:
    """Whether the gradient of an objective is carried in units that no precision loses."""
    return getattr(f, "ascended", f) is not float32_cross_entropy


@fused
def _unit(a: Array, b: Array) -> Array:
    xp = namespace(a, b)
    larger = xp.maximum(a, b)
    return xp.where(larger > 1e-300, larger, 1)


@fused
def _in_unit(z: Array, unit: Array, like: Array) -> Array:
    return (z / unit).astype(like.dtype)


@objective("noise-aware")
def noise_aware(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """Squared error minus the probability of the label winning: Σ(y_i - mean_i)²/n - Σ_{i≠k} P(Y_k > Y_i)/(n-1).

    With the covariance of the logits the pairs are compared exactly; with variances alone, as independent.
    Source: noise paper Sec. 2.2 (audit N18), with the derived sign (N20) and the difference form (N21); its gradient,
    Sec. 2.3 and 4, is the derived one (N23, N24, N34-N37).
    """
    error, dmean = loss.squared_error(m.mean, labels)
    won, dwon_mean, dwon_var = loss.win_probability(m.mean, m.var, labels)
    return error - won, Moments(dmean - dwon_mean, None if dwon_var is None else -dwon_var)


@objective("mse")
def mse(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """Squared error of the mean against one-hot targets (noise paper Sec. 2.2); the variance does not enter."""
    value, dmean = loss.squared_error(m.mean, labels)
    return value, Moments(dmean)


@objective("cross-entropy")
def cross_entropy(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-ln softmax(mean)_k; the variance does not enter."""
    value, dmean = loss.cross_entropy(m.mean, labels)
    return value, Moments(dmean)


@objective(AS_IT_IS)
def float32_cross_entropy(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-ln softmax(mean)_k in single precision, as PyTorch has it; the variance does not enter.

    The gradient is p - e_k of single precision: the label's entry is lost past a margin of 17, every entry past 104.
    It is what A2SNN's authors attacked by, and no objective to judge a network by. Source: audit B11.
    """
    value, dmean = loss.float32_cross_entropy(m.mean, labels)
    return value.astype(m.mean.dtype), Moments(dmean.astype(m.mean.dtype))


@cache
def sobol_normal(classes: int, points: int = 64) -> np.ndarray:
    """Standard normal quantiles of the first Sobol points, half a step inside the cube: (points, classes), float64."""
    # SciPy takes most of a second to import, and few commands need it
    from scipy.special import ndtri
    from scipy.stats import qmc

    cube = qmc.Sobol(classes, scramble=False).random(points) + 1 / (2 * points)
    return np.asarray(ndtri(cube))


@objective("expected-cross-entropy")
def expected_cross_entropy(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """E[-ln softmax(h)_k] over the noisy logits h ~ N(mean, covariance), by 64 Sobol points and no draw.

    Source: extension E3. Raises ValueError for logits without their covariance: only a joint last layer has it.
    """
    if m.var is None:
        return cross_entropy(m, labels)
    if m.var.ndim != 3:
        raise ValueError("the expected-cross-entropy objective needs the covariance of the logits: a joint last layer")
    points = constant(sobol_normal(len(m.mean)), m.mean.dtype, m.mean)
    value, dmean, dvar = expected.expected_cross_entropy(m.mean, m.var, labels, points)
    return value, Moments(dmean, dvar)


@objective("expected-probability")
def expected_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-ln E[softmax(h)_k] over the noisy logits h ~ N(mean, var), by 64 Sobol points and no draw.

    An answer that averages the probabilities of ever more draws has this cross-entropy in the limit. Logits without
    their covariance count as independent. For logits without variance it is the cross-entropy.
    """
    if m.var is None:
        return cross_entropy(m, labels)
    points = constant(sobol_normal(len(m.mean)), m.mean.dtype, m.mean)
    value, dmean, dvar = expected.expected_probability(m.mean, m.var, labels, points)
    return value, Moments(dmean, dvar)


@objective("win-probability")
def win_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-Σ_{i≠k} ln P(Y_k > Y_i): no less than -ln P(the label wins) if no two comparisons correlate negatively.

    Source: extension E3 (Slepian's inequality). Raises ValueError for logits without variance: it says nothing of them.
    """
    if m.var is None:
        raise ValueError("the win-probability objective needs noise: sigma must be > 0 and propagated in closed form")
    value, dmean, dvar = loss.log_win_probability(m.mean, m.var, labels)
    return -value, Moments(-dmean, None if dvar is None else -dvar)


@objective("margin")
def margin(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """max_{i≠k} mean_i - mean_k, by how much the best other logit leads; the variance does not enter.

    Its negative is the margin that Carlini and Wagner's attack lowers (audit A2).
    """
    xp = namespace(m.mean)
    hot = loss.one_hot(m.mean, labels)
    rival = loss.one_hot(m.mean, xp.where(hot > 0, -xp.inf, m.mean).argmax(axis=0))
    return (m.mean * rival).sum(axis=0) - (m.mean * hot).sum(axis=0), Moments(rival - hot)


@objective("dlr")
def dlr(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """The difference of logits ratio, max_{i≠k} (mean_i - mean_k) / (mean_(1) - mean_(3)); the variance does not enter.

    Neither an offset nor a scale of the logits changes it. Of two classes it is the margin. Source: Croce and Hein
    2020, `npsnn.ops.ratio`.
    """
    value, dmean = ratio.leading(m.mean, labels)
    return value, Moments(dmean)


@objective("targeted-dlr")
def targeted_dlr(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """(mean_t - mean_k) / (mean_(1) - (mean_(3) + mean_(4))/2) for the class t to raise above the label k.

    labels: (N, 2), the label and the class to raise.
    Of two and of three classes it is the margin. Source: Croce and Hein 2020,
    `npsnn.ops.ratio`.
    """
    value, dmean = ratio.targeted(m.mean, labels[:, 0], labels[:, 1])
    return value, Moments(dmean)


@objective("targeted-margin")
def targeted_margin(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """mean_t - mean_k for the class t to raise above the label k; the variance does not enter.

    labels: (N, 2), the label and the class to raise.
    """
    value, dmean = ratio.lead(m.mean, labels[:, 0], labels[:, 1])
    return value, Moments(dmean)


@objective("targeted-win")
def targeted_win(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """u_t = (mean_t - mean_k)/√Var(Y_t - Y_k) for the class t to raise above the label k: Φ(u_t) is P(Y_t > Y_k).

    labels: (N, 2), the label and the class to raise.
    ∂u/∂d = 1/√S, ∂u/∂S = -u/(2S). A pair without variance counts as decided, as in `least_win_probability`. Of logits
    without variance it is the targeted margin. Source: extension E3.
    """
    if m.var is None:
        return targeted_margin(m, labels)
    own, raised = loss.one_hot(m.mean, labels[:, 0]), loss.one_hot(m.mean, labels[:, 1])
    d, s = loss.margins(m.mean, m.var, own)
    uncertain, root = loss.spread(s, own)
    lead = -d * raised / root
    slope = raised * uncertain / root
    dmean, dvar = loss.margins_backward(-slope, -0.5 * lead * slope / root, own, m.var.ndim > m.mean.ndim)
    return lead.sum(axis=0), Moments(dmean, dvar)


@dataclass(frozen=True)
class Looked:
    """An objective that also says whether the mean of the logits is misread: its values are (2, N).

    ascended: the objective, whose values are the first row and whose cotangent it is. The second row is 1 where the
    largest logit is not the label's, and 0 elsewhere; averaged over draws it is the share of the draws that misread.
    """

    ascended: Objective

    def __call__(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        xp, own = namespace(m.mean), labels if labels.ndim == 1 else labels[:, 0]
        values, cotangent = self.ascended(m, labels)
        misread = (m.mean.argmax(axis=0) != own).astype(values.dtype)
        return xp.stack([values, misread]), cotangent


@objective("least-win-probability")
def least_win_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-min_{i≠k} u_i, u_i = (mean_k - mean_i)/√Var(Y_k - Y_i): Φ of its negative is the least P(Y_k > Y_i).

    ∂u/∂d = 1/√S, ∂u/∂S = -u/(2S), of the least u alone. It never flattens out, as probabilities do. A pair without
    variance counts as decided, far beyond any other, and has no gradient. Source: extension E3, audit A2.
    Raises ValueError for logits without variance: there are no standard deviations to measure in.
    """
    if m.var is None:
        raise ValueError("the least-win-probability objective needs noise: sigma must be > 0 and in closed form")
    xp = namespace(m.mean)
    hot = loss.one_hot(m.mean, labels)
    d, s = loss.margins(m.mean, m.var, hot)
    uncertain, root = loss.spread(s, hot)
    u = xp.where(hot > 0, xp.inf, d / root)
    least = loss.one_hot(m.mean, u.argmin(axis=0))
    slope = least * uncertain / root
    ds = xp.where(least > 0, u, 0) * slope / root * 0.5
    dmean, dvar = loss.margins_backward(-slope, ds, hot, m.var.ndim > m.mean.ndim)
    return -u.min(axis=0), Moments(dmean, dvar)


@objective("true-class-probability")
def true_class_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-softmax(mean)_k, with the cotangent p_k (p - e_k); the variance does not enter.

    Source: what One-Pixel lowers (Su, Vargas and Sakurai 2019); A2SNN does not say (audit A22).
    """
    xp = namespace(m.mean)
    surprise, cotangent = loss.cross_entropy(m.mean, labels)
    # a label that is lost has a direction still, as one that is sure
    slope = xp.exp(-xp.minimum(surprise, FAINT))
    return -xp.exp(-surprise), Moments(slope * cotangent)


def sigma_reward(sigma: float, alpha: float) -> tuple[float, float]:
    """-alpha sigma², and its derivative: the reward for noise of the noise paper's "Bimodel" (Sec. 7).

    The loss with it is unbounded below as sigma grows (audit N29), so sigma must be capped.
    """
    return -alpha * sigma**2, -2 * alpha * sigma


def largest_stationary_sigma(alpha: float) -> float:
    """√(max r φ(r) / (2 alpha)): above it the rewarded loss falls for every margin, under the Laplace rule (N30)."""
    return sqrt(0.24197072451914337 / (2 * alpha))
