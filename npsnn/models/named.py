"""Networks by name."""

from npsnn.layers.base import Shape
from npsnn.models.a2snn import with_feature_noise
from npsnn.models.model import MODELS, Model, without_noise
from npsnn.validate import check_choice

__all__ = ["MODELS", "NOISES", "NOISY", "build"]

NOISY = ("lenet5", "cnn5")
"""The models with noise of their own, on the first pre-activation."""

NOISES = ("preactivation", "features", "none")


def build(
    name: str,
    shape: Shape,
    classes: int,
    sigma: float,
    noise: str = "preactivation",
    covariance: str = "full",
    bottleneck: int = 32,
) -> Model:
    """The named model for images of `shape`, with its own noise, for "features" with that of A2SNN, or with none.

    Raises ValueError for an unknown name, naming the choices.
    """
    MODELS.named(name)
    check_choice("noise", noise, NOISES)
    if noise == "preactivation":
        return MODELS[name](shape, classes, sigma)
    if noise == "none":
        return without_noise(MODELS[name](shape, classes))
    return with_feature_noise(MODELS[name](shape, classes), sigma, covariance, bottleneck)
