"""Few and always the same Hypothesis examples, each of which checks many gradient entries; and a GPU's double."""

from types import ModuleType
from typing import Any

import cupy_double
import numpy as np
import pytest
from hypothesis import settings

from npsnn.streams import Stream

settings.register_profile("npsnn", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("npsnn")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return cupy_double.install(monkeypatch)


@pytest.fixture
def same_draws(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's streams are other ones than NumPy's: here the double is given NumPy's."""
    draw = Stream._draw

    def drawn(self: Stream, like: Any, kind: str) -> Any:
        if not isinstance(like, cupy_double.ndarray):
            return draw(self, like, kind)
        return cupy.asarray(draw(self, np.empty(like.shape, like.dtype), kind))

    monkeypatch.setattr(Stream, "_draw", drawn)
