"""The output of `npsnn train`: its heading, a line for each epoch, and the result."""

import shlex
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from npsnn.cli.common import percent, print_caveats, print_json
from npsnn.cli.defences import answering, recipe_of
from npsnn.cli.runs import load_run
from npsnn.cli.table import Table
from npsnn.cli.terminal import Bar, say
from npsnn.models.sigmas import MOST_NAMED
from npsnn.train.config import Config


def say_start(options: Any, dataset: str, folder: Path, recipe: str = "") -> None:
    """Print the network, the data, sigma and the folder, and warn of a loss that the noise or a reward makes odd.

    options: flat, or a training.
    dataset: name of the data set.
    recipe: name of the defence, "" for none.
    """
    if not isinstance(options, Config):
        say(f"{recipe and f'{recipe}: '}{options.model.name} on {dataset}, into {folder}", err=True)
        return
    from npsnn.objectives import largest_stationary_sigma

    config = options
    sigma = f"{'learned from ' if config.learn_sigma else ''}{config.sigma:g}"
    sigma = "learned from the authors' start" if config.authors_code else sigma
    say(f"{config.model} on {config.dataset}, sigma {sigma}, into {folder}", err=True)
    if config.sigma > 0 and not config.noise_enters:
        say(f"note: --loss {config.loss} under {config.propagation} does not depend on the noise", err=True)
    if config.sigma_reward:
        bound = largest_stationary_sigma(config.sigma_reward)
        held = f" above sigma {bound:.4f} nothing holds it (N30)," if config.propagation == "laplace" else ""
        say(
            f"warning: with --sigma-reward {config.sigma_reward:g} the loss is unbounded below (audit N29):{held} "
            f"--sigma-max caps it at {config.sigma_max:g}",
            err=True,
        )


def say_what_is_idle(options: Any, folder: Path, threads: int | None, device: str, new: bool) -> None:
    """Say on standard error where a batch has fewer micro-batches than there are threads or GPUs, over all ranks.

    options: of the training.
    folder: of the run, which has the network.
    threads: of each rank, None for its cores.
    device: what each rank computes on.
    new: whether the size of a micro-batch could have been another.
    """
    from npsnn.classifier import GPU_BATCH
    from npsnn.files import json_files
    from npsnn.host import available_cores
    from npsnn.models import Model
    from npsnn.runs import checkpoint
    from npsnn.workers import ranks, unit

    if unit.shared(device) is None:
        return
    spec, batch = json_files.read_json(folder / checkpoint.CONFIG)["spec"], options.batch_size
    whole = device != "cpu" and Model.from_spec(spec).network.couples_batch
    size = spec["micro_batch"] if device == "cpu" else options.micro_batch or GPU_BATCH
    each = ranks.at_work(threads, device) or [threads or available_cores() if device == "cpu" else 1]
    parts = 1 if whole else -(-batch // size)
    if sum(each) <= parts:
        return
    count = f"{sum(each)} {'threads' if device == 'cpu' else 'GPUs'}" + (
        f" of {len(each)} ranks" if len(each) > 1 else ""
    )
    have = f"{parts} micro-batch{'es' if parts > 1 else ''} of {batch if whole else min(size, batch)} images"
    way = "; a smaller --micro-batch would feed more of them" if new else ""
    way = "; BatchNorm keeps a batch whole on a GPU" if whole else way
    say(f"note: {count} could work at a time, and a batch of {batch} has {have}{way}", err=True)


def show(records: Any, options: Any) -> list[Any]:
    """Print a line for each epoch, over a bar for its steps; returns the epochs."""
    from npsnn.train.epochs import Epoch

    columns = {"epoch": 5, "loss": 8, "training": 8, "validation": 10, "noisy": 7, "sigma": 6, "dLoss/dsigma": 12}
    columns |= {"|mu1|/sigma": 11, "images/s": 8}
    table = Table(columns, err=True, optional=("images/s", "dLoss/dsigma", "|mu1|/sigma"))
    epochs: list[Epoch] = []
    with Bar("training", 0) as bar:
        for record in records:
            if isinstance(record, Epoch):
                table.row(*_cells(record))
                cap = options.sigma_max if isinstance(options, Config) and options.learn_sigma else inf
                if max(each(record.sigma)) >= cap:
                    say(f"note: sigma has reached --sigma-max {cap:g}", err=True)
                epochs.append(record)
                continue
            if record.step == 1:
                bar.restart(f"epoch {record.epoch}", record.steps)
            bar.update(1)
    return epochs


def each(figure: float | dict[str, float]) -> list[float]:
    """The figures of all noise layers: an epoch has one number, or one for each path."""
    return list(figure.values()) if isinstance(figure, dict) else [figure]


def _joined(figure: float | dict[str, float] | None, form: str) -> str:
    """The figures of all noise layers as one cell; of many layers the least and the largest, and of slopes none."""
    values = [] if figure is None else each(figure)
    if len(values) > MOST_NAMED:
        return "-" if "e" in form else f"{min(values):.2g}-{max(values):.2g}"
    return "/".join(format(value, form) for value in values) or "-"


def _cells(record: Any) -> tuple[object, ...]:
    """Cells of the table for an epoch."""
    return (
        record.epoch,
        f"{record.loss:.4g}",
        percent(record.training_accuracy),
        percent(record.validation_accuracy),
        percent(record.noisy_validation_accuracy),
        _joined(record.sigma, ".3g"),
        _joined(record.sigma_gradient, ".2e"),
        _joined(record.first_layer_ratio, ".3g"),
        f"{record.examples_per_second:.0f}",
    )


def report(
    folder: Path, options: Any, dataset: Any, threads: int | None, device: str, done: list[Any], as_json: bool
) -> None:
    """Print the accuracy of the finished run on the test images, or one JSON document; done: the epochs trained now."""
    from npsnn.models.sigmas import brief, of_network
    from npsnn.train import saved
    from npsnn.train.tested import tested

    run = load_run(str(folder), folder.parent, "last", threads, device)
    classifier, labels = run.classifier, dataset.test.labels
    clean, noisy, found = tested(classifier, dataset, options.seed)
    found = run.caveats + found
    seconds = sum(e.seconds for e in done)
    if as_json:
        print_json(
            {
                saved.entry(options): saved.as_json(options),
                **run.about,
                "model": options.model if isinstance(options, Config) else options.model.name,
                "sigma": brief(classifier.sigmas),
                "epochs": options.epochs,
                "examples": len(labels),
                "draws": 1,
                "seconds": seconds,
                "examples_per_second": sum(e.seconds * e.examples_per_second for e in done) / seconds if done else None,
                "clean_accuracy": clean.mean,
                "noisy_accuracy": noisy.mean,
                "validation_accuracy": done[-1].validation_accuracy if done else None,
                "caveats": [asdict(caveat) for caveat in found],
            }
        )
        return
    noise = f"its {of_network(classifier.sigmas, '.4g')}"
    on = f", {percent(noisy.mean)} under one draw of {noise}" if classifier.random else ""
    say(f"{folder}: {percent(clean.mean)} of {len(labels):,} test images with the noise off{on}")
    print_caveats(found)
    if not done:
        say(f"{folder} had all its {options.epochs} epochs already", err=True)
    recipe = recipe_of(run.config)
    averaging = f" {answering(recipe[1])}" if recipe and answering(recipe[1]) else ""
    say(f"Next: npsnn attack {shlex.quote(str(folder))}{averaging}", err=True)
