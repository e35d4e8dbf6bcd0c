"""A measurement: how the noise on the features lies to the class vectors of the last layer."""

from typing import Any

import numpy as np

from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.layers.params import at_path, flatten
from npsnn.reproduce.measures import measure
from npsnn.train.terms import class_vectors as name_of_class_vectors
from npsnn.train.terms import noise_on_features

CHANCE = 22.5
"""The mean angle, in degrees, between a random direction of the plane and the nearer of two that are orthogonal."""


def directions(sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations along the eigenvectors of a covariance, the largest first, and these as columns.

    sigma: (D, D).
    """
    values, vectors = np.linalg.eigh(sigma)
    return np.sqrt(np.maximum(values, 0))[::-1], vectors[:, ::-1]


def angles(w: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The angle in degrees between each row of w and the nearest of some orthonormal columns, to either side: (C,).

    w: (C, D). axes: (D, D).
    """
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    return np.asarray(np.degrees(np.arccos(np.clip(np.abs(unit @ axes).max(axis=1), 0, 1))))


@measure("class-vectors")
def class_vector_figures(networks: list[Classifier], dataset: Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    """W and Sigma of a network with noise on its features, and the angles between them.

    "to axes" and "to eigenvectors" are means over classes, in degrees; "ratio" is that of the largest to the least
    standard deviation along the eigenvectors; "norm" the mean norm of a class vector; "spread" √(tr Sigma / D).
    Raises ValueError for a network without such noise.
    """
    network = networks[0]
    found = noise_on_features(network.model)
    if found is None:
        raise ValueError(f"{network.model.name} must have noise on its features, it has none")
    path, layer = found
    w = to_host(flatten(network.params)[name_of_class_vectors(network.model)]).astype(np.float64)
    L = to_host(layer.factor(at_path(path, network.params), w.shape[1])).astype(np.float64)
    sigma = L @ L.T
    sds, axes = directions(sigma)
    figures = {
        "W": w.tolist(),
        "Sigma": sigma.tolist(),
        "to axes": float(angles(w, np.eye(len(sigma))).mean()),
        "to eigenvectors": float(angles(w, axes).mean()),
        "ratio": float(sds[0] / max(sds[-1], 1e-6 * sds[0], 1e-30)),
        "norm": float(np.linalg.norm(w, axis=1).mean()),
        "spread": float(np.sqrt(np.trace(sigma) / len(sigma))),
    }
    return figures, {}
