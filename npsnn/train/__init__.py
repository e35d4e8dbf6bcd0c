"""Training: one loop that yields records, prints nothing, and keeps its run folder ready to go on from.

for record in train.fit(train.Config(model="lenet5", sigma=0.6), data.load("digits"), "runs/mine"):
    print(record)
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Config", "Epoch", "Step", "TrainingError", "build", "fit", "resume", "split_validation"]

_HOMES = {"Config": "config", "Epoch": "epochs", "Step": "epochs", "TrainingError": "epochs"}

if TYPE_CHECKING:
    from npsnn.train.config import Config
    from npsnn.train.epochs import Epoch, Step, TrainingError
    from npsnn.train.loop import build, fit, resume, split_validation


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the options of a training need none of the attacks."""
    if name in __all__:
        return getattr(importlib.import_module(f"npsnn.train.{_HOMES.get(name, 'loop')}"), name)
    raise AttributeError(f"module 'npsnn.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, beside the module's own."""
    return sorted({*globals(), *__all__})
