"""Training: one loop that yields records, prints nothing, and keeps its run folder ready to go on from.

for record in train.fit(train.Config(model="lenet5", sigma=0.6), data.load("digits"), "runs/mine"):
    print(record)
"""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from npsnn import files
from npsnn.backend import to_host, use_device
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.files import json_files
from npsnn.files.paths import user_path
from npsnn.host import one_by_one
from npsnn.layers.params import Role, flatten, roles
from npsnn.models.base import Model
from npsnn.optim import Arrays
from npsnn.runs import checkpoint, plugins, provenance
from npsnn.runs.environment import environment
from npsnn.streams import Stream
from npsnn.train import continuity, saved
from npsnn.train.config import Config
from npsnn.train.defences.base import DEFENCES
from npsnn.train.epochs import Epoch, State, Step, Trainer, TrainingError
from npsnn.train.flat import training_of
from npsnn.train.replicas import abreast, moved
from npsnn.train.run_folder import RunFolder
from npsnn.train.saved import Options, read_training
from npsnn.train.training import Training
from npsnn.workers import ranks
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
    return training_on(config, dataset).model


def training_on(options: Options, dataset: Dataset) -> Training:
    """The training that the options ask for; ValueError where its network does not fit the images."""
    shape, classes = dataset.image_shape, dataset.classes
    training = training_of(options, shape, classes) if isinstance(options, Config) else options
    model = training.model
    if (tuple(model.shape), model.classes) != (tuple(shape), classes):
        made = f"{model.name} is for images {tuple(model.shape)} of {model.classes} classes"
        raise ValueError(f"{made}, {dataset.name} has images {tuple(shape)} of {classes} classes")
    if len(dataset.train) < 2:
        raise ValueError(f"{dataset.name} must have two images to train on and to validate, got {len(dataset.train)}")
    return training


def fit(
    training: Training | Config,
    dataset: Dataset,
    folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "cpu",
    start: Classifier | None = None,
    origin: Mapping[str, Any] | None = None,
    recipe: Any = None,
) -> Iterator[Step | Epoch]:
    """Train a new network on a data set, yielding a record for each step and each epoch.

    training: what makes the network, or the flat options of the command line.
    dataset: data set to train and to validate on.
    folder: run folder, new or empty. config.json is written first, and metrics.jsonl, last.npz and best.npz after every
        epoch. config.json names the data set that is given, whatever flat options say, with digests of its arrays.
    threads: number of threads or processes, None for all cores; the result does not depend on it.
    device: "cpu", "cuda" or "cuda:N".
    start: network to begin with, instead of one that is drawn; its noise is set to that of the training's model.
    origin: what config.json is to say of that network, beside the digest of its parameters.
    recipe: defence that made the training, which config.json is to name.
    Raises FileExistsError for a taken folder, TrainingError where the loss is no longer finite, and ValueError, before
    a folder is made, where a value of the training is in no table and could not be saved.
    """
    kinds: tuple[tuple[str, Any, Any], ...]
    kinds = (("training", training, Training | Config), ("dataset", dataset, Dataset), ("start", start, Classifier))
    for what, value, kind in kinds:
        if not isinstance(value, kind) and (what != "start" or value is not None):
            name = kind.__name__ if isinstance(kind, type) else "Training or a Config"
            raise TypeError(f"{what} must be a {name}, got {value!r}")
    use_device(device)
    workers = workers_for(threads, device)  # refused before a folder is made
    options = replace(training, dataset=dataset.name) if isinstance(training, Config) else training
    training = training_on(options, dataset)
    begin, run = _started(start, training), None
    if folder is not None:
        folder = user_path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(f"{folder} must be a new or empty folder: choose another, or resume the run it holds")
        about = _about(options, training, dataset, device)
        if start is not None:
            about["start"] = {"parameters": provenance.of_network(start.params), **(origin or {})}
        if recipe is not None:
            about["recipe"] = DEFENCES.encode(recipe)
        about["canary"] = continuity.canary(training, device)
        json_files.write_json(folder / checkpoint.CONFIG, about)
        run = RunFolder(folder, about)
    return one_by_one(_run(training, dataset, run, None, workers, threads, device, begin))


def _about(options: Options, training: Training, dataset: Dataset, device: str) -> dict[str, object]:
    """What config.json says of a training before it begins."""
    about = {saved.entry(options): saved.as_json(options), "spec": training.model.spec()}
    if saved.options_of(about) != options or Model.from_spec(about["spec"]) != training.model:
        raise ValueError(f"{options!r:.200} does not come back from its JSON as it was: it could not be gone on with")
    return {
        **about,
        **({} if isinstance(options, Config) else {"dataset": dataset.name}),
        **provenance.entries(dataset),
        "environment": environment(device),
        **plugins.recorded(),
    }


def _noise_of(model: Model, params: Arrays) -> Arrays:
    """The parameters of the noise: all of a layer that adds noise, and those of the role NOISE beside noisy weights."""
    of = roles(model.network, params)
    found: Arrays = {}
    for path, layer in model.noise_layers.items():
        own = {k: p for k, p in params.items() if k.startswith(f"{path}.")}
        found |= {k: p for k, p in own.items() if of[k] is Role.NOISE or not layer.on_weights}
    return found


def _started(start: Classifier | None, training: Training) -> Arrays | None:
    """The flat parameters of the network to begin with, once they are known to be the model's; None where none is."""
    model = training.model
    if start is None:
        if training.trains == Role.NOISE:
            raise ValueError("noise_only trains the noise of a network that is given: start must be one, got None")
        return None
    drawn = flatten(model.init(np.random.default_rng(0)))
    own, added = _noise_of(model, drawn), tuple(f"{p}." for p, n in model.noise_layers.items() if not n.on_weights)
    given = {k: p for k, p in flatten(start.params).items() if k not in own and not k.startswith(added)}
    params = {k: to_host(p) for k, p in (given | own).items()}
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
    about, options = read_training(folder)
    if odd := provenance.difference(about, dataset):
        raise ValueError(f"{folder} was trained on other data than this {dataset.name}: they differ in {odd}")
    plugins.warn_of_others(about)
    with files.blamed(folder / checkpoint.CONFIG), plugins.blamed(about):
        stored = Model.from_spec(about.get("spec"))
    training = training_on(options, dataset)
    # which other versions choose differently
    training = replace(training, model=replace(training.model, micro_batch=stored.micro_batch))
    if stored != training.model:
        raise ValueError(f"{folder / checkpoint.CONFIG}: spec is not the network that its train options make")
    lengthened = options if epochs is None else options.lengthened(epochs)
    run = RunFolder(folder, about)
    run.records = json_files.read_lines(folder / checkpoint.METRICS)
    begun = "finished epochs" if run.records or (folder / checkpoint.BEST).exists() else ""
    begun = begun or ("another network to start from" if "start" in about else "")
    if begun and not (folder / checkpoint.LAST).exists():
        raise FileNotFoundError(f"{folder} has {begun} but no {checkpoint.LAST} to go on from")
    state = run.load(training) if (folder / checkpoint.LAST).exists() else None
    continuity.check_rounding(folder, about, training, device, state.epoch if state else 0)
    if lengthened.epochs != options.epochs:
        earlier = [*about.get("earlier_epochs", []), options.epochs]
        about |= {saved.entry(options): saved.as_json(lengthened), "earlier_epochs": earlier}
        json_files.write_json(folder / checkpoint.CONFIG, about)
    training = replace(training, epochs=lengthened.epochs)
    return one_by_one(_run(training, dataset, run, state, workers, threads, device))


def workers_for(threads: int | None, device: str) -> Processes:
    """What computes micro-batches. A GPU runs its kernels in one queue: more threads would wait for one another."""
    return Processes(ranks.share(threads) if device == "cpu" else 1)


def _run(
    training: Training,
    dataset: Dataset,
    run: RunFolder | None,
    state: State | None,
    workers: Processes,
    threads: int | None,
    device: str,
    start: Arrays | None = None,
) -> Generator[Step | Epoch, None, None]:
    train, validation = split_validation(dataset.train, training.seed, training.limit)
    with workers:
        trainer = Trainer(training, train, validation, workers, device, start)
        if state is None:
            with run.begun() if run else nullcontext():
                state = trainer.initial()
                if run:
                    run.save(state)
        else:
            state = moved(state, device)
        with abreast(trainer, state, threads) as trainer:
            while state.epoch < training.epochs:
                best = state.best
                for record in trainer.epoch(state):
                    if isinstance(record, Step):
                        yield record
                    else:
                        state, done = record
                if run:
                    run.save(state, done, is_best=state.best > best)
                yield done
