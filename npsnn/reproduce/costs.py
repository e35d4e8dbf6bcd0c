"""How long jobs will take and how much they will write, by timing a little of each kind."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn import attacks, data
from npsnn.classifier import Classifier
from npsnn.layers.params import flatten
from npsnn.reproduce.jobs import Attack, Job, Train
from npsnn.reproduce.perform import Place
from npsnn.train.epochs import Epoch
from npsnn.train.loop import fit, training_on

TIMED = 512
"""Training images by which an epoch is timed."""
KEPT = 3
"""How often a run folder holds its parameters: last, best, and the optimiser's state, which may be twice as large."""


@dataclass(frozen=True)
class Cost:
    """What a job costs.

    seconds: on the threads of one job; of a measurement unknown, and 0.
    disk: bytes that stay.
    """

    seconds: float
    disk: int


def costs(jobs: Iterable[Job], place: Place) -> dict[str, Cost]:
    """The cost of each job by its key; jobs that differ by their seed alone are timed once.

    Raises FileNotFoundError where a data set is missing.
    """
    known: dict[str, Cost] = {}
    found: dict[str, Cost] = {}
    for job in jobs:
        kind = _kind(job)
        if kind not in known:
            known[kind] = _cost(job, place)
        found[job.key] = known[kind]
    return found


def _kind(job: Job) -> str:
    """What jobs have in common that differ by their seed alone."""

    def seedless(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: seedless(v) for k, v in value.items() if k not in ("seed", "network", "networks", "start")}
        return value

    return json.dumps([job.name, seedless(job.document())], sort_keys=True)


def _cost(job: Job, place: Place) -> Cost:
    if isinstance(job, Train):
        return _training(job, place)
    if isinstance(job, Attack):
        return Cost(_attacking(job, place), job.images * 16 * len(job.attacks))
    return Cost(0.0, 4096)


def _training(job: Train, place: Place) -> Cost:
    dataset = data.load(job.data, place.data_dir)
    options: Any = job.options(dataset)
    limit = options.limit or len(dataset.train)
    some = min(TIMED, limit)
    changed = {"limit": some, "epochs": 2}
    start = None if job.start is None else _untrained(job.start, dataset)
    records = fit(replace(options, **changed), dataset, threads=place.threads, device=place.device, start=start)
    epochs = [record.seconds for record in records if isinstance(record, Epoch)]
    seconds = epochs[-1] * limit / some * options.epochs  # the first epoch also makes room and starts processes
    sizes = sum(p.nbytes for p in flatten(_untrained(job, dataset).params).values())
    return Cost(seconds, KEPT * sizes)


def _untrained(job: Train, dataset: data.Dataset) -> Classifier:
    """The network as it is before its training."""
    model = training_on(job.options(dataset), dataset).model
    return Classifier(model, model.init(np.random.default_rng(0)))


def _attacking(job: Attack, place: Place) -> float:
    dataset = data.load(job.network.data, place.data_dir)
    network = replace(_untrained(job.network, dataset), threads=place.threads)
    x, labels = dataset.test.images[: job.images], dataset.test.labels[: job.images]
    return sum(attacks.cost(network, x, labels, _listed(attack), job.judging).seconds for _, attack in job.attacks)


def _listed(attack: Any) -> Any:
    return attack if isinstance(attack, attacks.Grouping) else [attack]
