"""A network with noise on weights of the spread "free", beside layers without noise."""

from typing import Any

from npsnn.layers.affine import Linear
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.reshape import Flatten
from npsnn.models import Model


def bayesian() -> Model:
    """Free weights in a convolution without a bias, in a block and at the end, relative ones between."""
    body: Any = (("fc", NoisyLinear(8, spread="free", start=0.1)),)
    layers: Any = (
        ("conv", NoisyConv2d(2, 1, bias=False, spread="free", start=0.2)),
        ("flatten", Flatten()),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("relative", NoisyLinear(4)),
        ("fc2", Linear(5)),
        ("fc3", NoisyLinear(3, spread="free", start=0.1)),
    )
    return Model("bayesian", Sequential(layers), (1, 2, 2), 3)
