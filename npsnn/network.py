"""Layers in sequence, and parameters as a flat dictionary."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from npsnn.backend import Array
from npsnn.layers import Backward, Layer, Params, Shape, Want
from npsnn.moments import Moments, Noise


@dataclass(frozen=True)
class Sequential:
    """Named layers, one after the other; the parameters of the layer "conv1" are params["conv1"]."""

    layers: tuple[tuple[str, Layer], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.layers]
        if len(set(names)) < len(names) or any(not name or "." in name for name in names):
            raise ValueError(f"layers must have different names, without a dot, got {', '.join(names)}")

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        params: Params = {}
        for name, layer in self.layers:
            params[name], shape = layer.init(rng, shape)
        return {name: p for name, p in params.items() if p}, shape

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        steps: list[tuple[str, Backward]] = []
        for name, layer in self.layers:
            m, back = layer.forward(params.get(name, {}), m, noise.at(name))
            steps.append((name, back))
        first = next((i for i, (name, _) in enumerate(steps) if name in params), len(steps))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads: Params = {}
            cotangent: Moments | None = g
            above = want | Want.INPUT
            for i in range(len(steps) - 1, -1 if Want.INPUT in want else first - 1, -1):
                name, back = steps[i]
                cotangent, found = back(_known(cotangent), above if i > first else want)
                if found:
                    grads[name] = found
            return cotangent if Want.INPUT in want else None, grads

        return m, backward


def _known(g: Moments | None) -> Moments:
    assert g is not None, "a layer above the first parameters returned no input cotangent"
    return g


def flatten(params: Params, prefix: str = "") -> dict[str, Array]:
    """{"conv1": {"w": ...}} -> {"conv1.w": ...}."""
    flat: dict[str, Array] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def unflatten(flat: Mapping[str, Array] | Iterable[tuple[str, Array]]) -> Params:
    """{"conv1.w": ...} -> {"conv1": {"w": ...}}."""
    params: Params = {}
    for name, value in dict(flat).items():
        *path, last = name.split(".")
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return params
