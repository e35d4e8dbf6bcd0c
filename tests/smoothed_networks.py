"""Networks of two classes whose smoothed answer, and its exact distance from every image, are known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.layers import Flatten, Linear, PreactivationNoise, Sequential
from npsnn.models import Model

SHAPE = (2, 3, 4)


@dataclass(frozen=True)
class Known:
    """A network that says class 1 where a·(h + noise) > 0 for h = W x, and how far its smoothed boundary is.

    network: the network, float64.
    normal: of the boundary in the space of images, whose length is that of a·W.
    """

    network: Classifier
    normal: np.ndarray

    def at(self, distance: np.ndarray) -> np.ndarray:
        """Images at signed distances from the boundary, on the side of class 1 where positive."""
        flat = 0.5 + distance[:, None] * self.normal / np.linalg.norm(self.normal)
        return flat.reshape(-1, *SHAPE)


def _classifier(layers: Any, params: Any) -> Classifier:
    model = Model("known", Sequential(layers), SHAPE, 2, 64)
    start = model.init(np.random.default_rng(0))
    network = Classifier(model, start, threads=1).astype(np.float64)
    return replace(network, params=network.params | params)


def _two(a: np.ndarray, middle: float) -> dict[str, np.ndarray]:
    """Parameters of a last layer whose logits differ by a·u - middle."""
    return {"w": np.stack([-a / 2, a / 2]), "b": np.array([middle / 2, -middle / 2])}


def on_images(sigma: float = 0.25, seed: int = 0, later: float = 0.0) -> Known:
    """Noise on the images, and a matrix; later: noise of the logits besides."""
    a = np.random.default_rng(seed).standard_normal(24)
    layers: Any = (("first", PreactivationNoise(sigma)), ("flatten", Flatten()), ("fc", Linear(2)))
    layers += (("last", PreactivationNoise(later)),) if later else ()
    return Known(_classifier(layers, {"fc": _two(a, a.sum() / 2)}), a)


def without_noise(seed: int = 0) -> Known:
    """The same without noise."""
    a = np.random.default_rng(seed).standard_normal(24)
    return Known(_classifier((("flatten", Flatten()), ("fc", Linear(2))), {"fc": _two(a, a.sum() / 2)}), a)


def on_units(sigma: float = 0.8, aligned: bool = False, seed: int = 0) -> Known:
    """Noise on 6 units W x; aligned: whether the boundary is in the direction that W stretches most."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((6, 24))
    a = np.linalg.svd(w)[0][:, 0] if aligned else rng.standard_normal(6)
    layers: Any = (("flatten", Flatten()), ("fc1", Linear(6)), ("noise", PreactivationNoise(sigma)), ("fc", Linear(2)))
    params = {"fc1": {"w": w, "b": np.zeros(6)}, "fc": _two(a, float(a @ w.sum(axis=1)) / 2)}
    return Known(_classifier(layers, params), w.T @ a)
