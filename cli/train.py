"""`npsnn train`."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from npsnn.cli import train_rows
from npsnn.cli.common import in_flags, print_json, set_precision, speaking_of_flags
from npsnn.cli.defences import chosen_defence, show_defence
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import options_of, shared
from npsnn.cli.runs import Run, load_dataset, load_run, warn
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.train import recipes
from npsnn.train.config import Config
from npsnn.train.defences import DEFENCES
from npsnn.train.recipes import RECIPES
from npsnn.validate import listed

_DEFAULT = Config()


def command() -> click.Command:
    """The command, made when it is asked for: its choices are then what the tables hold."""
    return new_command(
        "train",
        _train,
        *options_of(Config),
        *shared("data-dir", "other-data"),
        Option("--train-noise-only", metavar="RUN", group="Noise", help="Train the noise alone of this run's network."),
        Option(
            "--recipe",
            type=Choice([*RECIPES, *DEFENCES]),
            metavar="NAME",
            help=f"A model of A2SNN's Table 5, {listed(RECIPES)}, or a defence that it is compared with: "
            f"{listed(DEFENCES)}. Options given explicitly take precedence.",
        ),
        Option(
            "--set",
            metavar="NAME=VALUE",
            multiple=True,
            help="A setting of the recipe of a defence, which --show lists. Repeatable.",
        ),
        Option("--show", is_flag=True, help="Print the options, or what a recipe is, and train nothing."),
        Option("--name", help="Name of the run's folder, by default made of model and data set.", metavar="NAME"),
        Option(
            "--resume",
            metavar="RUN",
            help="Continue a stopped run by its own options. The files come out as if it had not stopped. With more "
            "--epochs the run becomes longer.",
        ),
        *shared("threads", "device", "tf32", "runs-dir", "config", "json"),
    )


@click.pass_context
def _train(
    ctx: click.Context,
    /,
    name: str | None,
    recipe: str | None,
    set: tuple[str, ...],
    train_noise_only: str | None,
    show: bool,
    resume: str | None,
    other_data: bool,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train a network that carries Gaussian noise.

    The noise N(0, sigma²) is added to the output of the first layer (noise paper). Its variance is carried to the
    logits in closed form, and the loss rewards the probability that the label's logit wins. With --noise features the
    noise is added to the last features instead, with a covariance that --learn-sigma trains (A2SNN).

    The new run folder holds config.json, metrics.jsonl, last.npz and best.npz.

    \b
    The network of the noise paper, on MNIST:
      npsnn train --model lenet5 --sigma 0.6 --dataset mnist --epochs 5
    A2SNN on a small network, and all its options:
      npsnn train --recipe a2snn-m5 --model lenet5 --lr 0.01 --epochs 5
      npsnn train --recipe a2snn-m5 --dataset fashion-mnist --show
    TRADES, and what its recipe is:
      npsnn train --recipe trades --set beta=3 --epochs 5
      npsnn train --recipe trades --show
    """
    place = Place(name, threads, device, tf32, data_dir, runs_dir)
    if resume is not None:
        options, dataset, folder, records = _resumed(ctx, resume, chosen, place)
    elif recipe is not None and recipe in DEFENCES:
        for flag, given in (("--train-noise-only", train_noise_only), ("--other-data", other_data)):
            if given:
                raise click.UsageError(f"{flag} is for a network that is given: the recipe {recipe} trains a new one")
        defence = chosen_defence(ctx, recipe, chosen, set)
        if show:
            show_defence(defence, chosen["dataset"], as_json)
            return
        options, dataset, folder, records = _defended(defence, recipe, chosen, place)
    else:
        if other_data and not train_noise_only:
            raise click.UsageError("--other-data is for --train-noise-only: a new network has no data of its own yet")
        if set:
            raise click.UsageError("--set is for the recipe of a defence: other options have flags of their own")
        start = _start(train_noise_only, runs_dir)
        with speaking_of_flags():
            config = _config(ctx, recipe, start, chosen)
        _say_what_has_no_effect(ctx, config)
        if show:
            print_json(asdict(config))
            return
        options, dataset, folder, records = _new(config, start, other_data, place)
    train_rows.say_start(options, dataset.name, folder, recipe if recipe and recipe in DEFENCES else "")
    train_rows.say_what_is_idle(options, folder, threads, device, resume is None)
    with _unless_empty(folder), _way_on(folder, options.epochs):
        done = train_rows.show(records, options)
        train_rows.report(folder, options, dataset, threads, device, done, as_json)


class Place(NamedTuple):
    """Where a training runs, and where it writes."""

    name: str | None
    threads: int | None
    device: str
    tf32: bool
    data_dir: Path | None
    runs_dir: Path


class Begun(NamedTuple):
    """A training that is about to run: its options, its data, its folder and its records."""

    options: Any
    dataset: Any
    folder: Path
    records: Any


def _resumed(ctx: click.Context, run: str, chosen: dict[str, Any], place: Place) -> Begun:
    """Go on with a run by its own options."""
    from npsnn import train
    from npsnn.runs import checkpoint
    from npsnn.train.saved import read_training

    _refuse_options(ctx)
    folder = checkpoint.find_run(run, place.runs_dir)
    about, options = read_training(folder)
    with speaking_of_flags():
        options = options.lengthened(chosen["epochs"]) if _is_given(ctx, "epochs") else options
    dataset, _ = load_dataset(folder, about, place.data_dir)
    set_precision(place.device, place.tf32)
    return Begun(options, dataset, folder, train.resume(folder, dataset, place.threads, place.device, options.epochs))


def _defended(defence: Any, recipe: str, chosen: dict[str, Any], place: Place) -> Begun:
    """Begin the training of a defence."""
    from npsnn import data, train
    from npsnn.backend import use_device
    from npsnn.runs import checkpoint

    use_device(place.device)  # before a folder is made for the run
    set_precision(place.device, place.tf32)
    dataset = data.load(chosen["dataset"], place.data_dir)
    with speaking_of_flags():
        options = defence.training(dataset, chosen["seed"], chosen["limit"], chosen["conv"])
        options = replace(options, micro_batch=chosen["micro_batch"])
        folder = checkpoint.new_run(place.runs_dir, place.name, f"{recipe}-{defence.model}-{data.short(dataset.name)}")
    with _unless_empty(folder):
        records = train.fit(options, dataset, folder, place.threads, place.device, recipe=defence)
    return Begun(options, dataset, folder, records)


def _new(config: Config, start: Run | None, other_data: bool, place: Place) -> Begun:
    """Begin a training by flat options, with the network of a run if one is given."""
    from npsnn import data, train
    from npsnn.backend import use_device
    from npsnn.runs import checkpoint
    from npsnn.train.saved import start_on_other_data

    use_device(place.device)  # before a folder is made for the run
    set_precision(place.device, place.tf32)
    network, origin = None, None
    if start:
        dataset, odd = load_dataset(start.folder, start.config, place.data_dir, other_data)
        odd = odd or start_on_other_data(start.config)
        network, origin = start.classifier, start.about | {"other_data": odd or None}
    else:
        dataset = data.load(config.dataset, place.data_dir)
    with speaking_of_flags():
        train.build(config, dataset)
        prefix = f"{config.model}-{data.short(dataset.name)}-sigma{config.sigma:g}"
        folder = checkpoint.new_run(place.runs_dir, place.name, prefix)
    with _unless_empty(folder):
        records = train.fit(config, dataset, folder, place.threads, place.device, network, origin)
    return Begun(config, dataset, folder, records)


@contextmanager
def _unless_empty(folder: Path) -> Iterator[None]:
    """Leave no empty folder behind, which would take the name of a run that never began."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
        raise


@contextmanager
def _way_on(folder: Path, epochs: int) -> Iterator[None]:
    """Say how to go on with a training that was stopped, or met an error of the system such as a full disk."""
    from npsnn.files import json_files
    from npsnn.runs import checkpoint

    way = f"go on with npsnn train --resume {shlex.quote(str(folder))}"
    try:
        yield
    except KeyboardInterrupt as stop:
        if not (folder / checkpoint.CONFIG).exists():
            raise
        whole = len(json_files.read_lines(folder / checkpoint.METRICS))
        leave(stop, f"{whole} of {epochs} epochs are in {folder}; {way}")
    except OSError as error:
        if not (folder / checkpoint.LAST).exists():
            raise
        raise OSError(f"{error}; then {way}") from error


def _start(run: str | None, runs_dir: Path) -> Run | None:
    """The run whose network's noise alone is to be trained; None without RUN."""
    if run is None:
        return None
    start = load_run(run, runs_dir, "last", None, "cpu")
    warn(start)
    return start


def _config(ctx: click.Context, recipe: str | None, start: Run | None, chosen: dict[str, Any]) -> Config:
    """The options chosen; those that were given take precedence over a recipe's and over a given network's."""
    of_start: dict[str, Any] = {}
    if start:
        if "train" not in start.config:
            raise click.UsageError(f"--train-noise-only goes on with a run of npsnn train, {start.folder} is none")
        of_start = {k: start.config["train"][k] for k in ("model", "dataset", "noise", "bottleneck")}
        of_start |= {"noise_only": True, "learn_sigma": True}
    given = {k: v for k, v in chosen.items() if ctx.get_parameter_source(k) != ParameterSource.DEFAULT}
    if odd := [k for k, v in of_start.items() if given.get(k, v) != v]:
        raise click.UsageError(
            f"--train-noise-only goes on with that network: --{odd[0].replace('_', '-')} is given by it"
        )
    if recipe is not None:
        return recipes.config(recipe, **{"dataset": chosen["dataset"]} | given | of_start)
    return Config(**chosen | of_start)


def _say_what_has_no_effect(ctx: click.Context, config: Config) -> None:
    """A warning for each option that was set and changes nothing; one of a file that holds all is not set by itself."""
    names = [f.name for f in fields(Config)]
    given = [k for k in names if _is_given(ctx, k) or getattr(config, k) != getattr(_DEFAULT, k)]
    set_here = [k for k in given if ctx.get_parameter_source(k) != ParameterSource.DEFAULT]
    for clause in config.without_effect(k for k in set_here if k in ctx.params):
        say(f"warning: {in_flags(clause, ctx.command)}", err=True)


def _is_given(ctx: click.Context, field: str) -> bool:
    return ctx.get_parameter_source(field) == ParameterSource.COMMANDLINE


def _refuse_options(ctx: click.Context) -> None:
    """--resume goes on with the run's own options: to accept others in silence would be a lie.

    A variable is meant for all trainings: a warning.
    """
    own = "--resume goes on with the run's own options"
    for field in [f.name for f in fields(Config)] + ["name", "recipe", "set", "train_noise_only", "other_data", "show"]:
        flag = "--" + field.replace("_", "-")
        if field != "epochs" and _is_given(ctx, field):
            raise click.UsageError(f"{own}: {flag} cannot be set with it")
        if ctx.get_parameter_source(field) == ParameterSource.ENVIRONMENT:
            say(f"warning: {own}: {flag} of the environment has no effect", err=True)
