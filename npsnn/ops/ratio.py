"""The difference of logits ratio of AutoAttack, with its gradient: a margin over a spread of the logits.

mean: (classes, N). labels: (N,) integers in [0, classes). z_(1) >= z_(2) >= ... are the sorted logits; of equal ones
the one of the lower index comes first. Source: Croce and Hein 2020 (arXiv 2003.01690), Eq. 6 and 7, with the sign of a
loss to ascend. The spread is differentiated as well.
"""

from npsnn.backend import Array, namespace
from npsnn.ops.loss import one_hot

LEAST = 1e-3
"""The spread is at least this part of z_(1) - mean z: ties have a gradient like that of other images."""


def leading(mean: Array, labels: Array) -> tuple[Array, Array]:
    """(z_i - z_y) / (z_(1) - z_(3)), i the first in order other than the label y; and its cotangent, (classes, N).

    Where the label is third the ratio is 1, and the cotangent is 0. Of two classes there
    is no z_(3), and the ratio is the margin z_i - z_y.
    """
    xp = namespace(mean)
    own = one_hot(mean, labels)
    rival = one_hot(mean, xp.where(own > 0, -xp.inf, mean).argmax(axis=0))
    if len(mean) < 3:
        return _lead(mean, rival - own)
    first, _, third = _ranked(mean, 3)
    return _ratio(mean, rival - own, first - third, first)


def targeted(mean: Array, labels: Array, targets: Array) -> tuple[Array, Array]:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4))/2) for a class t, and its cotangent, (classes, N).

    targets: (N,), the class t of each example.
    Of two and of three classes it is the margin z_t - z_y. Over z_(1) - z_(3) the last of three classes would have no
    slope: the ratio is -1 there, whatever the logits are.
    """
    if len(mean) < 4:
        return lead(mean, labels, targets)
    ranked = _ranked(mean, 4)
    low = (ranked[2] + ranked[3]) / 2
    return _ratio(mean, _raising(mean, labels, targets), ranked[0] - low, ranked[0])


def lead(mean: Array, labels: Array, targets: Array) -> tuple[Array, Array]:
    """z_t - z_y for a class t, and its cotangent, (classes, N)."""
    return _lead(mean, _raising(mean, labels, targets))


def _raising(mean: Array, labels: Array, targets: Array) -> Array:
    return one_hot(mean, targets) - one_hot(mean, labels)


def _lead(mean: Array, raised: Array) -> tuple[Array, Array]:
    return (mean * raised).sum(axis=0), raised


def _ratio(mean: Array, raised: Array, spread: Array, first: Array) -> tuple[Array, Array]:
    """The ratio of two linear functions of the logits, each by its coefficients (classes, N); the lower is bounded."""
    xp = namespace(mean)
    bound = LEAST * (first - 1 / len(mean))
    above, below, least = ((mean * weights).sum(axis=0) for weights in (raised, spread, bound))
    weights = xp.where(below >= least, spread, bound)
    below = xp.maximum(below, least)
    flat = below <= 0
    below, weights = xp.where(flat, 1, below), xp.where(flat, 0, weights)
    value = above / below
    return value, (raised - value * weights) / below


def _ranked(mean: Array, count: int) -> list[Array]:
    """The largest logit, the second and so on, each as columns of 0 and 1, (classes, N)."""
    xp, left, found = namespace(mean), mean, []
    for _ in range(count):
        found.append(one_hot(mean, left.argmax(axis=0)))
        left = xp.where(found[-1] > 0, -xp.inf, left)
    return found
