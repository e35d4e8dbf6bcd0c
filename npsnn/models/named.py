"""Networks by name."""

from npsnn.layers.base import Shape
from npsnn.models.a2snn import with_feature_noise
from npsnn.models.model import MODELS, Model, without_noise
from npsnn.validate import check_choice

__all__ = ["MODELS", "NOISELESS", "NOISES", "build"]

NOISELESS = ("lenetpp", "lenetpp-authors", "resnet18")
"""The models without noise of their own: their noise can only be on features."""

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
        model = MODELS[name](shape, classes, sigma)
        if sigma and not model.noisy:
            raise ValueError(f"noise must be features or none for {name}, which has no noise layer, got {noise}")
        return model
    if noise == "none":
        return without_noise(MODELS[name](shape, classes))
    return with_feature_noise(MODELS[name](shape, classes), sigma, covariance, bottleneck)
