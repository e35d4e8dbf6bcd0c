"""A small network to try attacks and losses on."""

from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.base import Model

SHAPE, CLASSES = (2, 3, 4), 3


def small_model(sigma: float = 0.3, micro_batch: int = 64) -> Model:
    """A convolution, noise, ReLU and a joint last layer.

    sigma: of the noise.
    micro_batch: the examples computed at a time.
    """
    layers: Any = (
        ("conv", Conv2d(4, 3, padding=1)),
        ("noise", PreactivationNoise(sigma)),
        ("relu", ReLU()),
        ("flatten", Flatten()),
        ("fc", Linear(CLASSES, joint=True)),
    )
    return Model("small", Sequential(layers), SHAPE, CLASSES, micro_batch)


def small_network(sigma: float = 0.3, dtype: Any = np.float32) -> Classifier:
    """The small model with its initial weights, on one thread; biases of 0 would put black pixels on ReLU's kink."""
    return started(small_model(sigma), dtype)


def started(model: Model, dtype: Any = np.float32) -> Classifier:
    """A model with its initial weights and biases drawn, on one thread."""
    rng = np.random.default_rng(1)
    flat = flatten(model.init(rng))
    of = roles(model.network, flat)
    moved = {k: p + 0.1 * rng.standard_normal(p.shape) if of[k] is Role.BIAS else p for k, p in flat.items()}
    return Classifier(model, unflatten(moved), threads=1).astype(dtype)
