"""A2SNN's networks: a backbone, and a linear classifier on features that may carry noise."""

from dataclasses import replace

from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Layer, Shape
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import FeatureNoise
from npsnn.models.backbones import backbone
from npsnn.models.base import Model, model, without_noise
from npsnn.validate import check_choice


@model("lenetpp")
def lenetpp(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.0, variant: str = "original") -> Model:
    """LeNet++ with a linear classifier on its 32 features, without noise; `with_feature_noise` adds some.

    shape: one image, (C, H, W).
    classes: number of classes.
    sigma: 0, as the network has no noise of its own.
    variant: "original" for LeNet++ as published, "authors" for LeNet++ as A2SNN's authors programmed it.
    Raises ValueError for another sigma or variant.
    Source: `npsnn.models.backbones`.
    """
    names = {"original": "lenetpp", "authors": "lenetpp-authors"}
    check_choice("variant", variant, names)
    return _classifier(names[variant], shape, classes, sigma)


@model("lenetpp-authors")
def lenetpp_authors(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.0) -> Model:
    """LeNet++ as A2SNN's authors programmed it; arguments as for `lenetpp`."""
    return lenetpp(shape, classes, sigma, "authors")


@model("resnet18")
def resnet18(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.0, variant: str = "original") -> Model:
    """ResNet-18 with a linear classifier on its 32 features, without noise; `with_feature_noise` adds some.

    shape: one image, (C, H, W), square.
    classes: number of classes.
    sigma: 0, as the network has no noise of its own.
    variant: "original" for the stem for small images, "authors" for the network of A2SNN's authors, with the stem for
        ImageNet and a ReLU on the features.
    Raises ValueError for another sigma or variant.
    Source: `npsnn.models.backbones`.
    """
    names = {"original": "resnet18", "authors": "resnet18-authors"}
    check_choice("variant", variant, names)
    return _classifier(names[variant], shape, classes, sigma)


@model("resnet18-authors")
def resnet18_authors(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.0) -> Model:
    """ResNet-18 as A2SNN's authors use it; arguments as for `resnet18`."""
    return resnet18(shape, classes, sigma, "authors")


def _classifier(name: str, shape: Shape, classes: int, sigma: float) -> Model:
    if sigma != 0:
        why = f"has no noise on its first layer, so sigma must be 0, got {sigma!r}"
        raise ValueError(f"{name} {why}: set noise to features or none")
    layers = (*backbone(name, shape), ("classifier", Linear(classes, joint=True)))
    return Model(name, Sequential(layers), shape, classes)


def with_feature_noise(model: Model, sigma: float, covariance: str = "full", bottleneck: int = 32) -> Model:
    """The model with A2SNN's noise alone: on features, right before the last layer, and after a ReLU on the features.

    model: any model that ends in a linear layer.
    sigma: standard deviation with which the noise starts.
    covariance: form of the noise, one of `npsnn.layers.noise.COVARIANCES`.
    bottleneck: number of features; the layer "bottleneck" that makes them is put in, or changed where the model has
        one.
    Raises ValueError where the last layer is not linear.
    Source: A2SNN Sec. 3 and 4.1; an activation after the bottleneck is not mentioned there.
    """
    kept = without_noise(model).network.layers
    if not kept or not isinstance(kept[-1][1], Linear):
        raise ValueError(f"{model.name} must end in a linear layer to take noise on its features")
    *features, (last, _) = kept
    own = next((i for i in (-1, -2) if len(features) >= -i and features[i][0] == "bottleneck"), None)
    if own is None or not all(isinstance(layer, ReLU) for _, layer in features[own:][1:]):
        features.append(("bottleneck", Linear(bottleneck)))
    else:
        features[own] = ("bottleneck", Linear(bottleneck))
    head: list[tuple[str, Layer]] = [("noise", FeatureNoise(sigma, covariance))]
    head.append((last, Linear(model.classes, joint=True)))
    return replace(model, network=Sequential((*features, *head)))
