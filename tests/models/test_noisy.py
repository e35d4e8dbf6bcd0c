"""Where the defences of the literature put their noise."""

import pytest

from npsnn import models
from npsnn.layers import Conv2d, Linear, PReLU, ReLU
from npsnn.layers.containers import leaves
from npsnn.layers.dropout import Dropout
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.models import Model
from npsnn.models.noisy import (
    with_dropout,
    with_noise_after_first,
    with_noise_before_activations,
    with_noise_before_convolutions,
    with_noisy_weights,
)

NAMES = ("lenet5", "small-cnn", "lenetpp", "resnet18")


def plain(name: str) -> Model:
    return models.build(name, (1, 28, 28) if name != "resnet18" else (3, 8, 8), 10, 0.0, "none")


def kinds(model: Model) -> list[type]:
    return [type(layer) for _, layer in leaves(model.network)]


@pytest.mark.parametrize("name", NAMES)
def test_before_convolutions(name: str) -> None:
    model = with_noise_before_convolutions(plain(name), 0.2, 0.1)
    found = [layer for _, layer in leaves(model.network)]
    before = [found[n - 1] for n, layer in enumerate(found) if isinstance(layer, Conv2d) and layer.kernel > 1]
    assert before[0] is found[0] and before[0] == PreactivationNoise(0.2)
    assert all(layer == PreactivationNoise(0.1) for layer in before[1:]) and len(before) > 1
    assert len(model.noise_layers) == len(before) and model.forms().keys() > plain(name).forms().keys()


@pytest.mark.parametrize("name", NAMES)
def test_before_activations(name: str) -> None:
    model = with_noise_before_activations(plain(name), 0.25, shared=True)
    layers = [layer for _, layer in model.network.layers]
    before = [layers[n - 1] for n, layer in enumerate(layers) if isinstance(layer, ReLU | PReLU)]
    assert before and all(layer == PreactivationNoise(0.25, "unit", True) for layer in before)
    assert model.shares_draws and model.forms()


@pytest.mark.parametrize("name", NAMES)
def test_after_the_first_layer(name: str) -> None:
    model = with_noise_after_first(plain(name), 0.3)
    assert kinds(model)[:2] == [Conv2d, PreactivationNoise] and len(model.noise_layers) == 1
    if name == "lenet5":
        assert model == models.lenet5(sigma=0.3), "PixelDP's network is the noise paper's"


@pytest.mark.parametrize("name", NAMES)
def test_noisy_weights(name: str) -> None:
    model = with_noisy_weights(plain(name), spread="free", start=0.1)
    assert not {Conv2d, Linear} & set(kinds(model)) and {NoisyConv2d, NoisyLinear} <= set(kinds(model))
    assert models.without_noise(model) == plain(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("convolutions", [False, True])
def test_dropout(name: str, convolutions: bool) -> None:
    model = with_dropout(plain(name), 0.5, convolutions)
    found = [layer for _, layer in leaves(model.network)]
    flat = False
    for n, layer in enumerate(found):
        flat = flat or isinstance(layer, Linear)
        if isinstance(layer, ReLU | PReLU):
            after = found[n + 1]
            assert (after == Dropout(0.5, channels=not flat)) == (flat or convolutions)


def test_a_model_without_a_place_is_refused() -> None:
    flat = models.Model("flat", models.lenet5().network.__class__((("f", ReLU()),)), (1, 2, 2), 4)
    with pytest.raises(ValueError, match="flat must have a convolution"):
        with_noise_before_convolutions(flat, 0.1, 0.1)
    with pytest.raises(ValueError, match="flat must have a layer of weights"):
        with_noise_after_first(flat, 0.1)
