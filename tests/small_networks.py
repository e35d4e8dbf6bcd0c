"""Small networks with known answers, and what attacks them in the tests."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npsnn import models
from npsnn.attacks.targets import NetworkTarget
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.params import flatten
from npsnn.layers.pool import MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, with_feature_noise
from npsnn.streams import Stream

SHAPE = (2, 3, 4)


def linear(sigma: float = 0.3, seed: int = 0, classes: int = 3) -> Classifier:
    """Logits w x + b + N(0, sigma²), whose margins are below 1 in the middle of the box; float64."""
    layers: Any = (("flatten", Flatten()), ("fc", Linear(classes)), ("noise", PreactivationNoise(sigma)))
    model = Model("linear", Sequential(layers), SHAPE, classes)
    network = Classifier(model, model.init(np.random.default_rng(seed))).astype(np.float64)
    w = np.random.default_rng(seed).standard_normal((classes, 24))
    b = 0.1 * np.arange(classes) - w.sum(axis=1) / 2
    return replace(network, params=network.params | {"fc": {"w": w, "b": b}}, threads=1)


def convolutional(sigma: float = 0.3, micro_batch: int = 64) -> Classifier:
    """A convolution, noise, ReLU and a joint last layer; float64."""
    layers: Any = (
        ("conv", Conv2d(4, 3, padding=1)),
        ("noise", PreactivationNoise(sigma)),
        ("relu", ReLU()),
        ("flatten", Flatten()),
        ("fc", Linear(3, joint=True)),
    )
    model = Model("convolutional", Sequential(layers), SHAPE, 3, micro_batch)
    return Classifier(model, model.init(np.random.default_rng(1)), threads=1).astype(np.float64)


def several(sigma: float = 0.3, features: float = 0.0) -> Classifier:
    """Noise of `sigma` on the first pre-activation and of twice as much in a residual block; float64.

    features: the level of noise of a full covariance on 5 features; 0 for a network without them.
    """
    body: Any = (("conv", Conv2d(4, 3, padding=1)), ("noise", PreactivationNoise(2 * sigma)))
    layers: Any = (
        ("conv", Conv2d(4, 3, padding=1)),
        ("noise", PreactivationNoise(sigma)),
        ("relu", ReLU()),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("relu2", ReLU()),
        ("flatten", Flatten()),
        *((("bottleneck", Linear(5)), ("features", FeatureNoise(features))) if features else ()),
        ("fc", Linear(3, joint=True)),
    )
    model = Model("several", Sequential(layers), SHAPE, 3)
    network = Classifier(model, model.init(np.random.default_rng(1)), threads=1).astype(np.float64)
    if features:
        L = np.tril(features * (np.eye(5) + 0.5 * np.random.default_rng(3).standard_normal((5, 5))))
        network = replace(network, params=network.params | {"features": {"L": L}})
    return network


def of_units(sigma: float = 0.25) -> Model:
    """A network with noise of each unit after a convolution, in a block and after the features, and other noise."""
    body: Any = (("conv", Conv2d(2, 3, padding=1)), ("noise", PreactivationNoise(sigma, "unit")))
    layers: Any = (
        ("conv", Conv2d(2, 3, padding=1)),
        ("noise", PreactivationNoise(sigma, "unit")),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("other", PreactivationNoise(0.5, "channel")),
        ("flatten", Flatten()),
        ("features", Linear(4)),
        ("last", PreactivationNoise(sigma, "unit")),
        ("fc", Linear(3)),
    )
    return Model("units", Sequential(layers), SHAPE, 3)


def of_units_in_digits(last: Any = None) -> Model:
    """A small network of digits with noise of each unit in two places, and of each channel in another.

    last: the last layer, by default without noise.
    """
    body: Any = (("conv", Conv2d(4, 3, padding=1)), ("noise", PreactivationNoise(0.2, "unit")))
    layers: Any = (
        ("conv", Conv2d(4, 5, stride=4)),
        ("noise", PreactivationNoise(0.3, "unit")),
        ("relu", ReLU()),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("other", PreactivationNoise(0.1, "channel")),
        ("pool", MeanPool(2)),
        ("flatten", Flatten()),
        ("fc", last or Linear(10, joint=True)),
    )
    return Model("units", Sequential(layers), (1, 28, 28), 10, 16)


def on_weights(shape: tuple[int, int, int] = SHAPE, micro_batch: int = 64, dropout: float = 0.0) -> Model:
    """Every kind of noise on weights and of shared noise: relative and free weights, one of them in a block.

    dropout: rate of dropout before the last layer.
    """
    body: Any = (("conv", NoisyConv2d(3, 3, padding=1, spread="free", start=0.2)), ("bn", BatchNorm()))
    layers: Any = (
        ("first", NoisyConv2d(3, 3, padding=1, scope="channel")),
        ("noise", PreactivationNoise(0.3, "unit", shared=True)),
        ("relu", ReLU()),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("pool", MeanPool(3)),
        ("flatten", Flatten()),
        ("dropout", Dropout(dropout)),
        ("last", NoisyLinear(3, joint=True, spread="free", start=0.1)),
    )
    return Model("on weights", Sequential(layers), shape, 3, micro_batch)


def normalised(micro_batch: int) -> Model:
    """A small model for 28x28 images whose micro-batches share the statistics of the whole batch."""
    layers: Any = (
        ("conv", Conv2d(4, 5, stride=2, bias=False)),
        ("bn", BatchNorm()),
        ("relu", ReLU()),
        ("flatten", Flatten()),
        ("classifier", Linear(10, joint=True)),
    )
    return Model("normalised", Sequential(layers), (1, 28, 28), 10, micro_batch)


def on_features(sigma: float = 0.8) -> Classifier:
    """The convolutional network with noise of a full covariance on 5 features, as A2SNN has it; float64."""
    model = with_feature_noise(convolutional().model, sigma, bottleneck=5)
    params = model.init(np.random.default_rng(2))
    L = np.tril(sigma * (np.eye(5) + 0.5 * np.random.default_rng(3).standard_normal((5, 5))))
    return Classifier(model, params | {"noise": {"L": L}}, threads=1).astype(np.float64)


def away_from_the_start(covariance: str = "full") -> tuple[Model, dict[str, np.ndarray]]:
    """LeNet-5 of 5 classes with noise on 4 features, and float64 parameters whose covariance has left its start."""
    model = models.build("lenet5", (1, 28, 28), 5, 0.6, "features", covariance, 4)
    rng = np.random.default_rng(0)
    params = {k: p.astype(np.float64) for k, p in flatten(model.init(rng)).items()}
    params["noise.L"] = params["noise.L"] * rng.uniform(0.5, 1.5, params["noise.L"].shape)
    if covariance == "full":
        params["noise.L"] = params["noise.L"] + np.tril(0.3 * rng.normal(size=(4, 4)), -1)
    return model, params


def images(count: int, seed: int = 0, low: float = 0.35, high: float = 0.65) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (count, *SHAPE))


def predicted(network: Classifier, x: np.ndarray) -> np.ndarray:
    return network.predict(x).argmax(axis=1)


@dataclass(frozen=True)
class Asked(NetworkTarget):
    """Notes the streams of what it is asked."""

    asked: dict[str, list[Stream]] = field(default_factory=dict)

    @staticmethod
    def like(target: NetworkTarget) -> "Asked":
        return Asked(target.classifier, target.kind, target.objective, target.draws, target.rule)

    def _note(self, what: str, stream: Stream) -> None:
        self.asked.setdefault(what, []).append(stream)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        self._note("gradient", stream)
        return super().__call__(x, labels, stream)

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        self._note("value", stream)
        return super().value(x, labels, stream)

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        self._note("misread", stream)
        return super().misread(x, labels, draws, stream)
