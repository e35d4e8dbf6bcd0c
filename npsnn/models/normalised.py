"""Models that normalise their images themselves."""

from dataclasses import replace

from npsnn.layers.affine import Normalise
from npsnn.layers.containers import Sequential
from npsnn.models.base import Model


def with_normalisation(model: Model, mean: tuple[float, ...], std: tuple[float, ...]) -> Model:
    """The model with `Normalise` as its first layer, "normalise": (x - mean) / std for images x in [0, 1].

    model: network for normalised images; it keeps its parameters.
    mean: means of the channels.
    std: standard deviations of the channels, > 0.
    Attacks bound what they change in units of the [0, 1] pixel. Raises ValueError for another number of channels, and
    for a model that normalises already.
    """
    layer = Normalise(mean, std)
    layer.output_shape(model.shape)
    return replace(model, network=Sequential((("normalise", layer), *model.network.layers)))
