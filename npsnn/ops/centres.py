"""Distances of features to centres of the classes, batch last: a value for each example and its cotangents.

features: (D, N). centres, near and far: (classes, D). hot: the labels as columns of 0 and 1, (classes, N). With f the
features and y the label of an example, c_j is the centre of class j, and C is the number of classes.

Source: Mustafa et al. 2019 (PCL).
"""

from npsnn.backend import Array, namespace
from npsnn.products import matmul


def squared(
    features: Array, near: Array, far: Array, hot: Array, pull: float, push: float
) -> tuple[Array, Array, Array, Array]:
    """pull ‖f - c_y‖² - push/(C - 1) Σ_{j≠y} ‖f - c'_j‖², and its cotangents by f, by c and by c'.

    near: the centres c, to which features are pulled.
    far: the centres c', from which features are pushed.
    Source: the authors' code, which squares distances and has two sets of centres.
    """
    own, away = features - matmul(near.T, hot), features - far[:, :, None]
    others = push / (len(hot) - 1) * (1 - hot)
    value = pull * (own * own).sum(axis=0) - (others * (away * away).sum(axis=1)).sum(axis=0)
    pulled, pushed = 2 * pull * own, 2 * others[:, None] * away
    return value, pulled - pushed.sum(axis=0), -matmul(hot, pulled.T), pushed.sum(axis=2)


def plain(features: Array, centres: Array, hot: Array, pull: float, push: float) -> tuple[Array, Array, Array]:
    """pull ‖f - c_y‖ - push/(C - 1) Σ_{j≠y} (‖f - c_j‖ + ‖c_y - c_j‖), and its cotangents by f and by c.

    A distance that is 0 has the cotangent 0, one of its subgradients.
    Source: Mustafa et al. 2019, the prototype conformity loss, where pull and push are 1.
    """
    lengths, units = _normalised(features - centres[:, :, None], axis=1)
    apart, between = _normalised(centres[:, None] - centres, axis=2)
    part = push / (len(hot) - 1)
    weights = pull * hot - part * (1 - hot)
    value = (weights * lengths).sum(axis=0) - part * (apart.sum(axis=1)[:, None] * hot).sum(axis=0)
    moved, pairs = weights[:, None] * units, part * hot.sum(axis=1)[:, None, None] * between
    return value, moved.sum(axis=0), pairs.sum(axis=0) - pairs.sum(axis=1) - moved.sum(axis=2)


def _normalised(x: Array, axis: int) -> tuple[Array, Array]:
    """The lengths of vectors, and the vectors divided by them; 0 where the length is 0."""
    xp = namespace(x)
    lengths = xp.sqrt((x * x).sum(axis=axis))
    return lengths, x / xp.expand_dims(xp.where(lengths > 0, lengths, 1), axis)
