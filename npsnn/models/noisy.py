"""Where the defences of the literature put their noise: a model with noise or dropout among its layers."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import chain, repeat
from typing import Any

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Layer
from npsnn.layers.containers import Residual, Sequential, mapped, nested
from npsnn.layers.dropout import Dropout
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.models.base import Model

Named = tuple[str, Layer]


def with_noise_before_convolutions(model: Model, first: float, others: float) -> Model:
    """The model with noise before each convolution, the first of which takes the image.

    model: network without noise, of whose layers at least one is a convolution.
    first: standard deviation of the noise on the image, >= 0.
    others: standard deviation of the noise before each other convolution, >= 0.
    Shortcuts of a Residual get none: the noise before the body's convolution is the block's.
    Source: RSE, Liu et al. 2018.
    """
    if not any(isinstance(layer, Conv2d) for _, layer in nested(model.network)):
        raise ValueError(f"{model.name} must have a convolution to take noise before it")
    sigmas = chain([first], repeat(others))

    def noise(name: str, layer: Layer) -> tuple[Named, ...]:
        before = isinstance(layer, Conv2d)
        return ((f"noise-{name}", PreactivationNoise(next(sigmas))), (name, layer)) if before else ((name, layer),)

    return _changed(model, noise)


def with_noise_before_activations(model: Model, sigma: float, shared: bool = False) -> Model:
    """The model with noise before each activation, of a standard deviation for each unit.

    model: network without noise.
    sigma: standard deviation that each unit starts with, >= 0.
    shared: whether all images of a batch have one draw.
    Activations inside a Residual get none: the noise comes after the sum of the branches.
    Source: Learn2Perturb, Jeddi et al. 2020.
    """
    layers: list[Named] = []
    for name, layer in model.network.layers:
        if isinstance(layer, ReLU | PReLU):
            layers.append((f"noise-{name}", PreactivationNoise(sigma, "unit", shared)))
        layers.append((name, layer))
    return replace(model, network=Sequential(tuple(layers)))


def with_noise_after_first(model: Model, sigma: float) -> Model:
    """The model with noise on the output of its first layer of weights, as the noise paper's network has it.

    model: network without noise, whose first layer of weights is at the top level.
    sigma: standard deviation, >= 0.
    Source: PixelDP, Lecuyer et al. 2019.
    """
    layers = list(model.network.layers)
    place = next((n for n, (_, layer) in enumerate(layers) if isinstance(layer, Conv2d | Linear)), None)
    if place is None:
        raise ValueError(f"{model.name} must have a layer of weights to take noise after it")
    layers.insert(place + 1, ("noise", PreactivationNoise(sigma)))
    return replace(model, network=Sequential(tuple(layers)))


def with_noisy_weights(model: Model, **noise: Any) -> Model:
    """The model with noise on the weights of every convolution and every linear layer.

    model: network without noise.
    noise: fields of `npsnn.layers.NoisyConv2d` other than those of `Conv2d`: spread, scope, start, through_std.
    Source: PNI, He et al. 2019; Adv-BNN, Liu et al. 2019.
    """
    kinds: dict[type, Any] = {Conv2d: NoisyConv2d, Linear: NoisyLinear}

    def noisy(layer: Layer) -> Layer:
        kind = kinds.get(type(layer))
        if kind is None:
            return layer
        made: Layer = kind(**{f.name: getattr(layer, f.name) for f in fields(type(layer))}, **noise)  # type: ignore[arg-type]
        return made

    return replace(model, network=mapped(model.network, noisy))


def with_dropout(model: Model, rate: float, convolutions: bool = True) -> Model:
    """The model with dropout after each activation: of channels after convolutions, of units after linear layers.

    model: any network.
    rate: part that is dropped in training, in [0, 1).
    convolutions: whether there is dropout after convolutions as well.
    Source: SADS, Vivek and Babu 2020.
    """
    flat = False  # whether the layers so far have made vectors of the image

    def dropped(name: str, layer: Layer) -> tuple[Named, ...]:
        nonlocal flat
        flat = flat or isinstance(layer, Linear)
        active = isinstance(layer, ReLU | PReLU) and (flat or convolutions)
        return ((name, layer), (f"dropout-{name}", Dropout(rate, channels=not flat))) if active else ((name, layer),)

    return _changed(model, dropped)


def _changed(model: Model, change: Callable[[str, Layer], tuple[Named, ...]]) -> Model:
    """The model with other layers in the place of each, in the order of the forward pass; shortcuts stay."""

    def within(network: Sequential) -> Sequential:
        found: list[Named] = []
        for name, layer in network.layers:
            if isinstance(layer, Residual):
                found.append((name, replace(layer, body=within(layer.body))))
            else:
                found += change(name, layer)
        return Sequential(tuple(found))

    return replace(model, network=within(model.network))
