"""The sizes of a network's noise: how they are read, set and written."""

from collections.abc import Mapping

from npsnn.backend import to_host
from npsnn.layers.base import Params, is_random
from npsnn.layers.containers import nested
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import at_path, flatten, unflatten
from npsnn.models.base import Model
from npsnn.validate import check_sigma

MOST_NAMED = 2
"""Most noise layers of which each is named with its size in a line for people."""


def read(model: Model, params: Params) -> dict[str, float]:
    """The level of each noise layer by its path: its standard deviation; of several, their root mean square.

    Noise relative to the spread of weights has the factor of the spread.

    model: the network.
    params: its parameters, nested.
    """
    levels = {path: layer.level(at_path(path, params)) for path, layer in model.noise_layers.items()}
    # by way of the shortest decimal that names it in its dtype: 0.6, not 0.6000000238418579
    return {path: float(str(to_host(level))) for path, level in levels.items()}


def draws(model: Model, params: Params) -> bool:
    """Whether two answers of the network differ, by what each of its layers says.

    model: the network.
    params: its parameters, nested.
    """
    return any(
        layer.draws(at_path(path, params)) if isinstance(layer, NoiseLayer) else is_random(layer)
        for path, layer in nested(model.network)
    )


def put(model: Model, params: Params, sigma: float | Mapping[str, float]) -> Params:
    """The parameters with other noise; noise on features keeps its correlations.

    model: the network.
    params: its parameters, nested.
    sigma: standard deviation > 0 of the one noise layer; or one >= 0 for each path, where other layers keep theirs.
    Raises ValueError for a number that is no sigma, for a path that is no noise layer's, and for one number where the
    network has several noise layers, or none.
    """
    layers = model.noise_layers
    if not isinstance(sigma, Mapping):
        if len(layers) > 1:
            each = f"a number for each of {', '.join(layers)}"
            raise ValueError(f"{model.name} has several noise layers: sigma must be 0 or {each}, got {sigma!r}")
        sigma = {model.noise_layer: sigma}
    flat = flatten(params)
    for path, value in sigma.items():
        if path not in layers:
            raise ValueError(f"sigma must be of the noise layers {', '.join(layers) or '(none)'}, got one of {path!r}")
        check_sigma(value)
        flat |= flatten(layers[path].at_level(at_path(path, params), value), f"{path}.")
    return unflatten(flat)


def brief(found: Mapping[str, float]) -> float | dict[str, float]:
    """The one number where there is at most one noise layer, as records have it; else all numbers by path.

    found: standard deviation of each noise layer by its path.
    """
    return dict(found) if len(found) > 1 else next(iter(found.values()), 0.0)


def in_words(sigma: float | Mapping[str, float], form: str = "g") -> str:
    """Write one number as "0.3", and the numbers of several noise layers as "conv1 0.3, conv2 0.5".

    sigma: the number, or one for each path.
    form: form of a number, as in a format specification.
    """
    sigma = brief(sigma) if isinstance(sigma, Mapping) else sigma
    if not isinstance(sigma, Mapping):
        return format(sigma, form)
    return ", ".join(f"{path} {value:{form}}" for path, value in sigma.items())


def of_network(found: float | Mapping[str, float], form: str = "g", sizes: bool = True) -> str:
    """The noise of a network that draws, in few words: "noise 0.3", "noise of 5 layers, 0.1 to 0.3".

    found: standard deviation of the noise, or one for each path; none for a network whose other layers draw.
    form: form of a number, as in a format specification.
    sizes: whether the least and the largest size of many layers are named.
    """
    if isinstance(found, Mapping) and len(found) > MOST_NAMED:
        low, high = (format(value, form) for value in (min(found.values()), max(found.values())))
        return f"noise of {len(found)} layers" + (f", {low} to {high}" if sizes else "")
    return "random layers" if found in ({}, 0) else f"noise {in_words(found, form)}"
