"""The small convolutional network that TRADES and Carlini and Wagner take for MNIST."""

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Layer, Shape
from npsnn.layers.containers import Sequential
from npsnn.layers.pool import MaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model, model


@model("small-cnn")
def small_cnn(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.0) -> Model:
    """Four 3x3 convolutions (32, 32, 64, 64), each pair with 2x2 max pooling, then 200, 200 and the classes.

    shape: one image, (C, H, W).
    classes: number of classes.
    sigma: 0, as the network has no noise of its own.
    Raises ValueError for another sigma.
    Source: Zhang et al. 2019, whose code has dropout of 0.5 after the first layer of 200 and a last layer that starts
    at 0; neither is here.
    """
    if sigma != 0:
        why = f"has no noise on its first layer, so sigma must be 0, got {sigma!r}"
        raise ValueError(f"small-cnn {why}: set noise to features or none")
    layers: list[tuple[str, Layer]] = []
    for number, channels in enumerate((32, 32, 64, 64), start=1):
        layers += [(f"conv{number}", Conv2d(channels, 3)), (f"relu{number}", ReLU())]
        if number % 2 == 0:
            layers.append((f"pool{number // 2}", MaxPool(2)))
    layers += [("flatten", Flatten()), ("fc1", Linear(200)), ("relu5", ReLU()), ("fc2", Linear(200)), ("relu6", ReLU())]
    return Model("small-cnn", Sequential((*layers, ("fc3", Linear(classes, joint=True)))), shape, classes)
