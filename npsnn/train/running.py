"""A whole training in one call, for notebooks: it shows its progress and returns the network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.files.paths import user_path
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch
from npsnn.train.loop import fit
from npsnn.train.progress import Line
from npsnn.train.training import Training


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training made.

    network: with the parameters after the last epoch.
    epochs: the records of all epochs.
    folder: of the run, None where nothing was kept.
    """

    network: Classifier
    epochs: tuple[Epoch, ...]
    folder: Path | None

    def __repr__(self) -> str:
        last = self.epochs[-1]
        read = f"validation {last.validation_accuracy:.1%}, {last.noisy_validation_accuracy:.1%} noisy"
        where = "not kept" if self.folder is None else f"in {self.folder}"
        return f"<Trained {self.network.model.name}, {len(self.epochs)} epochs, {read}, {where}>"


def run(
    training: Training | Config,
    dataset: Dataset,
    folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Trained:
    """Train a network to the end, with one line of progress that is rewritten.

    training: what makes the network, or the flat options of the command line.
    dataset: data set to train and to validate on.
    folder: run folder, new or empty; None to keep nothing but what is returned.
    threads: number of threads or processes, None for all cores; the result does not depend on it.
    device: "cpu", "cuda" or "cuda:N".
    progress: whether to show it, on standard error or in the notebook's output.
    Raises as `fit`. An interrupt (the stop button of a notebook) leaves the whole epochs in the folder, for `resume`.
    """
    with _place(folder) as place:
        line, epochs = Line(training.epochs) if progress else None, list[Epoch]()
        try:
            for record in fit(training, dataset, place, threads, device):
                if isinstance(record, Epoch):
                    epochs.append(record)
                if line:
                    line.show(record)
        except KeyboardInterrupt as stop:
            if folder is not None:
                stop.add_note(f"go on with train.resume({os.fspath(folder)!r}, dataset)")
            raise
        finally:
            if line:
                line.end()
        network = replace(Classifier.load(place), threads=threads).to(device)
    return Trained(network, tuple(epochs), None if folder is None else place)


@contextmanager
def _place(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The run folder, or one that is removed after the block."""
    if folder is not None:
        yield user_path(folder)
        return
    with TemporaryDirectory() as place:
        yield Path(place)
