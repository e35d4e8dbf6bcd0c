"""The folder of a training: what it writes after each epoch, and what it goes on from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.backend import to_host
from npsnn.files import json_files
from npsnn.interrupts import uninterrupted
from npsnn.optim import OPTIMIZERS
from npsnn.runs import checkpoint
from npsnn.runs.networks import load_params
from npsnn.train import continuity, saved
from npsnn.train.epochs import Epoch, State
from npsnn.train.training import Training


@dataclass
class RunFolder:
    """The folder of a run; document: its config.json, records: its metrics.jsonl."""

    folder: Path
    document: dict[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """A block that writes the first checkpoint; where it cannot, no folder is left that would take the name."""
        try:
            yield
        except BaseException:
            if not (self.folder / checkpoint.LAST).exists():
                with suppress(OSError):
                    (self.folder / checkpoint.CONFIG).unlink()
                    (self.folder / checkpoint.METRICS).unlink(missing_ok=True)
                    self.folder.rmdir()
            raise

    def save(self, state: State, done: Epoch | None = None, is_best: bool = False) -> None:
        """Write best.npz, metrics.jsonl and last.npz, in this order: what is lost by a kill between is made again.

        done: the epoch that has led to the state. An interrupt comes after the last of them. Raises OSError, naming the
        file, where one cannot be written, or the folder is no longer there.
        """
        folder = self.folder
        self._check_there()
        self.records = self.records[: max(0, state.epoch - 1)] + ([asdict(done)] if done else [])
        params = checkpoint.with_prefix("params", {k: to_host(p) for k, p in state.params.items()})
        moments = checkpoint.with_prefix("optimizer", {k: to_host(p) for k, p in state.optimizer.items()})
        about = {"epoch": state.epoch, "steps": state.steps, "best": state.best}
        with uninterrupted():
            if is_best:
                checkpoint.save_arrays(folder / checkpoint.BEST, params, about)
            json_files.write_lines(folder / checkpoint.METRICS, self.records)
            about |= continuity.bound(self.document, self.records)
            checkpoint.save_arrays(folder / checkpoint.LAST, params | moments, about)

    def _check_there(self) -> None:
        """Raise unless the folder is still this run's: another may have taken its path, and would be overwritten."""
        config = self.folder / checkpoint.CONFIG
        if not config.is_file():
            raise FileNotFoundError(
                f"{self.folder} was removed, or its {checkpoint.CONFIG} was, in the midst of the training"
            )
        now, own = (json.dumps(about, sort_keys=True) for about in (saved.read_run(self.folder)[0], self.document))
        if now != own:  # an option that the run's version did not have is at its default in both
            raise FileExistsError(f"{self.folder} holds another run than the one in training")

    def load(self, training: Training) -> State:
        """The state that `save` wrote.

        Raises ValueError where it is damaged, another model's, or does not belong to the other files.
        """
        path = self.folder / checkpoint.LAST
        params, arrays, about = load_params(path, training.model, ("params/", "optimizer/"))
        moments = checkpoint.without_prefix("optimizer", arrays)
        expected, rule = training.optimizer.init(params), OPTIMIZERS.name_of(training.optimizer)
        odd = moments.keys() ^ expected.keys()
        both = moments.keys() & expected.keys()
        odd |= {k for k in both if moments[k].shape != expected[k].shape or moments[k].dtype != expected[k].dtype}
        if odd:
            what = ", ".join(sorted(odd))
            raise ValueError(f"{path} does not fit {rule}, it differs in {what}: no checkpoint to go on from")
        for name, moment in moments.items():
            if np.isnan(moment).any():  # an infinity of squares a training can have, and go on
                raise ValueError(f"{path}: {name} of {rule} holds a NaN")
        epoch, steps, best = _counts(path, about)
        continuity.check_files(self.folder, self.document, self.records, about)
        return State(params, moments, epoch, steps, best)


def _counts(path: Path, about: dict[str, Any]) -> tuple[int, int, float]:
    """The epochs and steps that a checkpoint has had, and the best validation accuracy; -1 before the first."""
    found = epoch, steps, best = about.get("epoch"), about.get("steps"), about.get("best")
    if type(epoch) is int and type(steps) is int and type(best) is float:  # noqa: SIM102
        if 0 <= epoch < 2**53 and 0 <= steps < 2**53 and -1 <= best <= 1:
            return epoch, steps, best
    raise ValueError(f"{path}: epoch, steps and best must be two counts and an accuracy, got {found}")
