"""`npsnn import`."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from npsnn.cli.common import print_json, speaking_of_flags
from npsnn.cli.export import FILE, speaking_of_extras
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import options_of, shared
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.cli.values import UserPath, WholeNumber
from npsnn.interop.formats import FORMATS
from npsnn.models.base import MODELS
from npsnn.train.config import Config
from npsnn.validate import listed

NETWORK = "Network"


class Numbers(click.ParamType[tuple[Any, ...]]):
    """Several numbers with commas between them."""

    name = "numbers"

    def __init__(self, kind: type, count: int | None = None) -> None:
        """kind: type of each; count: how many there must be."""
        self.kind, self.count = kind, count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        try:
            found = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            found = ()
        if not found or (self.count and len(found) != self.count):
            example = "3,32,32" if self.kind is int else "0.49,0.48,0.45"
            self.fail(f"{value!r} must be numbers with commas between them, as {example}", param, ctx)
        return found


def command() -> click.Command:
    """The command, made when it is asked for: its choices are then what the tables hold."""
    numbers = Numbers(float)
    return new_command(
        "import",
        _import,
        click.Argument(["file"], type=UserPath(exists=True, dir_okay=False)),
        Option(
            "--from",
            FILE,
            type=Choice(FORMATS),
            metavar="NAME",
            help=f"Kind of file, {listed(FORMATS)}: by default what its name ends in.",
        ),
        Option(
            "--rename",
            FILE,
            metavar="FROM=TO",
            multiple=True,
            help="Another name for a layer: from the file's to the model's. Repeatable.",
        ),
        Option(
            "--model",
            NETWORK,
            type=Choice(list(MODELS)),
            metavar="NAME",
            help=f"Network that the entries belong to: {listed(MODELS)}. ONNX files, and safetensors files of npsnn, "
            "say it themselves.",
        ),
        Option(
            "--shape",
            NETWORK,
            type=Numbers(int, 3),
            metavar="C,H,W",
            help="One image, by default that of the data or of the model.",
        ),
        Option("--classes", NETWORK, type=WholeNumber(2), metavar="N", help="Number of classes, by default likewise."),
        Option(
            "--mean",
            NETWORK,
            type=numbers,
            metavar="X,X,X",
            help="Means of the channels, where the network was trained on normalised images: npsnn's are in [0, 1].",
        ),
        Option("--std", NETWORK, type=numbers, metavar="X,X,X", help="Standard deviations of the channels."),
        *options_of(
            Config,
            "noise",
            "sigma",
            "covariance",
            "bottleneck",
            noise=None,
            sigma=None,
            covariance=None,
            bottleneck=None,
        ),
        *options_of(Config, "dataset", dataset=None),
        *shared("data-dir"),
        Option("--name", help="Name of the run's folder, by default made of the model.", metavar="NAME"),
        *shared("runs-dir", "config", "json"),
    )


def _import(
    file: Path,
    rename: tuple[str, ...],
    model: str | None,
    shape: tuple[int, ...] | None,
    classes: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    noise: str | None,
    sigma: float | None,
    covariance: str | None,
    bottleneck: int | None,
    dataset: str | None,
    data_dir: Path | None,
    name: str | None,
    runs_dir: Path,
    as_json: bool,
    **others: Any,
) -> None:
    """Make a run of the network in FILE, which every command takes: evaluate, attack, certify, checklist.

    FILE is a safetensors file, a checkpoint of PyTorch that holds a state_dict, or an ONNX file. Nothing but numbers is
    read of it. Entries have PyTorch's names, as conv1.weight of the layer conv1. An entry that is missing, unexpected
    or of another shape is an error. Where a file has no noise, the noise is the model's: --sigma, 0 by default.

    \b
    A network from PyTorch, and what it is worth on MNIST:
      npsnn import lenet.pt --model lenet5 --dataset mnist
      npsnn attack --pgd --eps 0.1
    A network in an ONNX file:
      npsnn import mine.onnx --dataset cifar10 --mean 0.49,0.48,0.45 \\
          --std 0.25,0.24,0.26
    """
    from npsnn import data
    from npsnn.files import check_writable
    from npsnn.interop import formats
    from npsnn.models.sigmas import in_words
    from npsnn.runs import checkpoint

    if (mean is None) != (std is None):
        raise click.UsageError("--mean and --std are for one another: give both")
    names = _renames(rename)
    noisy = {"noise": noise, "sigma": sigma, "covariance": covariance, "bottleneck": bottleneck}
    given = {option: value for option, value in noisy.items() if value is not None}
    with speaking_of_flags():
        kind = others["from"] or formats.kind_of(file)
    own = given | {"classes": classes, "shape": None if kind == "onnx" else shape}
    if model is None and (odd := [option for option, value in own.items() if value is not None]):
        raise click.UsageError(f"--{odd[0]} is for a network that --model names: {file} describes its own")
    loaded = None if dataset is None else data.load(dataset, data_dir)
    shape = loaded.image_shape if loaded and shape is None else shape
    classes = loaded.classes if loaded and classes is None else classes
    with speaking_of_flags():
        made = None if model is None else _model(model, shape, classes, given)
    with speaking_of_extras():
        network = formats.load(file, kind, made, names, shape if kind == "onnx" else None)
    if sigma and sigma not in network.sigmas.values():
        say(f"warning: --sigma has no effect: {file} has its own noise, {in_words(network.sigmas)}", err=True)
    if mean is not None and std is not None:
        network = _normalised(network, mean, std)
    origin = {"file": str(file), "format": kind, "sha256": sha256(file.read_bytes()).hexdigest()}
    check_writable(runs_dir / "new" / checkpoint.CONFIG)
    folder = _written(network, loaded, origin, runs_dir, name)
    if as_json:
        print_json({"run": str(folder), "origin": origin, "spec": network.spec, "sigmas": network.sigmas})
        return
    say(f"{folder}: {network!r}".replace("<Classifier ", "").removesuffix(">"))
    if loaded is None:
        say("note: no data are named (--dataset): evaluate, attack and others need some", err=True)


def _renames(rename: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in rename:
        before, sign, after = each.partition("=")
        if not (before and sign and after):
            raise click.UsageError(f"--rename must be FROM=TO, as features.0=conv1, got {each!r}")
        if before in found:
            raise click.UsageError(f"--rename must give each layer one name, got several for {before}")
        found[before] = after
    return found


def _model(name: str, shape: Any, classes: int | None, given: dict[str, Any]) -> Any:
    """The named model; where its images or classes are not given they are those that it is made for by itself."""
    from npsnn.models import build, may_be_noisy

    if shape is None or classes is None:
        try:
            usual = MODELS.named(name)()
        except TypeError:
            raise click.UsageError(f"--model {name} needs --shape and --classes, or --dataset") from None
        shape, classes = shape or usual.shape, classes or usual.classes
    noise = {"noise": "preactivation" if may_be_noisy(name) else "none", "sigma": 0.0} | given
    return build(name, tuple(shape), classes, **noise)


def _normalised(network: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    from dataclasses import replace

    from npsnn.models import with_normalisation

    with speaking_of_flags():
        return replace(network, model=with_normalisation(network.model, mean, std))


def _written(network: Any, dataset: Any, origin: dict[str, Any], runs_dir: Path, name: str | None) -> Path:
    """The run folder of the network; no empty folder is left behind."""
    from npsnn.runs import checkpoint
    from npsnn.runs.untrained import check_fits, save_network

    if dataset is not None:
        check_fits(network.model, dataset)
    with speaking_of_flags():
        folder = checkpoint.new_run(runs_dir, name, f"{network.model.name}-imported")
    try:
        return save_network(folder, network.model, network.saved_params(), dataset, origin)
    except BaseException:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
        raise
