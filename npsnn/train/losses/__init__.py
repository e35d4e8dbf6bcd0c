"""Losses: values in a table, each asked for the gradient of a part of a batch."""

from npsnn.tables import import_all
from npsnn.train.losses.adversarial import Adversarial
from npsnn.train.losses.base import LOSSES, Loss, Total, View, loss, one_view, plain, total, view
from npsnn.train.losses.objectives import MSE, CrossEntropy, ExpectedCrossEntropy, NoiseAware

__all__ = [
    "LOSSES",
    "MSE",
    "Adversarial",
    "CrossEntropy",
    "ExpectedCrossEntropy",
    "Loss",
    "NoiseAware",
    "Total",
    "View",
    "loss",
    "one_view",
    "plain",
    "total",
    "view",
]

import_all(__name__, __path__)  # a new file here needs no line here
