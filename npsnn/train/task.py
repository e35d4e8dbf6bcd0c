"""A training that is to be done, as a value: it begins in a run folder, or goes on there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npsnn import files
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.runs import checkpoint
from npsnn.train.config import Config
from npsnn.train.defences import Defence
from npsnn.train.epochs import Epoch, Step, TrainingError
from npsnn.train.loop import fit, resume
from npsnn.train.saved import Options

EXPECTED = (ValueError, OSError, TrainingError, MemoryError)
"""Errors of a training by itself: others go on."""


@dataclass(frozen=True)
class Place:
    """Where several trainings are kept, and what they compute with.

    folder: of all run folders.
    data_dir: folder of the data sets, None for the user's own.
    threads: threads of one training, None for all cores.
    device: "cpu", "cuda" or "cuda:N".
    """

    folder: Path
    data_dir: Path | None = None
    threads: int | None = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Task:
    """A network to train.

    name: a readable name.
    of: flat options, which name their data set, or a defence.
    dataset: the data set of a defence; empty for flat options, as are the following.
    seed: seed of a defence's training.
    limit: number of a defence's training images, None for all.
    conv: how a defence computes convolutions, "auto", "direct" or "winograd".
    micro_batch: images of a defence's batch that are computed at a time.
    Raises ValueError where flat options and these contradict.
    """

    name: str
    of: Config | Defence
    dataset: str = ""
    seed: int = 0
    limit: int | None = None
    conv: str = "auto"
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.of, Config):
            if (self.dataset, self.seed, self.limit, self.conv, self.micro_batch) != ("", 0, None, "auto", None):
                raise ValueError("flat options have a dataset, seed and limit of their own: give them there")
        elif not self.dataset:
            raise ValueError("dataset must be given beside a defence, got ''")

    @property
    def data(self) -> str:
        """The name of the data set."""
        return self.of.dataset if isinstance(self.of, Config) else self.dataset

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return self.of.epochs

    def options(self, dataset: Dataset) -> Options:
        """The options of the training on its data set, as its run holds them."""
        if isinstance(self.of, Config):
            return replace(self.of, dataset=dataset.name)
        training = self.of.training(dataset, self.seed, self.limit, self.conv)
        return replace(training, micro_batch=self.micro_batch)

    def records(
        self,
        folder: Path,
        dataset: Dataset,
        threads: int | None = None,
        device: str = "cpu",
        start: Classifier | None = None,
    ) -> Iterator[Step | Epoch]:
        """The records of the training, which begins in a folder, or goes on with what that holds.

        folder: run folder, new, empty, or with a training that was stopped.
        dataset: the data set.
        threads, device: as for `npsnn.train.fit`.
        start: the network to begin with, None for one that is drawn.
        Raises what `fit` and `resume` do.
        """
        if (folder / checkpoint.CONFIG).is_file():
            return resume(folder, dataset, threads, device)
        for path in folder.glob(".*") if folder.is_dir() else ():
            if files.TEMPORARY.fullmatch(path.name):  # of a process that was killed before it could write more
                path.unlink()
        recipe: Any = None if isinstance(self.of, Config) else self.of
        return fit(self.options(dataset), dataset, folder, threads, device, start, recipe=recipe)
