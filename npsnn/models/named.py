"""Networks by name."""

from npsnn.layers.base import Shape
from npsnn.models.a2snn import with_feature_noise
from npsnn.models.base import MODELS, Model, without_noise
from npsnn.validate import check_choice

__all__ = ["MODELS", "NOISES", "build", "may_be_noisy"]

NOISES = ("preactivation", "features", "none")


def may_be_noisy(name: str) -> bool:
    """Whether the named model may have noise of its own; it has none where it takes no sigma but 0.

    name: name in the table `MODELS`.
    A model that cannot be made without the shape of its images counts as noisy.
    """
    try:
        return MODELS.named(name)(sigma=1.0).noisy
    except TypeError:
        return True
    except ValueError:
        return False


def build(
    name: str,
    shape: Shape,
    classes: int,
    sigma: float,
    noise: str = "preactivation",
    covariance: str = "full",
    bottleneck: int = 32,
) -> Model:
    """A model by its name.

    name: name in the table `MODELS`.
    shape: one image, (C, H, W).
    classes: number of classes.
    sigma: standard deviation of the noise.
    noise: "preactivation" for the model's own noise, "features" for the noise of A2SNN, "none" for no noise.
    covariance: form of the noise on features, one of `npsnn.layers.noise.COVARIANCES`.
    bottleneck: number of features that get noise.
    Raises ValueError for an unknown name, naming the choices, and for a sigma that has no place in the model.
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
