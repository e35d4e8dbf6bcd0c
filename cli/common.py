"""Options and JSON, shared by the commands."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from npsnn.backend import check_device
from npsnn.cli import config_file
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.files.paths import user_path
from npsnn.host import check_threads
from npsnn.layers.affine import METHODS
from npsnn.runs.caveats import Caveat

F = TypeVar("F", bound=Callable[..., Any])


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


class UserPath(click.Path):
    """A path in which ~ and ~user are home directories, wherever it was written."""

    def __init__(self, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(user_path(value), param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Threads(click.IntRange):
    """A number of threads that the machine could use."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        threads = super().convert(value, param, ctx)
        try:
            check_threads(threads)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return threads


class Device(click.ParamType[str]):
    """The name of a device; whether there is one is found out when it is used."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_device(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


_OPTIONS = {
    "config": click.option(
        "--config",
        type=UserPath(exists=True, dir_okay=False),
        callback=config_file.read,
        is_eager=True,
        expose_value=False,
        help="TOML or JSON file with a table of options for each command, such as [train] sigma = 0.8; a run's "
        "config.json is one as well. The command line takes precedence over variables such as NPSNN_TRAIN_SIGMA, and "
        "variables over the file.",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output."),
    "seed": click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers."),
    "threads": click.option(
        "--threads",
        type=Threads(),
        help="Threads or processes, all cores by default; results do not depend on it.",
    ),
    "device": click.option("--device", type=Device(), default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
    "data-dir": click.option(
        "--data-dir",
        type=UserPath(file_okay=False),
        envvar="NPSNN_DATA",
        help="Where the data sets are (also NPSNN_DATA); by default the user's cache folder.",
    ),
    "runs-dir": click.option(
        "--runs-dir",
        type=UserPath(file_okay=False),
        default=Path("runs"),
        show_default=True,
        help="Where the run folders are.",
    ),
    "checkpoint": click.option(
        "--checkpoint",
        type=Choice(["last", "best"]),
        default="last",
        show_default=True,
        help="The final network, as the papers report it, or that of the highest validation accuracy with the noise "
        "off. The latter may be an early one that lives badly with its noise: last is the default.",
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
        type=Choice(METHODS),
        help="How convolutions are computed, by default as in training; winograd rounds a few times as much.",
    ),
    "other-data": click.option(
        "--other-data", is_flag=True, help="Go on where the data are not those of the run; every result says so."
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
        kind = Choice(kind)
    return click.option(flag, type=kind, default=getattr(defaults, name), show_default=True, help=text)


def options(*names: str) -> Callable[[F], F]:
    """The named options that several commands have, in this order in the help text."""

    def decorate(f: F) -> F:
        for name in reversed(names):
            f = _OPTIONS[name](f)
        return f

    return decorate


def in_flags(sentence: str, command: click.Command, others: Mapping[str, str] | None = None) -> str:
    """A sentence about fields of an options dataclass with the command's flags in their place."""
    flags = {p.name: p.opts[-1] for p in command.params if isinstance(p, click.Option)} | dict(others or {})
    # a field of one word is also a word of the sentence: only what the sentence is about is surely the field
    return re.sub(r"\w+_\w+|^\w+", lambda word: flags.get(word[0], word[0]), sentence)


@contextmanager
def speaking_of_flags(**others: str) -> Iterator[None]:
    """Make a ValueError of an options dataclass wrong usage of the command, with flags in the place of fields.

    others: the flags of fields that are called otherwise than their option.
    """
    try:
        yield
    except ValueError as error:
        raise click.UsageError(in_flags(str(error), click.get_current_context().command, others)) from error


def test_images(count: int, limit: int | None) -> str:
    """What was attacked or classified, in words."""
    return f"{'the first ' if limit else ''}{count:,} test images"


def averaged(average: int) -> str:
    """What a draw is where answers are averaged, in words; nothing where they are not."""
    return f", every draw an average of {average}" if average > 1 else ""


def say_cost(cost: Any, images: int) -> None:
    """Print the cost of attacks on standard error."""
    seconds = cost.seconds
    time = (
        f"{seconds / 3600:.1f} h"
        if seconds > 3600
        else f"{seconds / 60:.0f} min"
        if seconds > 90
        else f"{seconds:.0f} s"
    )
    say(f"{cost.passes:,} passes an image; {images:,} images will take about {time}", err=True)


def print_caveats(caveats: Iterable[Caveat], mark: str = "") -> None:
    """One line for each under a table; mark: of the row that they are about."""
    for caveat in caveats:
        say(f"{mark or 'note'}: {caveat.text} [{caveat.code}]")


def print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document))


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def interval(ci95: tuple[float, float]) -> str:
    return f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f} %"
