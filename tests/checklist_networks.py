"""A small sound network for the checklist, and ways to spoil its gradients."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from small_networks import images, on_features, predicted

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.suite import Suite
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise, Sampled

SMALL = Checklist(eps=0.06, steps=5, eot=3, draws=5, samples=15, population=10, generations=2)


def balanced(sigma: float) -> Classifier:
    """A small network that answers each of its classes about as often."""
    network = on_features(sigma)
    last = network.params["fc"]
    b = last["b"] - network.predict(images(200)).mean(axis=0)
    return replace(network, params=network.params | {"fc": last | {"b": b}})


def read_surely(network: Classifier, count: int, of: int) -> np.ndarray:
    """The images of `of` with the largest margins, in their order."""
    x = images(of)
    logits = np.sort(network.predict(x), axis=1)
    return x[np.sort(np.argsort(logits[:, -2] - logits[:, -1])[:count])]


SOUND = balanced(0.06)


X = read_surely(SOUND, 40, of=120)


LABELS = predicted(SOUND, X)


Spoil = Callable[[np.ndarray, Noise], Any]


@dataclass(frozen=True)
class Spoiled(Classifier):
    """A network whose gradients are multiplied by what `spoil` says of images and noise; its answers stay."""

    spoil: Spoil | None = None

    def loss_gradient(self, x: np.ndarray, labels: np.ndarray, noise: Noise, objective: Any) -> tuple[Any, np.ndarray]:
        value, gradient = super().loss_gradient(x, labels, noise, objective)
        assert self.spoil is not None
        return value, gradient * np.reshape(self.spoil(x, noise), (-1, 1, 1, 1))


def spoiled(spoil: Spoil, network: Classifier = SOUND) -> Spoiled:
    return Spoiled(**{f.name: getattr(network, f.name) for f in fields(network)}, spoil=spoil)


def moved(x: np.ndarray) -> np.ndarray:
    """How far each image is, in Linf, from the nearest of X."""
    return np.abs(x[:, None] - X[None]).max(axis=(2, 3, 4)).min(axis=1)


def suite(network: Classifier = SOUND, **options: Any) -> Suite:
    return Suite(network, X, LABELS, replace(SMALL, **options), None)


BLIND: Spoil = lambda x, noise: 0.0  # noqa: E731


BACKWARDS: Spoil = lambda x, noise: -1.0  # noqa: E731


DRAWN_BACKWARDS: Spoil = lambda x, noise: -1.0 if isinstance(noise, Sampled) else 1.0  # noqa: E731
