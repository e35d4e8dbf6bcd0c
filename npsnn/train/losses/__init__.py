"""Losses: values in a table, each asked for the gradient of a part of a batch."""

# before the others: a table keeps the order in which it was filled
from npsnn.train.losses.objectives import MSE, CrossEntropy, ExpectedCrossEntropy, NoiseAware

# isort: split
from npsnn.tables import import_all
from npsnn.train.losses.adversarial import Adversarial
from npsnn.train.losses.base import LOSSES, Loss, Total, View, loss, one_view, plain, total, view, weighted
from npsnn.train.losses.bpfc import BPFC
from npsnn.train.losses.clean_and_attacked import CleanAndAttacked
from npsnn.train.losses.mart import MART
from npsnn.train.losses.mixup import Mixup
from npsnn.train.losses.pcl import PCL
from npsnn.train.losses.rlflat import RLFLAT
from npsnn.train.losses.trades import TRADES

__all__ = [
    "BPFC",
    "LOSSES",
    "MART",
    "MSE",
    "PCL",
    "RLFLAT",
    "TRADES",
    "Adversarial",
    "CleanAndAttacked",
    "CrossEntropy",
    "ExpectedCrossEntropy",
    "Loss",
    "Mixup",
    "NoiseAware",
    "Total",
    "View",
    "loss",
    "one_view",
    "plain",
    "total",
    "view",
    "weighted",
]

import_all(__name__, __path__)  # a new file here needs no line here
