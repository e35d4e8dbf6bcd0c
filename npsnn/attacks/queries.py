"""What an attack, or who judges it, asks a network under several draws of the noise.

What the draws share, the layers before the first noise, is computed once for all of them (`npsnn.models.passes`): with
noise on the last features any number of draws costs one pass through the backbone, forward and backward.
"""

from collections.abc import Sequence

from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise
from npsnn.objectives import Objective


def gradients(
    network: Classifier, x: Array, labels: Array, noises: Sequence[Noise], objective: Objective
) -> tuple[Array, Array]:
    """The sums over the noises of what `Classifier.loss_gradient` returns, where the network is.

    x: images (N, C, H, W) of one micro-batch.
    labels: classes (N,).
    noises: how the noise is treated, each in turn.
    objective: function of the logits and the labels.
    """
    return network.loss_gradients(x, labels, noises, objective)


def values(network: Classifier, x: Array, labels: Array, noises: Sequence[Noise], objective: Objective) -> Array:
    """The objective of each image under each noise, float64 (noises, N); arguments as for `gradients`."""
    return network.passes.values(x, labels, noises, objective)


def logits(network: Classifier, x: Array, noises: Sequence[Noise], smooth: bool = False) -> Array:
    """The means of the logits under each noise, (noises, classes, N).

    smooth: whether the mean probabilities answer where the network answers by votes, which have no slope.
    The other arguments are those of `gradients`.
    """
    return network.passes.logits(x, noises, smooth)
