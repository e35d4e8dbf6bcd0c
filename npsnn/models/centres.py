"""Models with the centres of the classes among their features, for the loss of PCL."""

from dataclasses import replace

from npsnn.layers.affine import Linear
from npsnn.layers.base import Layer
from npsnn.layers.centres import Centres
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import NoiseLayer
from npsnn.models.base import Model
from npsnn.validate import check_count


def with_centres(model: Model, form: str = "code", depths: int = 2) -> Model:
    """The model with `Centres` on the outputs of its last hidden dense layers, after their activation.

    model: any model that ends in a linear layer after another one: lenet5 and cnn5 get centres after the ReLUs of their
        two hidden dense layers, models of A2SNN on the features of the bottleneck.
    form: form of the centres (`npsnn.layers.Centres`).
    depths: number of layers that get centres, at most; each stands before one of the last linear layers, and before the
        noise that such a layer has on its input.
    Raises ValueError for another form or depths, for a model that has centres, and where no linear layer follows
    another.
    Source: Mustafa et al. 2019 (PCL), whose network has centres on its last two hidden dense layers.
    """
    check_count("depths", depths)
    layers = list(model.network.layers)
    if any(isinstance(layer, Centres) for _, layer in layers):
        raise ValueError(f"{model.name} has centres already: give the model without them")
    dense = [i for i, (_, layer) in enumerate(layers) if isinstance(layer, Linear)]
    if len(dense) < 2 or dense[-1] != len(layers) - 1:
        raise ValueError(f"{model.name} must end in a linear layer, after another one, to take centres on its features")
    found: list[tuple[str, Layer]] = []
    places = [_before_noise(layers, place) for place in dense[1:][-depths:]]
    for i, named in enumerate(layers):
        if i in places:
            found.append((f"centres{places.index(i) + 1}", Centres(model.classes, form)))
        found.append(named)
    return replace(model, network=Sequential(tuple(found)))


def _before_noise(layers: list[tuple[str, Layer]], place: int) -> int:
    """The place before the noise that comes right before a layer, or else the layer's own."""
    while isinstance(before := layers[place - 1][1], NoiseLayer) and not isinstance(before, Linear):
        place -= 1
    return place
