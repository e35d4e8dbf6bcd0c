"""Named networks, as values: `replace(lenet5(), ...)` makes another."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from npsnn.affine import Conv2d, Linear
from npsnn.backbones import backbone
from npsnn.layers import Flatten, Layer, MaxPool, ReLU, Shape
from npsnn.model import LAYERS, Model
from npsnn.network import Sequential
from npsnn.noise import NOISE_LAYERS, FeatureNoise, PreactivationNoise

__all__ = [
    "LAYERS",
    "MODELS",
    "NOISES",
    "NOISY",
    "Model",
    "build",
    "cnn5",
    "lenet5",
    "lenetpp",
    "resnet18",
    "with_feature_noise",
    "without_noise",
]


def _missing(shape: Shape) -> int:
    """The black pixels put on all four sides for 32 in the shorter one, which leave something to the last layers."""
    return max(0, (33 - min(shape[1:], default=32)) // 2)


def lenet5(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with noise on its first pre-activation, for images of any size; a shorter side below 32 is padded to it.

    Three 5x5 convolutions (6, 16, 120) and three fully connected layers (200, 200, classes), each hidden one with a
    ReLU, the first two convolutions with 2x2 max pooling. Source: noise paper Sec. 3.1; its two counts of the layers
    disagree (audit N39), this reading takes both "three convolutions" and "two of size 200".
    """
    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2d(6, 5, padding=_missing(shape))),
        ("noise", PreactivationNoise(sigma)),
        ("pool1", MaxPool(2)),
        ("relu1", ReLU()),
        ("conv2", Conv2d(16, 5)),
        ("pool2", MaxPool(2)),
        ("relu2", ReLU()),
        ("conv3", Conv2d(120, 5)),
        ("relu3", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(200)),
        ("relu4", ReLU()),
        ("fc2", Linear(200)),
        ("relu5", ReLU()),
        ("fc3", Linear(classes, joint=True)),
    ]
    return Model("lenet5", Sequential(tuple(layers)), shape, classes)


def cnn5(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.6) -> Model:
    """Five 3x3 convolutions (32, 64, 128, 128, 128), each with 2x2 max pooling and ReLU, then 256, 128, classes.

    Noise on the first pre-activation. A shorter side of fewer than 32 pixels is padded so that five poolings leave one.
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


def lenetpp(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.0, variant: str = "original") -> Model:
    """LeNet++ with a linear classifier on its 32 features, as published or, "authors", as A2SNN's authors have it.

    There is no noise in it, so sigma must be 0: `with_feature_noise` adds some. Source: `npsnn.backbones`.
    """
    names = {"original": "lenetpp", "authors": "lenetpp-authors"}
    if variant not in names:
        raise ValueError(f"variant must be one of {', '.join(names)}, got {variant!r}")
    return _classifier(names[variant], shape, classes, sigma)


def resnet18(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.0) -> Model:
    """ResNet-18 with a linear classifier on its 32 features.

    There is no noise in it, so sigma must be 0: `with_feature_noise` adds some. Source: `npsnn.backbones`.
    """
    return _classifier("resnet18", shape, classes, sigma)


def _classifier(name: str, shape: Shape, classes: int, sigma: float) -> Model:
    if sigma != 0:
        why = f"has no noise on its first layer, so sigma must be 0, got {sigma!r}"
        raise ValueError(f"{name} {why}: set noise to features or none")
    layers = (*backbone(name, shape), ("classifier", Linear(classes, joint=True)))
    return Model(name, Sequential(layers), shape, classes)


MODELS: dict[str, Callable[..., Model]] = {
    "lenet5": lenet5,
    "cnn5": cnn5,
    "lenetpp": lenetpp,
    "lenetpp-authors": partial(lenetpp, variant="authors"),
    "resnet18": resnet18,
}


NOISY = ("lenet5", "cnn5")
"""The models with noise of their own, on the first pre-activation."""

NOISES = ("preactivation", "features", "none")


def without_noise(model: Model) -> Model:
    """The model without its noise layer."""
    kept = [(name, layer) for name, layer in model.network.layers if not isinstance(layer, NOISE_LAYERS)]
    return replace(model, network=Sequential(tuple(kept)))


def with_feature_noise(model: Model, sigma: float, covariance: str = "full", bottleneck: int = 32) -> Model:
    """The model as A2SNN has it: no noise but on `bottleneck` features, right before its last layer.

    A layer that makes the features is put in unless the model ends in one of that name. Raises ValueError where the
    last layer is not linear. Source: A2SNN Sec. 3 and 4.1; an activation after the bottleneck is not mentioned there.
    """
    kept = without_noise(model).network.layers
    if not kept or not isinstance(kept[-1][1], Linear):
        raise ValueError(f"{model.name} must end in a linear layer to take noise on its features")
    *features, (last, _) = kept
    if not features or features[-1][0] != "bottleneck":
        features.append(("bottleneck", Linear(bottleneck)))
    else:
        features[-1] = ("bottleneck", Linear(bottleneck))
    head: list[tuple[str, Layer]] = [("noise", FeatureNoise(sigma, covariance))]
    head.append((last, Linear(model.classes, joint=True)))
    return replace(model, network=Sequential((*features, *head)))


def build(
    name: str,
    shape: Shape,
    classes: int,
    sigma: float,
    noise: str = "preactivation",
    covariance: str = "full",
    bottleneck: int = 32,
) -> Model:
    """The named model for images of `shape`, with its own noise, for "features" with that of A2SNN, or with none.

    Raises ValueError for an unknown name, naming the choices.
    """
    for what, value, known in (("model", name, MODELS), ("noise", noise, NOISES)):
        if value not in known:
            raise ValueError(f"unknown {what} {value!r}, expected one of {', '.join(known)}")
    if noise == "preactivation":
        return MODELS[name](shape, classes, sigma)
    if noise == "none":
        return without_noise(MODELS[name](shape, classes))
    return with_feature_noise(MODELS[name](shape, classes), sigma, covariance, bottleneck)
