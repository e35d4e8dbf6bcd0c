"""A reproduction of a few seconds: networks of one epoch on digits, and figures made up for panels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.attacks import PGD, Auto
from npsnn.attacks.judging import Judging
from npsnn.jobs.executors import Serial
from npsnn.jobs.schedule import Event
from npsnn.reproduce.jobs import Attack, Job, Train
from npsnn.reproduce.panels import PERCENT, Panel
from npsnn.reproduce.perform import Place, perform_all
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.scales import QUICK, Scale, Setting
from npsnn.train import defences
from npsnn.train.config import Config

DIGITS = Setting("digits", "lenet5", epochs=1, images=8, limit=64, batch_size=16)


def tiny(**changes: Any) -> Scale:
    """The quick scale on 64 training images and 8 test images."""
    return replace(QUICK, settings=dict.fromkeys(QUICK.settings, DIGITS), steps=2, queries=4, draws=2, eot=2, **changes)


def network(sigma: float = 0.6, seed: int = 0, **options: Any) -> Train:
    """A small training."""
    given = {"dataset": "digits", "epochs": 1, "limit": 64, "batch_size": 16} | options
    return Train(f"sigma-{sigma:g}", Config(sigma=sigma, seed=seed, **given))


def defended(**settings: Any) -> Train:
    """A small training of a defence."""
    return Train("trades", defences.on("trades", "digits", epochs=1, steps=1, **settings), "digits", 0, 64)


def attacked(of: Train | None = None, **judging: Any) -> Attack:
    """Two columns of attacks on a small network."""
    group = Auto(0.1, steps=2, fab_steps=2, queries=4, gradient_draws=2)
    judged = Judging(**{"draws": 2, "selection": 2, **judging})
    return Attack(of or network(), (("pgd", PGD(0.1, steps=2)), ("auto", group)), 8, judged)


def run_all(jobs: Sequence[Job], folder: Path) -> list[Event[Job]]:
    """What becomes of the jobs, in this process."""
    return list(perform_all(jobs, Place(folder), Serial()))


def lasting(folder: Path) -> dict[str, Any]:
    """What must be the same of all records in a folder, by key."""
    records: Records = Place(folder).records
    return {key: records[key].lasting() for key in records}


def panel(
    means: Mapping[tuple[str, str], Sequence[float]],
    theirs: Mapping[tuple[str, str], float] | None = None,
    unit: str = PERCENT,
) -> Panel:
    """A panel of figures over seeds, or of one seed with 400 images."""
    rows, columns = list(dict.fromkeys(r for r, _ in means)), list(dict.fromkeys(c for _, c in means))
    return Panel("made up", rows, columns, {p: seeds(v) for p, v in means.items()}, theirs or {}, unit=unit)


def seeds(values: Sequence[float], images: int = 400) -> Seeds:
    """Accuracies over seeds, each of so many images that are right in all draws or in none."""
    each = tuple((np.arange(images) < round(value * images)).astype(float) for value in values)
    return Seeds(tuple(values), each)
