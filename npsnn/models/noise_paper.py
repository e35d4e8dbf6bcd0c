"""The noise paper's networks: LeNet-5 and a network of five convolutions, with noise on the first pre-activation."""

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Layer, Shape
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.pool import MaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model, model


def _missing(shape: Shape) -> int:
    """The black pixels put on all four sides for 32 in the shorter one, which leave something to the last layers."""
    return max(0, (33 - min(shape[1:], default=32)) // 2)


@model("lenet5")
def lenet5(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with noise on its first pre-activation.

    shape: one image, (C, H, W); a shorter side below 32 pixels is padded to 32.
    classes: number of classes.
    sigma: standard deviation of the noise.
    Three 5x5 convolutions (6, 16, 120) and three fully connected layers (200, 200, classes), each hidden one with a
    ReLU, the first two convolutions with 2x2 max pooling.
    Source: noise paper Sec. 3.1. Its two counts of the layers disagree (audit N39): this reading takes both "three
    convolutions" and "two of size 200".
    """
    return _lenet5("lenet5", shape, classes, sigma)


@model("cnn5")
def cnn5(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.6) -> Model:
    """Five 3x3 convolutions (32, 64, 128, 128, 128), each with 2x2 max pooling and ReLU, then 256, 128, classes.

    shape: one image, (C, H, W); a shorter side below 32 pixels is padded so that five poolings leave one pixel.
    classes: number of classes.
    sigma: standard deviation of the noise on the first pre-activation.
    Source: noise paper Sec. 3.1, which gives the layers but not their sizes.
    """
    layers: list[tuple[str, Layer]] = []
    for i, channels in enumerate((32, 64, 128, 128, 128), start=1):
        padding = 1 + _missing(shape) if i == 1 else 1
        layers.append((f"conv{i}", Conv2d(channels, 3, padding=padding)))
        if i == 1:
            layers.append(("noise", PreactivationNoise(sigma)))
        layers += [(f"pool{i}", MaxPool(2)), (f"relu{i}", ReLU())]
    layers += [
        ("flatten", Flatten()),
        ("fc1", Linear(256)),
        ("relu6", ReLU()),
        ("fc2", Linear(128)),
        ("relu7", ReLU()),
        ("fc3", Linear(classes, joint=True)),
    ]
    return Model("cnn5", Sequential(tuple(layers)), shape, classes)


@model("lenet5-wide")
def lenet5_wide(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with twice the channels and units in each hidden layer; the arguments are those of `lenet5`."""
    return _lenet5("lenet5-wide", shape, classes, sigma, width=2)


@model("lenet5-noisy")
def lenet5_noisy(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with noise of one size on the pre-activation of each convolution; the arguments are those of `lenet5`.

    Source: noise paper Sec. 2, whose moments go through noise in any layer; its own networks have it in the first.
    """
    return _lenet5("lenet5-noisy", shape, classes, sigma, noisy=3)


def _lenet5(name: str, shape: Shape, classes: int, sigma: float, width: int = 1, noisy: int = 1) -> Model:
    """LeNet-5 of a width, with noise on the pre-activations of the first convolutions, as many as `noisy` says."""

    def noise(number: int) -> list[tuple[str, Layer]]:
        own = "noise" if noisy == 1 else f"noise{number}"
        return [(own, PreactivationNoise(sigma))] if number <= noisy else []

    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2d(6 * width, 5, padding=_missing(shape))),
        *noise(1),
        ("pool1", MaxPool(2)),
        ("relu1", ReLU()),
        ("conv2", Conv2d(16 * width, 5)),
        *noise(2),
        ("pool2", MaxPool(2)),
        ("relu2", ReLU()),
        ("conv3", Conv2d(120 * width, 5)),
        *noise(3),
        ("relu3", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(200 * width)),
        ("relu4", ReLU()),
        ("fc2", Linear(200 * width)),
        ("relu5", ReLU()),
        ("fc3", Linear(classes, joint=True)),
    ]
    return Model(name, Sequential(tuple(layers)), shape, classes)
