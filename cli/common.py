"""What the commands share: options, the --config file, JSON, and the reading of a run."""

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from npsnn.affine import METHODS

F = TypeVar("F", bound=Callable[..., Any])


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        text = path.read_text()
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path} is neither TOML nor JSON: {error}", ctx, param) from error
    command = ctx.command.name or ""
    if not isinstance(document, dict) or not all(isinstance(table, dict) for table in document.values()):
        raise click.BadParameter(f"{path} must hold a table [{command}] of options", ctx, param)
    known = {flag.lstrip("-"): p for p in ctx.command.params for flag in p.opts if flag.startswith("--")}
    ctx.default_map = {}
    for name, value in document.get(command, {}).items():
        option = known.get(name.replace("_", "-"))
        if option is None or name == "config":
            raise click.BadParameter(f"{path}: unknown option {name} for {command}", ctx, param)
        ctx.default_map[option.name or ""] = _from_file(option, value, f"{path}: {name}")


def _from_file(option: click.Parameter, value: Any, where: str) -> Any:
    """As the command line would give it, so that click checks it in the same way."""
    values = value if isinstance(value, list) and option.multiple else [value]
    flag = isinstance(option, click.Option) and option.is_flag
    if any(isinstance(v, bool) != flag or not isinstance(v, str | int | float) for v in values):
        raise click.BadParameter(f"{where} cannot be {value!r}")
    return value if flag else [str(v) for v in values] if option.multiple else str(value)


_OPTIONS = {
    "config": click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_read_config,
        is_eager=True,
        expose_value=False,
        help="TOML or JSON file with a table of options for each command, such as [train] sigma = 0.8. The command "
        "line goes before NPSNN_TRAIN_SIGMA and its like, these before the file.",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output."),
    "seed": click.option("--seed", type=int, default=0, show_default=True, help="Names all randomness."),
    "threads": click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads or processes, all cores by default; results do not depend on it.",
    ),
    "device": click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
    "data-dir": click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="NPSNN_DATA",
        help="Where the data sets are (also NPSNN_DATA); by default the user's cache folder.",
    ),
    "runs-dir": click.option(
        "--runs-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="Where the run folders are.",
    ),
    "checkpoint": click.option(
        "--checkpoint",
        type=click.Choice(["last", "best"]),
        default="last",
        show_default=True,
        help="The final network, or that of the highest validation accuracy.",
    ),
    "inference-sigma": click.option(
        "--inference-sigma",
        type=click.FloatRange(0),
        help="Noise of the defended network: the run's own sigma by default, 0 for the expectation network.",
    ),
    "average": click.option(
        "--average",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Draws of the noise whose logits the defended network averages for one answer (A2SNN Table 6).",
    ),
    "conv": click.option(
        "--conv",
        type=click.Choice(METHODS),
        help="How convolutions are computed, by default as in training; winograd rounds a few times as much.",
    ),
    "limit": click.option(
        "--limit", type=click.IntRange(1), help="Only the first N test images; the interval is then for them."
    ),
}


def field_option(
    defaults: object, flag: str, kind: click.ParamType[Any] | Iterable[str], text: str
) -> Callable[[F], F]:
    """An option for a field of an options dataclass, with its default; of some words, a choice of them."""
    name = flag.removeprefix("--").replace("-", "_")
    if not isinstance(kind, click.ParamType):
        kind = click.Choice(list(kind))
    return click.option(flag, type=kind, default=getattr(defaults, name), show_default=True, help=text)


def options(*names: str) -> Callable[[F], F]:
    """The named options that several commands have, in this order in the help text."""

    def decorate(f: F) -> F:
        for name in reversed(names):
            f = _OPTIONS[name](f)
        return f

    return decorate


class Epsilon(click.ParamType[float]):
    """A radius such as 0.1 or 8/255."""

    name = "eps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, *divisors = str(value).split("/")
        try:
            eps = float(number) / float(*divisors or (1,))
        except (ValueError, TypeError, ZeroDivisionError):
            self.fail(f"{value!r} is not a number such as 0.1 or 8/255", param, ctx)
        if not 0 <= eps < float("inf"):
            self.fail(f"{value!r} must be >= 0 and finite", param, ctx)
        return eps


def load_run(
    run: str | None, runs_dir: Path, checkpoint: str, threads: int | None, device: str, conv: str | None = None
) -> tuple[Path, Any, Any]:
    """A run's folder, its classifier on the device, and what its config.json says.

    conv: another way to compute convolutions than in its training.
    """
    from dataclasses import replace

    from npsnn import checkpoint as runs
    from npsnn import files
    from npsnn.classifier import Classifier
    from npsnn.config import read_run

    folder = runs.find_run(run, runs_dir)
    classifier = replace(Classifier.load(folder, checkpoint), threads=threads).to(device)
    classifier = classifier if conv is None else classifier.convolving(conv)
    about, config = read_run(folder)
    done = len(files.read_lines(folder / runs.METRICS))
    if done < config.epochs:
        click.echo(f"warning: {folder} has {done} of its {config.epochs} epochs", err=True)
    return folder, classifier, about


def how_loaded(checkpoint: str, conv: str | None, config: dict[str, Any]) -> dict[str, str]:
    """What of `load_run` a result depends on, to be recorded with it."""
    return {"checkpoint": checkpoint, "conv": conv or config["train"]["conv"]}


def load_test_images(config: dict[str, Any], data_dir: Path | None, limit: int | None) -> tuple[Any, Any]:
    """Images (8-bit) and labels of the run's test set; says on stderr where the data are not those of the run."""
    from npsnn import data

    dataset = data.load(config["train"]["dataset"], data_dir)
    if config.get("data") != dataset.digests:
        click.echo(f"warning: this {dataset.name} is not the one the run was trained on: its digests differ", err=True)
    return dataset.test.images[:limit], dataset.test.labels[:limit]


def test_images(count: int, limit: int | None) -> str:
    """What was attacked or classified, in words."""
    return f"{'the first ' if limit else ''}{count:,} test images"


def averaged(average: int) -> str:
    """What a draw is where answers are averaged, in words; nothing where they are not."""
    return f", every draw an average of {average}" if average > 1 else ""


def print_defended(run: object, images: str, sigma: float, draws: int, average: int, clean: Any) -> None:
    """The heading of what is done to a defended network: its noise, and its `Accuracy` before."""
    noise = f"noise {sigma:g}, {draws} draws{averaged(average)}" if sigma else "noise off"
    click.echo(f"{run}: {images}, {noise}")
    click.echo(f"clean accuracy {percent(clean.mean)}, 95 % interval {interval(clean.ci95)}")


def print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document))


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def interval(ci95: tuple[float, float]) -> str:
    return f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f} %"
