"""What ranks should send in a training, by the formula: what `scripts/run hosts` compares its counters with."""

import pickle
from dataclasses import dataclass
from pathlib import Path

from scaling_content import Content
from scaling_dry_run import Step
from scaling_dry_run import formula as of_gradients

from npsnn import data
from npsnn.train.epochs import Trainer
from npsnn.train.loop import split_validation, training_on
from npsnn.train.saved import dataset_of, read_training
from npsnn.workers.exchange import block
from npsnn.workers.threads import Threads
from npsnn.workers.unit import CPU


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
    content = Content.of(training)
    with Threads(1) as local:
        state = Trainer(training, train, validation, local, "cpu").initial()
    once = len(pickle.dumps((training, train, validation, state, [1] * size, CPU), 5)) * (size - 1)
    parts = -(-training.batch_size // training.model.micro_batch)
    gradients = [of_gradients(content, len(block(parts, rank, size)), size) for rank in range(size)]
    return Formula(gradients, Step.of(content, parts, size).met.sent.mean(), once, steps)
