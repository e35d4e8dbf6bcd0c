"""The record of attacks in a run's folder: a line for each result, and the figures of its images beside it."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.attacks.base import ATTACKS
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.kept import exact, named
from npsnn.attacks.results import Result
from npsnn.files import journal, write_atomic
from npsnn.files.npz import write_npz

LINES = "attacks.jsonl"
IMAGES = "attacks"
"""The folder of the images' figures."""


def name_of(r: Result) -> str:
    """A name for a result that tells it from all others of its plan: fgsm-linf-0.1, cw-kappa-0.5-l2-inf."""
    return named(r.attack, r.says, r.norm, r.eps)


def attack_in(line: dict[str, Any]) -> Any:
    """The attack that a line of the record is about, None for a worst case; ValueError for one that is in no table."""
    return ATTACKS.decode(line["attack"]) if "attack" in line else None


class Record:
    """The record of one plan on one run, written a result at a time.

    A line holds all that its result was computed with: {**about, "attack": {"type": "PGD", "eps": 0.1, ...}, "result":
    {...}, "images": "attacks/NAME.npz"}, or "worst_case" instead of "attack" and "result".
    """

    def __init__(self, folder: Path, about: dict[str, Any], since: int | None = None) -> None:
        """Note where the record is.

        folder: the run's.
        about: what all lines have in common.
        since: the bytes that the record had when the command began that now goes on. A result that a line after them
            has already is not written again. None for a new command.
        """
        self.folder, self.about = folder, about
        self._there = [] if since is None else [_lasting(line) for line in journal.read(self.path, since)]

    @property
    def path(self) -> Path:
        return self.folder / LINES

    def result(self, r: Result, row: dict[str, Any]) -> None:
        """Keep one result, `row` as JSON; OSError, naming the file, where it cannot be written.

        Raises ValueError for an attack that is in no table.
        """
        self._keep({"attack": ATTACKS.encode(r.by), "result": row}, name_of(r), r.images)

    def worst(self, r: Result, accuracy: Accuracy, row: dict[str, Any]) -> None:
        """Keep what the attacks of one ball leave together; r: one of them. OSError as above."""
        self._keep({"worst_case": row}, f"worst-{r.norm}-{exact(r.eps)}", {"right": accuracy.each})

    def _keep(self, what: dict[str, Any], name: str, images: dict[str, np.ndarray]) -> None:
        buffer = BytesIO()
        write_npz(buffer, **images)
        content = buffer.getvalue()
        file = f"{IMAGES}/{name}-{hashlib.sha256(content).hexdigest()[:12]}.npz"
        line = what | {"images": file}
        # as a reader has it: tuples are lists there
        if (known := _lasting(json.loads(json.dumps(line)))) in self._there:
            self._there.remove(known)
            return
        write_atomic(self.folder / file, content)
        journal.append(self.path, self.about | line)


def _lasting(line: dict[str, Any]) -> dict[str, Any]:
    """What of a line tells one result from another: not how long it took, nor on which machine."""
    own: dict[str, Any] = {name: line[name] for name in ("attack", "result", "worst_case", "images") if name in line}
    if isinstance(own.get("result"), dict):
        own["result"] = {name: value for name, value in own["result"].items() if name != "seconds"}
    return own
