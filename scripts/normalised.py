"""A plugin with a small model for images of 28 x 28 pixels, which has BatchNorm: `npsnn --plugin FILE train`."""

from npsnn.layers import BatchNorm, Conv2d, Flatten, Linear, ReLU, Sequential
from npsnn.models import Model, model


@model("normalised")
def normalised(shape: tuple[int, ...], classes: int, sigma: float = 0.0) -> Model:
    """Two convolutions, a BatchNorm after each, and no noise."""
    layers = (
        ("conv1", Conv2d(8, 5, stride=2, bias=False)),
        ("bn1", BatchNorm()),
        ("relu1", ReLU()),
        ("conv2", Conv2d(16, 5, stride=2, bias=False)),
        ("bn2", BatchNorm()),
        ("relu2", ReLU()),
        ("flatten", Flatten()),
        ("fc", Linear(256)),
        ("relu3", ReLU()),
        ("classifier", Linear(classes)),
    )
    return Model("normalised", Sequential(layers), shape, classes)
