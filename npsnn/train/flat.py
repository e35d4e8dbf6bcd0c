"""From the flat options of a training to the values that it is made of: the one place where names become values."""

from dataclasses import fields

from npsnn.optim import OPTIMIZERS, Optimizer
from npsnn.train.config import Config


def optimizer_of(config: Config) -> Optimizer:
    """The optimiser of that name, with those of its fields that are options as well."""
    kind = OPTIMIZERS[config.optimizer]
    options = {f.name for f in fields(config)}
    optimizer: Optimizer = kind(**{f.name: getattr(config, f.name) for f in fields(kind) if f.name in options})
    return optimizer
