"""A trainer of a given network by flat options, as the tests of steps and epochs want it."""

from dataclasses import replace

from npsnn.data import Split
from npsnn.models import Model
from npsnn.train.config import Config
from npsnn.train.epochs import Trainer
from npsnn.train.flat import training_of
from npsnn.workers.base import Workers


def trainer_of(
    config: Config, model: Model, train: Split, validation: Split, workers: Workers, device: str = "cpu"
) -> Trainer:
    """A trainer by the options, which trains `model` whatever they say of the network."""
    training = replace(training_of(config, model.shape, model.classes), model=model)
    return Trainer(training, train, validation, workers, device)
