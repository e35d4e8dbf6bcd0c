"""What ranks should send in a training, by the formula: what `scripts/run hosts` compares its counters with."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npsnn import data
from npsnn.layers.params import flatten
from npsnn.train.epochs import Trainer
from npsnn.train.loop import split_validation, training_on
from npsnn.train.replicas import Replicas
from npsnn.train.saved import dataset_of, read_training
from npsnn.workers.exchange import block, letter
from npsnn.workers.threads import Threads


@dataclass
class Dry:
    """The ranks as one of them sees them, where nothing is sent: all but rank 0 say what this one says.

    rank, size: of this rank among how many.
    first: what rank 0 says, in order; rank 0 comes first.
    said: bytes that this rank has said in all meetings, as pickles.
    sums: bytes of gradients that this rank has sent to be added up: (m + 1) P (R - 1)/R for its m rows of P bytes.
    """

    rank: int
    size: int
    first: list[Any]
    turn: int = field(default=0)
    said: int = field(default=0)
    sums: float = field(default=0.0)

    def block(self, jobs: int, rank: int | None = None) -> range:
        return block(jobs, self.rank if rank is None else rank, self.size)

    def gathered(self, value: Any) -> list[Any]:
        self.said += len(letter(value)) + 8  # and its length
        if self.rank == 0:
            self.first.append(pickle.loads(letter(value)))  # its lists are filled again
        self.turn += 1
        return [self.first[self.turn - 1], *[value] * (self.size - 1)]

    def summed(self, rows: np.ndarray, jobs: int) -> np.ndarray:
        m, numbers = rows.shape
        self.sums += (m + 1) * numbers * rows.itemsize * (self.size - 1) / self.size
        return rows.sum(axis=0)


@dataclass(frozen=True)
class Formula:
    """What each rank sends, in bytes.

    gradients: of a step, of each rank.
    meetings: what all say in the meetings of a step, to all others, as a mean over the ranks, which pass it on.
    once: what rank 0 sends when the training begins: the training, the images and the state, to every other rank.
    steps: of an epoch.
    """

    gradients: list[float]
    meetings: float
    once: int
    steps: int


def formula(run: Path, size: int) -> Formula:
    """The formula for a run whose batches are all of one size.

    run: folder of a run that one process has trained.
    size: number of ranks.
    """
    about, options = read_training(run)
    dataset = data.load(dataset_of(about))
    training = training_on(options, dataset)
    train, validation = split_validation(dataset.train, training.seed, training.limit)
    steps, odd = divmod(len(train), training.batch_size)
    if odd:
        raise ValueError(f"the formula is for batches of one size, and {len(train)} images leave a batch of {odd}")
    with Threads(1) as local:
        trainer = Trainer(training, train, validation, local, "cpu")
        state, statistics = trainer.initial(), trainer.statistics
        each = [1] * size
        once = len(pickle.dumps((training, train, validation, state, each), 5)) * (size - 1)
        first: list[Any] = []
        crews = [Dry(rank, size, first) for rank in range(size)]
        for crew in crews:
            workers: Any = Replicas(crew, local, statistics)  # type: ignore[arg-type]
            own = Trainer(training, train, validation, workers, "cpu")
            own.gradient(flatten(state.params), np.arange(training.batch_size))
    meetings = sum(crew.said for crew in crews) * (size - 1) / size
    return Formula([crew.sums for crew in crews], meetings, once, steps)
