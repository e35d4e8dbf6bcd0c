"""Targets that compute image by image, so that no image's numbers depend on its batch, not even by rounding."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn.streams import Stream


@dataclass(frozen=True)
class Alone:
    """A target that hands its own one image at a time."""

    target: Any

    @property
    def passes(self) -> int:
        return int(self.target.passes)

    @property
    def random(self) -> bool:
        return bool(self.target.random)

    @property
    def certain(self) -> bool:
        return bool(self.target.certain)

    def looks(self, draws: int) -> int:
        return int(self.target.looks(draws))

    def ascending(self, objective: Any) -> "Alone":
        return replace(self, target=self.target.ascending(objective))

    def _each(self, ask: str, x: np.ndarray, labels: np.ndarray, *rest: Any) -> list[Any]:
        *between, stream = rest
        ones = [slice(n, n + 1) for n in range(len(x))]
        asked = getattr(self.target, ask)
        return [asked(x[s], labels[s], *between, stream.chosen([n])) for n, s in enumerate(ones)]

    def _joined(self, found: list[Any]) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, ...]:
        return self._joined(self._each("__call__", x, labels, stream))

    def looked(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, ...]:
        return self._joined(self._each("looked", x, labels, stream))

    def answers(self, x: np.ndarray, stream: Stream) -> np.ndarray:
        found = [self.target.answers(x[n : n + 1], stream.chosen([n])) for n in range(len(x))]
        return np.concatenate(found, axis=1)

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        return np.concatenate(self._each("value", x, labels, stream))

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        return np.concatenate(self._each("misread", x, labels, draws, stream))
