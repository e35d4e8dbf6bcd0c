"""`npsnn train`."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from npsnn.cli import train_rows
from npsnn.cli.common import Epsilon, field_option, in_flags, options, print_json, speaking_of_flags
from npsnn.cli.interrupts import leave
from npsnn.cli.runs import Run, load_dataset, load_run, start_on_other_data, warn
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.data import NAMES
from npsnn.data.augment import AUGMENTATIONS
from npsnn.layers.affine import METHODS
from npsnn.layers.noise import COVARIANCES
from npsnn.models.named import MODELS, NOISES
from npsnn.optim import OPTIMIZERS, SCHEDULES
from npsnn.train import recipes
from npsnn.train.config import ADVERSARIES, LOSSES, NORMS, TREATMENTS, Config
from npsnn.train.recipes import RECIPES

_DEFAULT = Config()


_option = partial(field_option, _DEFAULT)


@click.command("train")
@_option("--model", MODELS, "lenet5: 3 convolutions and 3 fully connected layers; cnn5: 5 and 3.")
@_option("--dataset", NAMES, "A name that npsnn data list shows.")
@_option("--noise", NOISES, "On the first pre-activation (noise paper), on the last features (A2SNN), or nowhere.")
@_option("--covariance", COVARIANCES, "Of the noise on features; A2SNN calls diagonal isotropic.")
@_option("--bottleneck", click.IntRange(1), "How many features the noise is on.")
@_option("--sigma", click.FloatRange(0), "Standard deviation of the noise; pixels are in [0, 1].")
@click.option("--learn-sigma", is_flag=True, help="Train the noise as well (noise paper Eq. 8; A2SNN's covariance).")
@_option(
    "--sigma-reward",
    click.FloatRange(0),
    "alpha of the reward -alpha sigma² (noise paper Sec. 7).",
)
@_option("--sigma-max", click.FloatRange(0, min_open=True), "Cap of a learned sigma.")
@_option("--max-entropy", click.FloatRange(0), "lambda1 of A2SNN Eq. 1: the reward for the entropy of the noise.")
@_option("--alignment", click.FloatRange(0), "lambda2 of A2SNN Eq. 1: the reward for noise along the class vectors.")
@click.option("--pairwise", is_flag=True, help="Align with the differences of class vectors instead (audit A17).")
@click.option("--unit-classes", is_flag=True, help="Hold class vectors at norm 1 (A2SNN Sec. 3.2).")
@click.option("--authors-code", is_flag=True, help="A2SNN as its authors' code has it, not its paper (audit B1).")
@_option(
    "--propagation",
    TREATMENTS,
    "How training carries the noise: laplace is the noise paper's Eq. 6, exact the true moments, sampled draws it.",
)
@_option(
    "--loss",
    LOSSES,
    "noise-aware: squared error minus the label's mean probability to win; expected-cross-entropy: over the noisy "
    "logits, without draws.",
)
@_option("--first-layer-norm", NORMS, "Hold first-layer filters at norm 1: the network cannot outgrow its noise.")
@_option("--conv", METHODS, "How convolutions are computed: direct, with fewer products, or as is faster.")
@_option("--augmentation", AUGMENTATIONS, "crop-flip: shifted by up to 4 pixels and mirrored at random.")
@_option("--epochs", click.IntRange(1), "Passes over the training images.")
@_option("--batch-size", click.IntRange(1), "Images for one update.")
@_option("--optimizer", OPTIMIZERS, "Update rule.")
@_option("--lr", click.FloatRange(0), "Learning rate.")
@_option("--schedule", SCHEDULES, "Of the learning rate; step: a tenth at 1/2 and again at 3/4.")
@_option("--momentum", click.FloatRange(0, 1, max_open=True), "Of sgd.")
@_option("--weight-decay", click.FloatRange(0), "Of weights alone; for adam decoupled from the gradient.")
@_option("--adversarial", ADVERSARIES, "Train on images attacked in this way.")
@_option("--adversarial-eps", Epsilon(), "Radius of that attack, Linf.")
@_option("--adversarial-mix", click.FloatRange(0, 1), "The part of the images that is attacked.")
@click.option("--limit", type=click.IntRange(2), help="Only the first N training images.")
@click.option(
    "--recipe",
    type=Choice(RECIPES),
    help="Use the options of one model of A2SNN's Table 5. Options given explicitly take precedence.",
)
@click.option("--train-noise-only", metavar="RUN", help="Start from this run's network and train nothing but noise.")
@click.option("--show", is_flag=True, help="Print the options as JSON and train nothing.")
@click.option("--name", help="Name of the run's folder; made from model and data set by default.")
@click.option(
    "--resume", metavar="RUN", help="Go on with a stopped run, by its own options; with more --epochs, longer."
)
@options("other-data", "seed", "threads", "device", "data-dir", "runs-dir", "config", "json")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    name: str | None,
    recipe: str | None,
    train_noise_only: str | None,
    show: bool,
    resume: str | None,
    other_data: bool,
    threads: int | None,
    device: str,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Train a network that carries Gaussian noise, by the noise paper's closed form or as A2SNN does.

    The noise N(0, sigma²) is added to the first layer's pre-activation. Its variance is carried to the logits in
    closed form, and the loss rewards the probability that the label's logit wins. With --noise features it is added
    to the last features instead, with a covariance that is learned with --learn-sigma. The run folder that comes out
    holds config.json, metrics.jsonl, last.npz and best.npz.

    \b
    Examples: the network of the noise paper, on MNIST; A2SNN on a small network,
    and all its options
      npsnn train --model lenet5 --sigma 0.6 --dataset mnist --epochs 5
      npsnn train --recipe a2snn-m5 --model lenet5 --lr 0.01 --epochs 5
      npsnn train --recipe a2snn-m5 --dataset fashion-mnist --show
    """
    from npsnn import data, train
    from npsnn.backend import use_device
    from npsnn.runs import checkpoint
    from npsnn.train.config import read_run

    if resume is not None:
        _refuse_options(ctx)
        folder = checkpoint.find_run(resume, runs_dir)
        about, config = read_run(folder)
        with speaking_of_flags():
            config = config.lengthened(chosen["epochs"]) if _is_given(ctx, "epochs") else config
        dataset, _ = load_dataset(folder, about, data_dir)
        records = train.resume(folder, dataset, threads, device, config.epochs)
    else:
        if other_data and not train_noise_only:
            raise click.UsageError("--other-data is for --train-noise-only: a new network has no data of its own yet")
        start = _start(train_noise_only, runs_dir)
        with speaking_of_flags():
            config = _config(ctx, recipe, start, chosen)
        _say_what_has_no_effect(ctx, config)
        if show:
            print_json(asdict(config))
            return
        use_device(device)  # before a folder is made for the run
        network, origin = None, None
        if start:
            dataset, odd = load_dataset(start.folder, start.config, data_dir, other_data)
            odd = odd or start_on_other_data(start.config)
            network, origin = start.classifier, start.about | {"other_data": odd or None}
        else:
            dataset = data.load(config.dataset, data_dir)
        with speaking_of_flags():
            train.build(config, dataset)
            folder = checkpoint.new_run(runs_dir, name, f"{config.model}-{config.dataset}-sigma{config.sigma:g}")
        with _unless_empty(folder):
            records = train.fit(config, dataset, folder, threads, device, network, origin)
    train_rows.say_start(config, folder)
    with _unless_empty(folder), _way_on(folder, config):
        done = train_rows.show(records, config)
        train_rows.report(folder, config, dataset, threads, device, done, as_json)


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
def _way_on(folder: Path, config: Config) -> Iterator[None]:
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
        leave(stop, f"{whole} of {config.epochs} epochs are in {folder}; {way}")
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
    for field in [f.name for f in fields(Config)] + ["name", "recipe", "train_noise_only", "other_data", "show"]:
        flag = "--" + field.replace("_", "-")
        if field != "epochs" and _is_given(ctx, field):
            raise click.UsageError(f"{own}: {flag} cannot be set with it")
        if ctx.get_parameter_source(field) == ParameterSource.ENVIRONMENT:
            say(f"warning: {own}: {flag} of the environment has no effect", err=True)
