"""A small sound network for the checklist, and ways to spoil its gradients."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.linalg import hadamard
from small_networks import images, on_features, predicted

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.suite import Suite
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Noise, Sampled
from npsnn.layers.reshape import Flatten
from npsnn.models import Model

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

    def loss_gradients(self, x: np.ndarray, labels: np.ndarray, noises: Any, objective: Any) -> tuple[Any, np.ndarray]:
        assert self.spoil is not None
        found = [super(Spoiled, self).loss_gradients(x, labels, [noise], objective) for noise in noises]
        spoils = [np.reshape(self.spoil(x, noise), (-1, 1, 1, 1)) for noise in noises]
        return sum(v for v, _ in found), sum(g * by for (_, g), by in zip(found, spoils, strict=True))  # type: ignore[return-value]


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


def masked(count: int = 40, eps: float = 0.06, scale: float = 200.0) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A network with confident logits, images and labels 0 and 3; every other image is guarded by a decoy.

    Class 1 follows the label closely. PGD climbs to it, which takes the images without a guard; the guard keeps class 1
    below the label in the whole ball. Class 2 is farther behind, and can be raised above the label on all images: the
    confident softmax has no weight left for it, so that no step of PGD goes there.
    """
    signs = hadamard(64)[[1, 2, 4, 8]]  # features: the label's, the decoy's, the far class's and the guard's
    reach = signs / (64 * eps)  # all steps of eps together move a feature by 1
    w = np.stack([reach[0], -reach[0], reach[1], reach[2], reach[3]])
    b = np.array([0, 0, 10, 10, 0]) - w @ np.full(64, 0.5)
    own, far = 5.0, 2.5
    last = np.array([
        [own, -own, 0, 0, 0],
        [own, own, 1, 0, -0.4],
        [own, own, 0, far, 0],
        [-own, own, 0, 0, 0],
    ])  # fmt: skip
    behind = np.array([0, -0.5 - 10, -2 - 10 * far, 0])
    layers: Any = (("flatten", Flatten()), ("fc", Linear(5)), ("relu", ReLU()), ("out", Linear(4)))
    model = Model("masked", Sequential(layers), (1, 8, 8), 4)
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1).astype(np.float64)
    params = {"fc": {"w": w, "b": b}, "out": {"w": scale * last, "b": scale * behind}}
    network = replace(network, params=network.params | params)
    labels = np.where(np.arange(count) % 4 < 2, 0, 3)
    sign = np.where(labels == 0, 1, -1)[:, None] * signs[0], np.where(np.arange(count) % 2, 1, -1)[:, None] * signs[3]
    x = 0.5 + 0.15 * (sign[0] + sign[1]) + np.random.default_rng(1).uniform(-0.03, 0.03, (count, 64))
    return network, x.reshape(-1, 1, 8, 8), labels
