"""Many trainings of a grid, done by any executor; each is a run folder, and a table says what came of all.

points = sweep.grid(sigma=[0.3, 0.6], seed=[0, 1], epochs=5)
for event in sweep.run(points, "runs/noise", jobs=2):
    print(event)
sweep.write(points, "runs/noise")
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

from npsnn import data, files
from npsnn.classifier import Classifier
from npsnn.files import json_files, write_atomic
from npsnn.files.paths import user_path
from npsnn.host import available_cores
from npsnn.jobs import schedule
from npsnn.jobs.executors import executor
from npsnn.jobs.schedule import DONE, Event
from npsnn.models.sigmas import brief
from npsnn.runs import checkpoint, provenance
from npsnn.runs.caveats import Caveat
from npsnn.train.grid import Point, grid
from npsnn.train.saved import caveats_of, read_run
from npsnn.train.task import EXPECTED, Place
from npsnn.train.tested import tested

__all__ = ["DONE", "Event", "Point", "grid", "rows", "run", "write"]

TESTED = "tested.json"
"""The file of a run folder with the accuracy on the test images."""
CSV, HEAD = "sweep.csv", b"run,state,"
"""The file of all trainings, beside the run folders, and how it begins."""
FIGURES = ("training_accuracy", "validation_accuracy", "noisy_validation_accuracy")
"""What the table has of the last epoch, beside its loss."""
ACCURACIES = ("clean_accuracy", "noisy_accuracy")
"""What the table has of the test images, with the noise off and under one draw of it."""


def run(
    points: Iterable[Point],
    folder: str | os.PathLike[str],
    jobs: int = 1,
    workers: str | Executor = "processes",
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> Iterator[Event[Point]]:
    """Do the trainings of a grid, or go on with them; yields what became of each as it is known.

    A training that is done is skipped, one that was stopped goes on to the bytes of one that was not, and one that
    failed is said; the others go on.

    points: the trainings, of `grid`.
    folder: of their run folders.
    jobs: number of trainings at a time.
    workers: "processes", "threads", "mpi", the address of a scheduler of Dask, or an executor whose workers see the
        folder and the data.
    data_dir: folder of the data sets.
    threads: of one training; by default its share of the cores, and one on other hosts.
    device: "cpu", "cuda" or "cuda:N".
    Raises ValueError for an unknown executor, FileExistsError as `check_table` does, FileNotFoundError for a data set
    that is not there, and ChildProcessError where a worker was killed: the same call goes on.
    """
    check_table(folder)
    own = workers in ("processes", "threads")
    if threads is None and not (own and jobs == 1):
        threads = max(1, available_cores() // jobs) if own else 1
    place = Place(user_path(folder).absolute(), data_dir and Path(data_dir).absolute(), threads, device)
    load = cache(partial(data.load, data_dir=place.data_dir))
    with nullcontext(workers) if isinstance(workers, Executor) else executor(workers, jobs) as those:
        yield from schedule.run(
            points, lambda point: is_done(point, place, load(point.data)), partial(perform, place=place), those
        )


def is_done(point: Point, place: Place, dataset: data.Dataset) -> bool:
    """Whether a training is finished, and tested."""
    folder = place.folder / point.key
    finished = (folder / TESTED).is_file() and not checkpoint.unfinished(folder)
    return finished and not in_the_way(point, folder, dataset)


def in_the_way(point: Point, folder: Path, dataset: data.Dataset) -> str:
    """Why a training cannot be done in the place of its run folder; "" where it can."""
    way = "take another folder for the runs of this sweep, or remove it"
    if (folder / checkpoint.CONFIG).is_file():
        odd = difference(point, folder, dataset)
        return f"{folder} holds another training, {odd}: {way}" if odd else ""
    own = files.TEMPORARY.fullmatch
    if (folder.is_dir() and all(own(path.name) for path in folder.iterdir())) or not os.path.lexists(folder):
        return ""
    return f"{folder} is no run: {way}"


def difference(point: Point, folder: Path, dataset: data.Dataset) -> str:
    """How the training that a run folder holds differs from one of a grid; "" where it does not."""
    about, theirs = read_run(folder)
    ours = point.options(dataset)
    if type(theirs) is not type(ours):
        return "it is of another kind"
    for name, was in vars(theirs).items():
        if was != (wanted := getattr(ours, name)):
            return f"{name} is {was!r:.80} there and {wanted!r:.80} here"
    return provenance.difference(about, dataset)


def perform(point: Point, place: Place) -> str:
    """Do a training, from its beginning or from where it was stopped, and test it; "", or why it failed."""
    folder = place.folder / point.key
    try:
        dataset = data.load(point.data, place.data_dir)
        if odd := in_the_way(point, folder, dataset):
            return odd
        for _ in point.records(folder, dataset, place.threads, place.device):
            pass
        json_files.write_json(folder / TESTED, _tested(folder, dataset, place))
    except EXPECTED as error:
        return str(error) or type(error).__name__
    return ""


def _tested(folder: Path, dataset: data.Dataset, place: Place) -> dict[str, Any]:
    """The accuracy of a run's network on the test images, and what qualifies it."""
    about, options = read_run(folder)
    assert options is not None, "a run of a grid is a training"
    network = replace(Classifier.load(folder), threads=place.threads).to(place.device)
    clean, noisy, found = tested(network, dataset, options.seed)
    found = [*caveats_of(about, options, len(json_files.read_lines(folder / checkpoint.METRICS))), *found]
    return {
        "clean_accuracy": clean.mean,
        "noisy_accuracy": noisy.mean,
        "examples": len(dataset.test.labels),
        "draws": 1,
        "sigma": brief(network.sigmas),
        "parameters": provenance.of_network(network.params),
        "caveats": [asdict(caveat) for caveat in found],
    }


def rows(
    points: Iterable[Point],
    folder: str | os.PathLike[str],
    failed: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """What came of each training: its name, its state, the options that are lists, and the figures that there are.

    The state is "done", "begun", "not tested", "not begun", "failed", or "blocked" where something else is in its
    place. A training that failed, or is blocked, has no figures.

    points: the trainings.
    folder: of their run folders.
    failed: why trainings failed, by their names.
    data_dir: folder of the data sets.
    """
    where, found, load = user_path(folder), [], cache(partial(data.load, data_dir=data_dir))
    for point in points:
        run_folder, why = where / point.key, (failed or {}).get(point.key, "")
        state, why = ("failed", why) if why else _state(point, run_folder, load)
        figures = _figures(run_folder if state not in ("failed", "blocked") else None)
        found.append({"run": point.key, "state": state, **dict(point.settings), **figures, "why": why})
    return found


def _state(point: Point, folder: Path, load: Callable[[str], data.Dataset]) -> tuple[str, str]:
    """The state of a training, and why."""
    if not os.path.lexists(folder):
        return "not begun", ""
    try:
        odd = in_the_way(point, folder, load(point.data))
    except (ValueError, OSError) as error:  # of a damaged file
        odd = str(error)
    if odd:
        return "blocked", odd
    if not (folder / checkpoint.CONFIG).is_file():
        return "not begun", ""
    if reason := checkpoint.unfinished(folder):
        return ("blocked" if reason == checkpoint.DAMAGED else "begun"), reason
    return (DONE if (folder / TESTED).is_file() else "not tested"), ""


def _figures(folder: Path | None) -> dict[str, Any]:
    """The figures of a run folder, None where there are none."""
    metrics, test = (folder / checkpoint.METRICS, folder / TESTED) if folder else (None, None)
    epochs = json_files.read_lines(metrics) if metrics and metrics.is_file() else []
    known = json_files.read_json(test) if test and test.is_file() else {}
    last = epochs[-1] if epochs else {}
    return {
        "epochs_done": len(epochs),
        "final_loss": last.get("loss"),
        **{name: last.get(name) for name in FIGURES},
        **{name: known.get(name) for name in ACCURACIES},
        "final_sigma": known.get("sigma"),
        "seconds": sum(epoch["seconds"] for epoch in epochs),
        "caveats": [Caveat(**caveat) for caveat in known.get("caveats", [])],
    }


def check_table(folder: str | os.PathLike[str]) -> None:
    """Raise FileExistsError where the folder of the runs has a sweep.csv that no sweep has written."""
    path = user_path(folder) / CSV
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes().startswith(HEAD)):
        raise FileExistsError(f"{path} is no table of a sweep, and would be lost: take another folder, or move it")


def write(
    points: Iterable[Point],
    folder: str | os.PathLike[str],
    failed: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """Write what came of each training to sweep.csv in the folder of the runs, and return it as `rows` does.

    Raises FileExistsError as `check_table` does.
    """
    check_table(folder)
    found, text = rows(points, folder, failed, data_dir), StringIO()
    columns = dict.fromkeys(name for row in found for name in row)
    table = csv.DictWriter(text, list(columns), lineterminator="\n")
    table.writeheader()
    for row in found:
        table.writerow(row | {"caveats": " ".join(caveat.code for caveat in row["caveats"])})
    write_atomic(user_path(folder) / CSV, text.getvalue().encode())
    return found
