"""Which classes an attack aims at, and by which numbers it compares points."""

from math import inf

from npsnn.backend import Array, namespace
from npsnn.ops.loss import one_hot


def likeliest(logits: Array, labels: Array, count: int) -> list[Array]:
    """The label and the likeliest class other than it, (N, 2); the label and the next likeliest; and so on.

    logits: (classes, N). labels: (N,). count: how many, at most; there are no more than the classes but one.
    """
    xp, found = namespace(logits), []
    left = xp.where(one_hot(logits, labels) > 0, -xp.inf, logits)
    for _ in range(min(count, len(logits) - 1)):
        rival = left.argmax(axis=0)
        found.append(xp.stack([labels, rival.astype(labels.dtype)], axis=1))
        left = xp.where(one_hot(logits, rival) > 0, -xp.inf, left)
    return found


def number(loss: Array) -> Array:
    """The loss; a NaN, which compares with nothing, is the least."""
    xp = namespace(loss)
    return xp.where(xp.isnan(loss), -inf, loss)
