"""A program for several ranks: `mpiexec -n 3 python rank_program.py FOLDER` trains into it, and meets errors.

One process trains the same by `trained`.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from small_networks import normalised

from npsnn import attacks, models, train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.params import Role
from npsnn.optim import Arrays
from npsnn.train import continuity
from npsnn.train.training import Training
from npsnn.workers import ranks
from npsnn.workers.base import gathered

LABELS = np.arange(101) % 10
IMAGES = digits.draw(LABELS, np.random.default_rng(0))
DATA = Dataset("digits", Split(IMAGES, LABELS), Split(IMAGES[:20], LABELS[:20]), 10, {})
"""93 images to train on: batches of 40, 40 and 13."""
LENET = replace(models.lenet5(sigma=0.6), micro_batch=8)
TRAININGS = {
    "lenet5": Training(LENET, trains=Role.ALL, epochs=2, batch_size=40),
    "normalised": Training(normalised(16), train.CrossEntropy(), epochs=2, batch_size=40),
}
"""The last batch of `normalised` is one micro-batch, so that all ranks but one have no part of it."""


def here(rank: int) -> bool:
    """Whether this is that rank, by the launcher's variable."""
    variables = (os.environ.get(name) for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"))
    return next((number for number in variables if number), "0") == str(rank)


@dataclass(frozen=True)
class Failing(train.CrossEntropy):
    """A loss that fails on one rank."""

    rank: int = 1

    def gradient(self, *arguments: Any) -> train.Total:
        if here(self.rank):
            raise ValueError("the loss has no gradient here")
        return super().gradient(*arguments)


@dataclass(frozen=True)
class Jamming(train.SGD):
    """An optimiser that fails on one rank, where nobody meets."""

    rank: int = 1

    def update(self, *arguments: Any) -> tuple[Arrays, Arrays]:
        if here(self.rank):
            raise ArithmeticError("the update jams")
        return super().update(*arguments)


def elsewhere(job: int) -> int:
    """A job that fails on any other rank than the first, which leaves the others time to take one."""
    if not here(0):
        raise ValueError(f"job {job} fails here")
    time.sleep(0.1)
    return job


def erring() -> Iterator[tuple[str, Training]]:
    for rank in (0, 1):
        for name, training in TRAININGS.items():
            yield f"{name} {rank}", replace(training, loss=Failing(rank=rank))
        yield f"update {rank}", replace(TRAININGS["lenet5"], optimizer=Jamming(rank=rank))


def trained(folder: Path) -> dict[str, bytes]:
    """The checkpoints of all trainings, and what attacks leave of the first network."""
    found = dict[str, bytes]()
    for name, training in TRAININGS.items():
        for _ in train.fit(training, DATA, folder / name, threads=1):
            pass
        found |= {f"{name} {file}": (folder / name / file).read_bytes() for file in ("last.npz", "best.npz")}
    network = replace(Classifier.load(folder / "lenet5"), threads=1)
    pgd = attacks.PGD(0.1, steps=2, source=attacks.EoT(2))
    for result in attacks.robust_accuracy(network, IMAGES, LABELS, [pgd], attacks.Judging(draws=2)):
        found["x_adv"], found["each"] = result.x_adv.tobytes(), result.accuracy.each.tobytes()
    return found


def errors() -> dict[str, str]:
    """What is said of each training that fails."""
    said = dict[str, str]()
    for name, training in erring():
        try:
            for _ in train.fit(training, DATA, threads=1):
                pass
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}: {getattr(error, 'place', '')}"
    with ranks.workers(1, 0.0) as workers:
        try:
            gathered(workers, elsewhere, 12)
        except ValueError as error:
            said["job"] = f"{error}: {getattr(error, 'place', '')}"
        said["jobs"] = str(gathered(workers, abs, 12))
    return said


def main(folder: Path) -> None:
    ranks.lead()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        said = errors()
        records = train.fit(TRAININGS["lenet5"], DATA, threads=1)
        next(records)
        records.close()  # type: ignore[attr-defined]
        found = trained(folder)
    for name in ("x_adv", "each"):
        (folder / f"{name}.bin").write_bytes(found[name])
    said["canary"] = "; ".join({str(one.message) for one in told})
    (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    if os.environ.get("TEST_CANARY"):
        continuity.canary = lambda *arguments: os.environ["PMI_RANK"]
    main(Path(sys.argv[1]))
