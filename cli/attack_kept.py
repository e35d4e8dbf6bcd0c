"""The record of `npsnn attack` in the run's folder, what a resume needs, and the images that --save asks for."""

import shlex
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.attacks import kept as parts
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.record import Record, name_of
from npsnn.attacks.results import Result
from npsnn.cli import attack_resume
from npsnn.cli.attack_curve import Drawing
from npsnn.cli.terminal import say
from npsnn.files import check_writable, write_atomic, writing
from npsnn.files.npz import write_npz
from npsnn.runs.caveats import Caveat, of_rounding


def check_save(path: Path, unfinished: parts.Kept | None = None) -> None:
    """Raise ValueError or OSError unless --save can write the file, before there is anything that could be lost.

    unfinished: the parts of the command that goes on, which may have written some images to the file itself.
    """
    with writing(path):
        taken = path.exists() and not (unfinished and _is_ours(path, unfinished))
    if taken or not path.parent.is_dir():
        raise ValueError(f"--save must name a new file in a folder that exists, got {path}")
    check_writable(path)


def _is_ours(path: Path, unfinished: parts.Kept) -> bool:
    return path.is_file() and sha256(path.read_bytes()).hexdigest() in unfinished.says.get("saved", [])


class Kept:
    """Results on their way to the disk. The record is optional: where it cannot be written, a warning says so."""

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        save: Path | None,
        drawing: Drawing | None = None,
        unfinished: parts.Kept | None = None,
    ) -> None:
        """Note where results go.

        folder: the run's.
        about: what all results were computed with.
        save: for the adversarial images.
        drawing: the picture of --curve.
        unfinished: the parts of the command that goes on; None for a new one.
        """
        since = unfinished.says.get("record", 0) if unfinished else None
        self.record: Record | None = Record(folder, about, since)
        self.folder, self.path = folder, self.record.path
        self.save, self.drawing = save, drawing
        self.saved: dict[str, np.ndarray] = {}
        self.recorded = 0
        self.parts = unfinished or parts.Kept(attack_resume.new_file(folder))

    def begun(self, caveats: list[Caveat]) -> None:
        """The parts are those of this call: note its options with them.

        caveats: of all results, to which this adds what the parts have.
        """
        if attack_resume.OPTIONS not in self.parts.says:
            size = self.path.stat().st_size if self.path.is_file() else 0
            self.parts.say(**{attack_resume.OPTIONS: attack_resume.recorded(), "record": size})
        caveats += (found := of_rounding(self.parts.moved))
        if self.record and found:
            self.record.about |= {"caveats": [vars(caveat) for caveat in caveats]}

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
        if self.drawing:
            self.drawing.add(r)

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

    def finish(self, labels: np.ndarray, stopped: bool) -> None:
        """Write the images of --save and the picture of --curve, and drop the parts unless the command is to go on.

        Raises OSError, naming the file, where one of them cannot be written; the parts then stay.
        """
        try:
            self._write(labels)
            if self.drawing:
                self.drawing.write()
        except OSError as error:
            self.parts.close()
            raise OSError(f"{error}; {self._way}, with another --save or --curve") from error
        if stopped and any(self.parts.done.values()):
            self.parts.close()
        else:
            self.parts.clear()

    def _write(self, labels: np.ndarray) -> None:
        if self.save and self.saved:
            buffer = BytesIO()
            write_npz(buffer, labels=labels, **self.saved)
            # said before the file is there, so that it is known to be ours whenever the command is killed
            if self.save.exists() and not _is_ours(self.save, self.parts):
                raise OSError(f"cannot write {self.save}: another command has made it since this one began")
            digest = sha256(buffer.getvalue()).hexdigest()
            self.parts.say(saved=[*self.parts.says.get("saved", []), digest])
            write_atomic(self.save, buffer.getvalue())
            say(f"adversarial images: {self.save}", err=True)

    def in_words(self, results: int) -> str:
        """Say what an interrupt leaves of so many results."""
        images = sum(self.parts.done.values())
        if self.recorded:
            way = self._way if images else "start npsnn attack again for the others"
            return f"{self.recorded} of {results} results are in {self.path}; {way}"
        if images:
            return f"{images:,} images were attacked; {self._way}"
        return "no result was finished; start npsnn attack again"

    @property
    def _way(self) -> str:
        return f"go on with npsnn attack --resume {shlex.quote(str(self.folder))}"
