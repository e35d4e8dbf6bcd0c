"""What C&W and One-Pixel ascend: the margin of the logits, in their units or in standard deviations of the noise.

Objectives like those of `npsnn.objectives`: `Moments` of the logits, (classes, N), and labels (N,) in, values (N,) and
their cotangent out. The larger, the worse for the label; above 0 another class is ahead.
"""

from npsnn.backend import Array, namespace
from npsnn.layers.moments import Moments
from npsnn.objectives import Objective
from npsnn.ops import loss


def margin(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """max_{i≠k} mean_i - mean_k, by how much the best other logit leads; the variance does not enter.

    Its negative is the margin that Carlini and Wagner's attack lowers (audit A2).
    """
    xp = namespace(m.mean)
    hot = loss.one_hot(m.mean, labels)
    rival = loss.one_hot(m.mean, xp.where(hot > 0, -xp.inf, m.mean).argmax(axis=0))
    return (m.mean * rival).sum(axis=0) - (m.mean * hot).sum(axis=0), Moments(rival - hot)


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


def true_class_probability(m: Moments, labels: Array) -> tuple[Array, Moments]:
    """-softmax(mean)_k, with the cotangent p_k (p - e_k); the variance does not enter.

    Source: what One-Pixel lowers (Su, Vargas and Sakurai 2019); A2SNN does not say (audit A22).
    """
    xp = namespace(m.mean)
    surprise, cotangent = loss.cross_entropy(m.mean, labels)
    # a label that is lost has a direction still, as one that is sure
    slope = xp.exp(-xp.minimum(surprise, loss.FAINT))
    return -xp.exp(-surprise), Moments(slope * cotangent)


MARGINS: dict[str, Objective] = {
    "margin": margin,
    "least-win-probability": least_win_probability,
    "true-class-probability": true_class_probability,
}
