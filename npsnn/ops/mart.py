"""The two parts of MART's loss, batch last: a value for each example and its cotangents.

mean, other: logits, (classes, N). labels: (N,). k is the label. safeguards: whether small numbers keep logarithms and
quotients finite, as in the authors' code; without them the formulas are exact, and finite all the same.
Source: Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples".
"""

from npsnn.backend import Array, namespace
from npsnn.ops.loss import cross_entropy, divergence, log_softmax, one_hot, summing_to_0

OF_WRONG = 1.0001 + 1e-12
"""The code's number for the 1 in ln(1 - q_c)."""
OF_PROBABILITY = 1e-12
"""The code adds it to q in ln q of the divergence."""
OF_WEIGHT = 1.0000001
"""The code's number for the 1 in 1 - p_k."""


def boosted_cross_entropy(mean: Array, labels: Array, safeguards: bool = False) -> tuple[Array, Array]:
    """-ln q_k - ln(1 - q_c) of q = softmax(mean), c the likeliest wrong class, and its cotangent.

    The cotangent is (q - e_k) + q_c/(1 - q_c) (e_c - q), c held fixed. Its second part is q_c (e_c - s), s the softmax
    of the classes other than c, and -ln(1 - q_c) is ln(1 + exp(z_c - ln Σ_{i≠c} exp(z_i))): neither divides by 0 nor
    loses 1 - q_c where q_c is close to 1.
    """
    xp, hot = namespace(mean), one_hot(mean, labels)
    wrong = one_hot(mean, xp.where(hot > 0, -xp.inf, mean).argmax(axis=0))
    value, cotangent = cross_entropy(mean, labels)
    if safeguards:
        _, q = log_softmax(mean)
        worst = (q * wrong).sum(axis=0)
        left = OF_WRONG - worst
        return value - xp.log(left), cotangent + worst / left * (wrong - q)
    rest = xp.where(wrong > 0, -xp.inf, mean)
    log_s, s = log_softmax(rest)
    largest = rest.max(axis=0)
    # the logarithm of the sum is of the largest alone: its own log-probability is minus the rest of it
    lead = (mean * wrong).sum(axis=0) - largest + log_s.max(axis=0)
    return value + xp.logaddexp(0, lead), cotangent + xp.exp(-xp.logaddexp(0, -lead)) * (wrong - s)


def unsure_divergence(mean: Array, other: Array, labels: Array, safeguards: bool = False) -> tuple[Array, Array, Array]:
    """(1 - p_k) KL(p || q) of p = softmax(mean) and q = softmax(other), and its cotangents.

    With w = 1 - p_k they are w p∘(ln p - ln q - KL) - KL p_k (e_k - p) and w (q - p). w is the sum of the other
    probabilities, which does not round to 0 where the label is sure.
    """
    hot = one_hot(mean, labels)
    _, p = log_softmax(mean)
    others = p * (1 - hot)
    unsure = others.sum(axis=0)
    value, by_mean, by_other = _guarded_divergence(mean, other) if safeguards else divergence(mean, other)
    weight = OF_WEIGHT - (p * hot).sum(axis=0) if safeguards else unsure
    by_weight = value * (p * hot).sum(axis=0) * (hot * unsure - others)
    return weight * value, weight * by_mean - by_weight, weight * by_other


def _guarded_divergence(mean: Array, other: Array) -> tuple[Array, Array, Array]:
    """Σ p (ln p - ln(q + τ)), τ of the code, and its cotangents; r = p∘q/(q + τ) gives the second, q Σr - r."""
    (log_p, p), (_, q) = log_softmax(mean), log_softmax(other)
    apart = log_p - namespace(mean).log(q + OF_PROBABILITY)
    value = (p * apart).sum(axis=0)
    r = p * q / (q + OF_PROBABILITY)
    return value, summing_to_0(p * (apart - value), mean), q * r.sum(axis=0) - r
