"""Networks whose layers the audit compares with draws, images for them, and the figures that are found."""

from dataclasses import replace

import numpy as np

from npsnn.audit.fits import Fit
from npsnn.audit.networks import perceptron
from npsnn.classifier import Classifier
from npsnn.layers.base import Layer, Params
from npsnn.layers.containers import Sequential
from npsnn.layers.params import flatten, unflatten
from npsnn.models import Model

RNG = np.random.default_rng


def made(shape: tuple[int, int, int], *layers: Layer, classes: int = 4) -> Classifier:
    """These layers, named by their places, in float64 and with biases."""
    named = tuple((f"{type(layer).__name__.lower()}{i}", layer) for i, layer in enumerate(layers))
    model = Model("made", Sequential(named), shape, classes)
    params = {name: p.astype(np.float64) for name, p in flatten(model.init(RNG(0))).items()}
    return Classifier(model, unflatten({n: p + 0.1 * n.endswith(".b") for n, p in params.items()}), threads=1)


def images(network: Classifier, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return RNG(1).random((count, *network.model.shape)), np.arange(count) % network.model.classes


def correlated(joint: bool = True) -> Classifier:
    """A perceptron whose weights have a positive mean, so that its units rise and fall together."""
    network = perceptron(RNG(3), (12, 24, 24, 24, 4), sigma=0.6, joint=joint)
    params: Params = {
        name: p | {"w": p["w"] + 0.2} if name in ("fc2", "fc3") else p for name, p in network.params.items()
    }
    return replace(network, params=params)


def fit_of(fit: Fit, layer: str, rule: str) -> tuple[float, float]:
    """mean_error and sd_ratio."""
    (found,) = [f for f in fit.layers if (f.layer, f.rule) == (layer, rule)]
    return found.mean_error, found.sd_ratio


def error_of(fit: Fit, rule: str) -> float:
    found = fit.win_errors[rule]
    assert found is not None
    return found
