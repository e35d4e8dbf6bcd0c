"""Networks as values: `replace(lenet5(), ...)` makes another network."""

from sys import modules

from npsnn.models.noise_paper import cnn5, lenet5  # before the others: a table keeps the order in which it was filled

# isort: split
from npsnn.layers.base import LAYERS
from npsnn.models.a2snn import lenetpp, resnet18, with_feature_noise
from npsnn.models.base import MODELS, Model, model, without_noise
from npsnn.models.centres import with_centres
from npsnn.models.mixing import with_mixing
from npsnn.models.named import NOISES, build, may_be_noisy
from npsnn.models.normalised import with_normalisation
from npsnn.tables import import_all

__all__ = [
    "LAYERS",
    "MODELS",
    "NOISES",
    "Model",
    "build",
    "cnn5",
    "lenet5",
    "lenetpp",
    "may_be_noisy",
    "model",
    "resnet18",
    "with_centres",
    "with_feature_noise",
    "with_mixing",
    "with_normalisation",
    "without_noise",
]

import_all(__name__, __path__)  # a new file here needs no line here

modules[f"{__name__}.model"] = modules[f"{__name__}.base"]  # where plugins of before import Model and model from
