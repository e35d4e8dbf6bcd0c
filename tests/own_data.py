"""A data set of a user's own, and small trainings on it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npsnn import Classifier
from npsnn.data import Dataset, Split
from npsnn.data.arrays import NAMES
from npsnn.runs.checkpoint import CONFIG
from npsnn.train import fit
from npsnn.train.config import Config


def drawn(count: int = 40, seed: int = 0, size: int = 28) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 1, size, size), dtype=np.uint8), np.arange(count) % 10)


MINE = Dataset("mine", drawn(), drawn(20, 1), 10, {})


def four(**others: Any) -> dict[str, Any]:
    """The four arrays of three classes of 3 x 9 x 8 images, as an .npz file has them, but for some."""
    train, test = np.random.default_rng(0).integers(2, 256, (2, 6, 3, 9, 8), dtype=np.uint8)
    labels = np.array([2, 0, 1, 2, 1, 0])
    return dict(zip(NAMES, (train, labels, test, labels[::-1]), strict=True)) | others


def kept(folder: Path, train: int = 48, test: int = 20) -> Path:
    """A data set of a file with so many images, small enough for many trainings."""
    parts = drawn(train), drawn(test, seed=1)
    arrays = (array for part in parts for array in (part.images, part.labels))
    np.savez(folder / "own.npz", **dict(zip(NAMES, arrays, strict=True)))
    return folder / "own.npz"


def other(**parts: Any) -> Dataset:
    """The same data set but for some parts."""
    return replace(MINE, **parts)


def trained_on(folder: Path, dataset: Dataset, config: Config | None = None, start: Classifier | None = None) -> Any:
    """Trains into the folder, for one epoch by default; its config.json."""
    config = config or Config(epochs=1)
    for _ in fit(config, dataset, folder, threads=1, start=start):
        pass
    return json.loads((folder / CONFIG).read_text())
