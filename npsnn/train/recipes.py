"""The ablation of A2SNN as options of a training: what Tables 5 and 7 and Appendix B of the paper say, as data."""

from typing import Any

from npsnn.tables import named
from npsnn.train.authors import COMMITS
from npsnn.train.config import AUTHORS, Config
from npsnn.words import nearest

FULL, DIAGONAL = "full", "diagonal"

VARIANTS: dict[str, tuple[str, bool, bool]] = {
    "a2snn-m1": (DIAGONAL, True, False),
    "a2snn-m2": (DIAGONAL, False, True),
    "a2snn-m3": (FULL, True, False),
    "a2snn-m4": (FULL, False, True),
    "a2snn-m5": (FULL, True, True),
}
"""Covariance, max-entropy, weight-covariance alignment (A2SNN Table 5; its isotropic is diagonal, audit A7)."""

LAMBDAS = {"cifar10": (0.1, 1.0), "svhn": (0.05, 0.5), "fashion-mnist": (0.1, 0.5)}
"""lambda1 and lambda2 by data set (A2SNN Table 7, audit A31)."""

SCHEDULES = {
    "cifar10": ("resnet18", 1e-2, 200),
    "svhn": ("resnet18", 1e-2, 200),
    "fashion-mnist": ("lenetpp", 1e-3, 100),
}
"""Backbone, learning rate and epochs by data set (A2SNN Sec. 4.1, App. B)."""

LIKE = "fashion-mnist"
"""Whose values the data sets take that the paper does not have."""

RECIPES = ("a2snn-m0", *VARIANTS)


def recipe(name: str, dataset: str, authors: str | None = None) -> dict[str, Any]:
    """The options that a model of A2SNN's Table 5 sets on a data set; "a2snn-m0" is the one without defence.

    authors: commit whose code is followed where it departs from the paper, one of `npsnn.train.authors.COMMITS`, which
        are of full covariances alone (audit B1 to B7, B13); None for the paper.

    Unstated in the paper and chosen here: SGD's momentum 0.9, the noise's start sigma = 1, one draw an example, the
    projection of the class vectors where the alignment is (m2, m4, m5), cropping and mirroring for colour images.
    Raises ValueError for an unknown recipe or commit.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}, expected one of {', '.join(RECIPES)}{nearest(name, RECIPES)}")
    model, lr, epochs = SCHEDULES.get(dataset, SCHEDULES[LIKE])
    options: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "noise": "features",
        "sigma": 0.0,
        "loss": "cross-entropy",
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": lr,
        "epochs": epochs,
        "batch_size": 128,
        "augmentation": "crop-flip" if dataset == "cifar10" else "none",
    }
    if name not in VARIANTS:
        return options
    covariance, entropy, aligned = VARIANTS[name]
    code = None if authors is None else named(COMMITS, authors, "commit")
    lambda1, lambda2 = (code and code.lambdas) or LAMBDAS.get(dataset, LAMBDAS[LIKE])
    options |= {
        "covariance": covariance,
        "sigma": 1.0,
        # the paper has no cap: this one only keeps single precision in its range
        "sigma_max": 1e3,
        "learn_sigma": True,
        "propagation": "sampled",
        "max_entropy": lambda1 * entropy,
        "alignment": lambda2 * aligned,
        "unit_classes": aligned,
    }
    return options | code.recipe if code else options


def config(name: str, dataset: str, **given: Any) -> Config:
    """A training by a recipe, with other options where they are given; ValueError as `recipe` and `Config` raise it."""
    return Config(**recipe(name, dataset, given.get(AUTHORS)) | given | {"dataset": dataset})
