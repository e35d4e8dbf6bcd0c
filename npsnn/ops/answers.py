"""One answer of several draws: the logarithm of their mean probabilities, and their votes.

logits: (draws, classes, N), those of each draw, z_k. With p_k = softmax(z_k), p̄ is the mean of the p_k.
"""

from math import log

from npsnn.backend import Array, constant, namespace
from npsnn.ops.sure import of_sure_draws


def log_mean_probability(logits: Array) -> tuple[Array, Array, Array]:
    """ln p̄ = ln((1/K) Σ_k softmax(z_k)), (classes, N), and what the backward pass needs, ln p_k and ln p̄ in float64.

    The logarithms of the probabilities are added up by their largest, so that no class gets the logarithm of 0.
    logits: (draws, classes, N).
    """
    xp, z = namespace(logits), logits.astype("float64")
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    largest = log_p.max(axis=0)
    mean = largest + xp.log(xp.exp(log_p - largest).sum(axis=0)) - log(len(z))
    return mean.astype(logits.dtype), log_p, mean


def log_mean_probability_backward(g: Array, log_p: Array, mean: Array) -> Array:
    """Cotangents of the logits of each draw, g_k - p_k Σ_c g_kc with g_kc = g_c p_kc / (K p̄_c): (draws, classes, N).

    g: cotangent of ln p̄, (classes, N).
    log_p, mean: as `log_mean_probability` returns them.
    The cotangents of a draw add up to 0. The one of its likeliest class is minus the sum of the others: by the formula
    it would be lost in rounding where a draw is sure. `npsnn.ops.sure` has those of answers whose draws are all sure.
    """
    xp, each = namespace(g), g.astype("float64")
    parts = each * xp.exp(log_p - mean - log(len(log_p)))
    rest = 1 - _hot(log_p)
    others = of_sure_draws(parts, each, log_p, mean, g.dtype.itemsize > 4) * rest
    return (others - (1 - rest) * others.sum(axis=1, keepdims=True)).astype(g.dtype)


def votes(logits: Array) -> Array:
    """How many draws name each class, plus its mean probability, which decides a tie: (classes, N).

    logits: (draws, classes, N).
    Classes of one number of votes and one mean probability stay tied.
    """
    xp = namespace(logits)
    return _hot(logits).sum(axis=0) + xp.exp(log_mean_probability(logits)[0])


def _hot(scores: Array) -> Array:
    """1 for the class with the largest score of each draw, the first of equals, and 0 for others."""
    classes = constant(range(scores.shape[1]), "int64", scores)[:, None]
    return (classes == scores.argmax(axis=1)[:, None]).astype(scores.dtype)
