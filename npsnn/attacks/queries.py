"""What an attack, or who judges it, asks a network under several draws of the noise.

A CPU has passes of their own for each draw, and so its numbers are those of single draws. A GPU computes what the draws
share once (`npsnn.models.passes`).
"""

from collections.abc import Sequence

import numpy as np

from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise
from npsnn.models.passes import double
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
    if network.on_gpu:
        return network.passes.gradients(x, labels, noises, objective)
    value, gradient = network.loss_gradient(x, labels, noises[0], objective)
    for noise in noises[1:]:
        more_value, more_gradient = network.loss_gradient(x, labels, noise, objective)
        value, gradient = value + more_value, gradient + more_gradient
    return value, gradient


def values(network: Classifier, x: Array, labels: Array, noises: Sequence[Noise], objective: Objective) -> Array:
    """The objective of each image under each noise, float64 (noises, N); arguments as for `gradients`."""
    if network.on_gpu:
        return network.passes.values(x, labels, noises, objective)
    return np.stack([objective(double(network.scores(x, noise)), labels)[0] for noise in noises])


def logits(network: Classifier, x: Array, noises: Sequence[Noise]) -> Array:
    """The means of the logits under each noise, (noises, classes, N); arguments as for `gradients`."""
    if network.on_gpu:
        return network.passes.logits(x, noises)
    return np.stack([network.scores(x, noise).mean for noise in noises])
