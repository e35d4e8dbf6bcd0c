"""What a layer refuses to be made of, and the parameters it starts from."""

from typing import Any

import numpy as np
import pytest

from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Conv2d(4, 5), (3, 4, 9), r"Conv2d\(.*at least 5 pixels, got 4 x 9"),
        (Conv2d(4, 5, padding=1), (3, 9, 2), r"at least 3 pixels, got 9 x 2"),
        (Conv2d(4, 5), (7,), r"needs an image \(C, H, W\), got the shape \(7,\)"),
        (Flatten(), (7,), r"Flatten.*got the shape \(7,\)"),
        (Linear(4), (1, 2, 3), r"needs a vector, got the shape \(1, 2, 3\); put Flatten"),
        (MaxPool(3), (1, 5, 2), r"MaxPool\(size=3\).*at least 3 pixels.*got 5 x 2"),
        (MaxPool(0), (1, 5, 2), "a size >= 1"),
        (MaxPool(2), (5,), "needs an image"),
        (OverlappingMaxPool(3, 2), (1, 5, 2), r"OverlappingMaxPool\(size=3, .*at least 3 pixels, got 5 x 2"),
        (OverlappingMaxPool(3, 2, 2), (1, 5, 5), "padding from 0 to size // 2"),
        (OverlappingMaxPool(3, 0), (1, 5, 5), "a stride >= 1"),
        (OverlappingMaxPool(2, 1), (5,), "needs an image"),
        (MeanPool(2), (1, 1, 4), r"MeanPool\(size=2\).*got 1 x 4"),
        (MeanPool(2), (4,), "needs an image"),
        (Normalise((0.5,), (0.2,)), (3, 4, 4), "needs 3 means and 3 positive stds"),
        (Normalise((0.5,), (0.0,)), (1, 4, 4), "positive stds"),
        (Normalise((0.5,), (0.2,)), (4,), "needs an image"),
    ],
)
def test_init_says_what_does_not_fit(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.init(np.random.default_rng(0), shape)


@pytest.mark.parametrize("options", [(0, 3), (4, 0), (4, 3, 0), (4, 3, 1, -1)])
def test_impossible_convolutions(options: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be >= 1 and padding >= 0"):
        Conv2d(*options)


def test_a_matrix_needs_features() -> None:
    with pytest.raises(ValueError, match="features must be >= 1, got 0"):
        Linear(0)


@pytest.mark.parametrize("layer", [Conv2d(400, 5), Linear(2000)])
def test_initial_weights_are_he_normal(layer: Any) -> None:
    image = (4, 9, 9) if isinstance(layer, Conv2d) else (100,)
    params, _ = layer.init(np.random.default_rng(0), image)
    draws = params["w"].size
    assert abs(params["w"].mean()) < 5 * np.sqrt(2 / 100 / draws)
    assert abs(params["w"].var() * 100 / 2 - 1) < 5 * np.sqrt(2 / draws)
    assert (params["b"] == 0).all()
