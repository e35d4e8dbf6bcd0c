"""The record of `npsnn attack` in the run's folder, and the images that --save asks for."""

from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np

from npsnn.attacks.evaluation import Result
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.record import Record, name_of
from npsnn.cli.terminal import say
from npsnn.files import check_writable, write_atomic, writing
from npsnn.files.npz import write_npz


def check_save(path: Path) -> None:
    """Raise ValueError or OSError unless --save can write the file, before there is anything that could be lost."""
    with writing(path):
        taken = path.exists()
    if taken or not path.parent.is_dir():
        raise ValueError(f"--save must name a new file in a folder that exists, got {path}")
    check_writable(path)


class Kept:
    """Results on their way to the disk. The record is optional: where it cannot be written, a warning says so."""

    def __init__(self, folder: Path, about: dict[str, Any], save: Path | None) -> None:
        """folder: the run's; about: what all results were computed with; save: for the adversarial images."""
        self.record: Record | None = Record(folder, about)
        self.path = self.record.path
        self.save = save
        self.saved: dict[str, np.ndarray] = {}
        self.recorded = 0

    def result(self, r: Result, row: dict[str, Any]) -> None:
        """Keep one result, `row` as JSON."""
        if self.record:
            try:
                self.record.result(r, row)
                self.recorded += 1
            except OSError as error:
                self._give_up(error)
        if self.save:
            self.saved[name_of(r)] = r.x_adv

    def worst(self, r: Result, accuracy: Accuracy, row: dict[str, Any]) -> None:
        """Keep what the attacks of one ball leave together; r: one of them."""
        if self.record:
            try:
                self.record.worst(r, accuracy, row)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        say(f"warning: {error}; results are printed, but no longer recorded", err=True)
        self.record = None

    def write(self, labels: np.ndarray) -> None:
        """Write the images of --save; OSError, naming the file, where that fails."""
        if self.save and self.saved:
            buffer = BytesIO()
            write_npz(buffer, labels=labels, **self.saved)
            write_atomic(self.save, buffer.getvalue())
            click.echo(f"adversarial images: {self.save}", err=True)

    def in_words(self, results: int) -> str:
        """Say what an interrupt leaves of so many results."""
        if not self.recorded:
            return "no result was finished; start npsnn attack again"
        return f"{self.recorded} of {results} results are in {self.path}; start npsnn attack again for the others"
