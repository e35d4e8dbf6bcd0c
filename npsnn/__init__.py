"""Neural networks that carry Gaussian noise: trained and attacked with hand-written gradients."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Classifier", "attacks", "audit", "bounds", "data", "models", "recipes", "train"]

if TYPE_CHECKING:
    from npsnn import attacks, audit, bounds, data, models, recipes, train
    from npsnn.classifier import Classifier


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `npsnn --help` shall not wait for SciPy."""
    if name == "Classifier":
        return importlib.import_module("npsnn.classifier").Classifier
    if name in __all__:
        return importlib.import_module(f"npsnn.{name}")
    raise AttributeError(f"module 'npsnn' has no attribute {name!r}")
