"""Training: one loop that yields records, prints nothing, and keeps its run folder ready to go on from.

for record in train.fit(train.Config(model="lenet5", sigma=0.6), data.load("digits"), "runs/mine"):
    print(record)
"""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from npsnn import files, models
from npsnn.backend import to_device, to_host, use_device
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.files import json_files
from npsnn.files.paths import user_path
from npsnn.host import one_by_one
from npsnn.layers.params import flatten
from npsnn.models.model import Model
from npsnn.optim import Arrays
from npsnn.runs import checkpoint, plugins, provenance
from npsnn.runs.environment import environment
from npsnn.streams import Stream
from npsnn.train import continuity
from npsnn.train.config import Config, read_run
from npsnn.train.epochs import Epoch, State, Step, Trainer, TrainingError
from npsnn.train.run_folder import RunFolder
from npsnn.workers.processes import Processes

__all__ = ["Config", "Epoch", "Step", "TrainingError", "fit", "resume", "split_validation"]

VALIDATION_PART = 1 / 12
"""The part of the training set that is held out to choose best.npz: 5,000 of MNIST's 60,000."""


def split_validation(train: Split, seed: int, limit: int | None) -> tuple[Split, Split]:
    """The first `limit` training images in two parts drawn by the seed: to train on, and to choose best.npz by."""
    count = len(train) if limit is None else min(limit, len(train))
    order = Stream(seed).at("validation").generator().permutation(count)
    held = max(1, round(count * VALIDATION_PART))
    parts = np.sort(order[held:]), np.sort(order[:held])
    first, second = (Split(train.images[rows], train.labels[rows]) for rows in parts)
    return first, second


def build(config: Config, dataset: Dataset) -> Model:
    """The network that the options ask for; ValueError where it does not fit the images."""
    model = models.build(
        config.model,
        dataset.image_shape,
        dataset.classes,
        config.sigma,
        config.noise,
        config.covariance,
        config.bottleneck,
    )
    if len(dataset.train) < 2:
        raise ValueError(f"{dataset.name} must have two images to train on and to validate, got {len(dataset.train)}")
    return model.convolving(config.conv)


def fit(
    config: Config,
    dataset: Dataset,
    folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "cpu",
    start: Classifier | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Iterator[Step | Epoch]:
    """Train a new network on `dataset`, yielding a record for each step and each epoch.

    start: the network to begin with, instead of one that is drawn; its noise is set to the options' sigma.
    origin: what config.json is to say of that network, beside the digest of its parameters.
    With a folder, which must be new or empty, config.json is written first, and metrics.jsonl, last.npz and best.npz
    after every epoch. config.json names the data set that is given, whatever `config.dataset` says, with digests of its
    arrays. threads: None for all cores; the result does not depend on it.
    Raises FileExistsError for a taken folder, TrainingError where the loss is no longer finite.
    """
    for what, value, kind in (("config", config, Config), ("dataset", dataset, Dataset), ("start", start, Classifier)):
        if not isinstance(value, kind) and (what != "start" or value is not None):
            raise TypeError(f"{what} must be a {kind.__name__}, got {value!r}")
    use_device(device)
    workers = workers_for(threads, device)  # refused before a folder is made
    config = replace(config, dataset=dataset.name)
    model = build(config, dataset)
    begin, run = _started(start, model, config), None
    if folder is not None:
        folder = user_path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(f"{folder} must be a new or empty folder: choose another, or resume the run it holds")
        about: dict[str, object] = {
            "train": asdict(config),
            "spec": model.spec(),
            "data": dataset.digests,
            "arrays": provenance.of_data(dataset),
            "environment": environment(device),
            **plugins.recorded(),
        }
        if start is not None:
            about["start"] = {"parameters": provenance.of_network(start.params), **(origin or {})}
        about["canary"] = continuity.canary(config, model, device)
        json_files.write_json(folder / checkpoint.CONFIG, about)
        run = RunFolder(folder, about)
    return one_by_one(_run(config, model, dataset, run, None, workers, device, begin))


def _started(start: Classifier | None, model: Model, config: Config) -> Arrays | None:
    """The flat parameters of the network to begin with, once they are known to be the model's; None where none is."""
    if start is None:
        if config.noise_only:
            raise ValueError("noise_only trains the noise of a network that is given: start must be one, got None")
        return None
    noise = {model.noise_layer: model.init(np.random.default_rng(0))[model.noise_layer]} if model.noisy else {}
    params = {k: to_host(p) for k, p in flatten(start.params | noise).items()}
    model.check(params)
    return params


def resume(
    folder: str | os.PathLike[str],
    dataset: Dataset,
    threads: int | None = None,
    device: str = "cpu",
    epochs: int | None = None,
) -> Iterator[Step | Epoch]:
    """Go on with the run in `folder`, by its own options, as if it had never stopped.

    epochs: more epochs in all than its options say; config.json then has the new number, and the earlier ones. The
    result is that of a run which had so many from the start.
    Raises FileNotFoundError where there is no run, ValueError where its files or the data are not those it had, and
    where its learning rate follows a schedule over all epochs, which another number of them would have changed.
    """
    use_device(device)
    workers = workers_for(threads, device)
    folder = user_path(folder)
    about, config = read_run(folder)
    if odd := provenance.difference(about, dataset):
        raise ValueError(f"{folder} was trained on other data than this {dataset.name}: they differ in {odd}")
    plugins.warn_of_others(about)
    with files.blamed(folder / checkpoint.CONFIG), plugins.blamed(about):
        stored = Model.from_spec(about.get("spec"))
    model = replace(build(config, dataset), micro_batch=stored.micro_batch)  # which other versions choose differently
    if stored != model:
        raise ValueError(f"{folder / checkpoint.CONFIG}: spec is not the network that its train options make")
    lengthened = config if epochs is None else config.lengthened(epochs)
    run = RunFolder(folder, about)
    run.records = json_files.read_lines(folder / checkpoint.METRICS)
    begun = "finished epochs" if run.records or (folder / checkpoint.BEST).exists() else ""
    begun = begun or ("another network to start from" if "start" in about else "")
    if begun and not (folder / checkpoint.LAST).exists():
        raise FileNotFoundError(f"{folder} has {begun} but no {checkpoint.LAST} to go on from")
    state = run.load(model, config) if (folder / checkpoint.LAST).exists() else None
    continuity.check_rounding(folder, about, config, model, device, state.epoch if state else 0)
    if lengthened != config:
        earlier = [*about.get("earlier_epochs", []), config.epochs]
        about |= {"train": asdict(lengthened), "earlier_epochs": earlier}
        json_files.write_json(folder / checkpoint.CONFIG, about)
    return one_by_one(_run(lengthened, model, dataset, run, state, workers, device))


def workers_for(threads: int | None, device: str) -> Processes:
    """What computes micro-batches. A GPU runs its kernels in one queue: more threads would wait for one another."""
    return Processes(threads if device == "cpu" else 1)


def _run(
    config: Config,
    model: Model,
    dataset: Dataset,
    run: RunFolder | None,
    state: State | None,
    workers: Processes,
    device: str,
    start: Arrays | None = None,
) -> Generator[Step | Epoch, None, None]:
    train, validation = split_validation(dataset.train, config.seed, config.limit)
    with workers:
        trainer = Trainer(config, model, train, validation, workers, device, start)
        if state is None:
            with run.begun() if run else nullcontext():
                state = trainer.initial()
                if run:
                    run.save(state)
        else:
            params, moments = ({k: to_device(p, device) for k, p in a.items()} for a in (state.params, state.optimizer))
            state = replace(state, params=params, optimizer=moments)
        while state.epoch < config.epochs:
            best = state.best
            for record in trainer.epoch(state):
                if isinstance(record, Step):
                    yield record
                else:
                    state, done = record
            if run:
                run.save(state, done, is_best=state.best > best)
            yield done
