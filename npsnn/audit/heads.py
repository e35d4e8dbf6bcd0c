"""Small noisy classifiers for the checks of A2SNN, and the names of the engine's functions that these checks take."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from npsnn.audit.card import Floats
from npsnn.audit.engine import sides
from npsnn.reference import alignment

ENTROPY = "npsnn.ops.feature_noise.max_entropy"
ALIGNMENT = "npsnn.ops.feature_noise.alignment"
PAIRWISE = "npsnn.ops.feature_noise.pairwise_alignment"
ADD_NOISE = "npsnn.ops.feature_noise.add_noise"
ADD_NOISE_BACKWARD = "npsnn.ops.feature_noise.add_noise_backward"

Formula: TypeAlias = Callable[..., Any]


def together(*pairs: tuple[Formula, str | Formula]) -> Iterator[tuple[str, list[Formula]]]:
    """Pairs of a prefix for figures and a list of formulas: the plain ones, then those of the engine, if it has any.

    pairs: a plain formula, and that of the engine or its dotted name where the engine may not have it.
    """
    found = [sides(f, e) if isinstance(e, str) else {"reference": f, "engine": e} for f, e in pairs]
    yield "", [f["reference"] for f in found]
    if any("engine" in f for f in found):
        yield "engine: ", [f.get("engine", f["reference"]) for f in found]


def factor(rng: np.random.Generator, D: int, scale: float = 0.6) -> Floats:
    """A lower triangular matrix L with a positive diagonal, for which L Lᵀ is well conditioned.

    rng: generator of the entries.
    D: rows and columns.
    scale: factor of all entries.
    """
    L = np.tril(rng.uniform(-0.5, 0.5, (D, D)), -1) + np.diag(rng.uniform(0.6, 1.4, D))
    return scale * L


def directions(rng: np.random.Generator, C: int, D: int) -> Floats:
    """Weights of unit norm, one row for each class, no two rows alike.

    rng: generator of the entries.
    C: classes.
    D: features.
    """
    return alignment.unit_norm(np.linalg.qr(rng.standard_normal((D, C)))[0].T + 0.1 * rng.standard_normal((C, D)))
