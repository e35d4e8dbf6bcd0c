"""A network with the parameters of noisy weights, for what looks at parameters alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from npsnn.layers.affine import Linear
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import Role
from npsnn.layers.reshape import Flatten
from npsnn.models import Model


@dataclass(frozen=True)
class Free(NoiseLayer):
    """The parameters of a dense layer with noisy weights of the spread "free", and nothing else of it."""

    features: int
    bias: bool = True
    random: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, Role]] = {"rho": Role.NOISE, "rho_b": Role.NOISE, "b": Role.BIAS}

    def init(self, rng: np.random.Generator, shape: Any) -> Any:
        own, out = Linear(self.features).init(rng, shape)
        own |= {"rho": np.full(own["w"].shape, -2.0, np.float32), "rho_b": np.full(own["b"].shape, -2.0, np.float32)}
        return (own if self.bias else {k: p for k, p in own.items() if k not in ("b", "rho_b")}), out

    def forward(self, *arguments: Any) -> Any: ...
    def level(self, *arguments: Any) -> Any: ...
    def slope(self, *arguments: Any) -> Any: ...
    def at_level(self, *arguments: Any) -> Any: ...


def bayesian() -> Model:
    body: Any = (("fc", Free(6)),)
    layers: Any = (
        ("flatten", Flatten()),
        ("fc1", Free(6, bias=False)),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("fc2", Linear(5)),
        ("fc3", Free(3)),
    )
    return Model("bayesian", Sequential(layers), (1, 2, 2), 3)
