"""Networks as values: `replace(lenet5(), ...)` makes another."""

from npsnn.models.a2snn import lenetpp, resnet18, with_feature_noise
from npsnn.models.model import LAYERS, Model, without_noise
from npsnn.models.named import MODELS, NOISES, NOISY, build
from npsnn.models.noise_paper import cnn5, lenet5

__all__ = [
    "LAYERS",
    "MODELS",
    "NOISES",
    "NOISY",
    "Model",
    "build",
    "cnn5",
    "lenet5",
    "lenetpp",
    "resnet18",
    "with_feature_noise",
    "without_noise",
]
