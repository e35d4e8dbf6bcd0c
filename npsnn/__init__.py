"""Neural networks that carry Gaussian noise: trained and attacked with hand-written gradients."""

import importlib
from typing import TYPE_CHECKING, Any

from npsnn._version import __version__ as __version__

__all__ = [
    "Classifier",
    "Stream",
    "attacks",
    "audit",
    "bounds",
    "certify",
    "data",
    "load_plugin",
    "models",
    "recipes",
    "reproduce",
    "seeing",
    "train",
]

_CLASSES = {"Classifier": "npsnn.classifier", "Stream": "npsnn.streams", "load_plugin": "npsnn.runs.plugins"}
_MODULES = {"recipes": "npsnn.train.recipes"}

if TYPE_CHECKING:
    from npsnn import attacks, audit, bounds, certify, data, models, reproduce, seeing, train
    from npsnn.classifier import Classifier
    from npsnn.runs.plugins import load_plugin
    from npsnn.streams import Stream
    from npsnn.train import recipes


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `npsnn --help` shall not wait for SciPy."""
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    if name in __all__:
        return importlib.import_module(_MODULES.get(name, f"npsnn.{name}"))
    raise AttributeError(f"module 'npsnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, beside the module's own."""
    return sorted({*globals(), *__all__})
