"""A job done: from its value to its record, gone on with where it was stopped."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npsnn import data
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.groups import Grouping
from npsnn.attacks.judging import Accuracy, accuracy
from npsnn.attacks.kept import Kept
from npsnn.attacks.results import Result
from npsnn.attacks.worst import worst_case
from npsnn.classifier import Classifier
from npsnn.files import json_files
from npsnn.host import one_blas_thread
from npsnn.jobs import schedule
from npsnn.reproduce.jobs import Attack, Job, Measure, Train
from npsnn.reproduce.measures import MEASURES
from npsnn.reproduce.records import RESULTS, Record, Records
from npsnn.runs import checkpoint, provenance
from npsnn.runs.environment import environment
from npsnn.train import task
from npsnn.train.task import EXPECTED

RUNS, UNFINISHED = "runs", "unfinished"
"""The folders of trained networks, and of what is begun."""
CLEAN = "clean"
"""The name, beside those of attacks, of the images as they are."""


@dataclass(frozen=True)
class Place(task.Place):
    """Where a reproduction is kept, and what it computes with; folder: of all that it writes."""

    @property
    def records(self) -> Records:
        """The records of what is done."""
        return Records(self.folder / RESULTS)

    def run(self, job: Train) -> Path:
        """The run folder of a network."""
        return self.folder / RUNS / job.key

    def network(self, job: Train) -> Classifier:
        """A trained network."""
        return replace(Classifier.load(self.run(job)), threads=self.threads).to(self.device)


def perform_all(jobs: Iterable[Job], place: Place, executor: Executor) -> Iterator[schedule.Event[Job]]:
    """Do the jobs and all that they need, as `schedule.run`; yields what became of each."""
    return schedule.run(jobs, place.records.holds, partial(perform, place=place), executor)


def perform(job: Job, place: Place) -> str:
    """Do a job whose needs are done, and keep its record; "" for a job that is done now, else why it failed.

    A training that was stopped is resumed, an attack goes on with its kept parts; the record is the same. BLAS has one
    thread: sums of several threads round otherwise, and a thread beside this one would decide how many there are.
    """
    records = place.records
    if records.holds(job):
        return ""
    try:
        with one_blas_thread():
            records.write(job, _record(job, place))
    except EXPECTED as error:
        return str(error) or type(error).__name__
    return ""


def _record(job: Job, place: Place) -> Record:
    if isinstance(job, Train):
        return _train(job, place)
    return _attack(job, place) if isinstance(job, Attack) else _measure(job, place)


def _about(place: Place, dataset: data.Dataset) -> dict[str, Any]:
    return {
        "environment": environment(place.device),
        "code": provenance.of_code(),
        "data": {"name": dataset.name, **provenance.of_data(dataset)},
    }


def _train(job: Train, place: Place) -> Record:
    dataset, folder = data.load(job.data, place.data_dir), place.run(job)
    start = None if job.start is None else place.network(job.start)
    for _ in job.records(folder, dataset, place.threads, place.device, start):
        pass
    epochs = json_files.read_lines(folder / checkpoint.METRICS)
    network = Classifier.load(folder)
    seconds = sum(e["seconds"] for e in epochs)
    values = {"epochs": [_lasting(e) for e in epochs], "network": provenance.of_network(network.params)}
    return Record(job.document(), values, {}, _about(place, dataset), {"seconds": seconds, "threads": place.threads})


def _lasting(epoch: dict[str, Any]) -> dict[str, Any]:
    """The figures of an epoch that are the same wherever it is run, and are JSON numbers."""
    kept = {k: v for k, v in epoch.items() if k not in ("seconds", "examples_per_second")}
    return {k: v for k, v in kept.items() if not isinstance(v, float) or np.isfinite(v)}


def _attack(job: Attack, place: Place) -> Record:
    network, dataset = place.network(job.network), data.load(job.network.data, place.data_dir)
    defended = job.judging.defended(network)
    x, labels = dataset.test.images[: job.images], dataset.test.labels[: job.images]
    draws = job.judging.draws if defended.random else 1
    clean = accuracy(defended, x, labels, draws, job.judging.seed)
    images, values, seconds = {CLEAN: _images(clean, draws)}, {}, {}
    for number, (name, attack) in enumerate(job.attacks):
        kept = place.folder / UNFINISHED / f"{job.key}-{number}.parts"
        kept.parent.mkdir(parents=True, exist_ok=True)
        several = attack if isinstance(attack, Grouping) else [attack]
        with Kept(kept, anew=True) as keep:  # the job is the same under another version of this code
            found = list(robust_accuracy(network, x, labels, several, job.judging, clean=clean, keep=keep))
        for r in found if len(found) > 1 else ():
            images[f"{name}: {r.attack}"] = _images(r.accuracy, draws) | _beside(r)
        last = found[-1]
        left = last.accuracy
        if len(found) > 1 and last.met is None:
            left = worst_case(network, labels, found, job.judging)
        images[name] = _images(left, draws) | ({} if len(found) > 1 else _beside(last))
        values[name] = {"passes": sum(r.gradient_passes for r in found), "gradient": last.gradient}
        seconds[name] = sum(r.seconds for r in found)
    return Record(
        job.document(), values, images, _about(place, dataset), {"seconds": seconds, "threads": place.threads}
    )


def _images(of: Accuracy, draws: int) -> dict[str, Any]:
    return {"right": np.rint(of.each * draws).astype(int).tolist(), "draws": draws}


def _beside(r: Result) -> dict[str, Any]:
    """What else is known of each image: how far it was moved where that is the figure, and which had gradients of 0."""
    found: dict[str, Any] = {}
    if r.size is not None and not np.isfinite(r.eps):
        found["size"] = np.round(r.size, 6).tolist()
    if r.met_zero is not None and r.met_zero.any():
        found["met_zero"] = np.flatnonzero(r.met_zero).tolist()
    return found


def _measure(job: Measure, place: Place) -> Record:
    dataset = data.load(job.networks[0].data if job.networks else "digits", place.data_dir)
    networks = [place.network(network) for network in job.networks]
    values, took = MEASURES.named(job.by)(networks, dataset, **dict(job.settings))
    return Record(job.document(), values, {}, _about(place, dataset), took)
