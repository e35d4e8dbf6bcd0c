"""Options of the commands: made of what a dataclass declares, or shared by name; `--help` lists them in groups."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import click

from npsnn import validate
from npsnn.cli import completion, config_file
from npsnn.cli.help import Option
from npsnn.cli.suggest import Bare, Choice
from npsnn.cli.values import DataSet, Device, Epsilon, Number, Threads, UserPath, WholeNumber
from npsnn.layers.affine import METHODS

F = TypeVar("F", bound=Callable[..., Any])


RUN_ARGUMENT = click.Argument(["run"], required=False, shell_complete=completion.runs)


def runs_argument(metavar: str) -> click.Argument:
    """The argument of a command that takes several runs; metavar: how its help names them."""
    return click.Argument(["runs"], nargs=-1, metavar=metavar, shell_complete=completion.runs)


def options_of(kind: Any, *names: str, **defaults: Any) -> list[click.Parameter]:
    """An option for each field of a dataclass that declares one, or for the named fields alone.

    defaults: of the command, by field, where they are not those of the dataclass.
    """
    declared, of_name = validate.declared(kind), {f.name: f for f in fields(kind)}
    default = {name: f.default for name, f in of_name.items()} | defaults
    return [_option(declared[name], name, of_name[name].type, default[name]) for name in names or declared]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a command's options by the dataclass fields that they set; without those that were not given."""
    options = {p.name: p for p in click.get_current_context().command.params if isinstance(p, Option) and p.field}
    return {str(options[name].field): v for name, v in values.items() if name in options and v is not None and v != ()}


def _option(declared: validate.Option, name: str, kind: Any, default: Any) -> Option:
    flag = declared.flag or f"--{name.replace('_', '-')}"
    settings: dict[str, Any] = {"group": declared.group, "field": name, "help": _sentence(declared)}
    if kind is bool:
        return Option(flag, is_flag=True, default=default, **settings)
    if isinstance(kind, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
        settings |= {"multiple": True, "help": f"{settings['help']} Repeatable."}
    else:
        settings["default"] = default
    if declared.bare is not None:
        settings |= {"is_flag": False, "flag_value": Bare(declared.bare)}
    settings["shown"] = declared.shown or _in_words(default)
    return Option(flag, type=_type(declared, kind), metavar=_word(declared, kind), **settings)


def _sentence(declared: validate.Option) -> str:
    """Its help text, with the choices in it and the range after it, unless that goes without saying."""
    text = declared.sentence()
    if declared.high is not None:
        return f"{text} From {declared.low:g} to {declared.high:g}."
    return f"{text} At least {declared.low:g}." if declared.low and declared.low > 1 else text


def _in_words(default: Any) -> str:
    several = default if isinstance(default, tuple) else () if default is None else (default,)
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in several)


def _word(declared: validate.Option, kind: type) -> str:
    if declared.bare is not None:
        return f"[{declared.word}]"
    if declared.word:
        return declared.word
    return "NAME" if declared.choices else {int: "N", float: "EPS" if declared.fraction else "X"}.get(kind, "TEXT")


def _type(declared: validate.Option, kind: type) -> click.ParamType[Any]:
    """What click checks: the same as `validate.check_options`."""
    low, high, words = declared.low, declared.high, declared.words()
    if words is not None:
        return DataSet(words) if declared.paths else Choice(words)
    if declared.fraction:
        return Epsilon()
    if kind is float:
        return Number(low, high, declared.above, declared.below)
    if kind is int and low is not None:
        return WholeNumber(int(low), None if high is None else int(high))
    return click.types.convert_type(kind)


def converted(declared: validate.Option, kind: Any, text: str) -> Any:
    """The value of a field that a text stands for; several are parted by commas, "none" is none of them.

    declared: what the field declares.
    kind: type of the field.
    Raises BadParameter for a text that is no such value.
    """
    if isinstance(kind, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        several = [] if text in ("", "none") else text.split(",")
        return tuple(converted(declared, get_args(kind)[0], part) for part in several) or None
    return (click.BOOL if kind is bool else _type(declared, kind)).convert(text, None, None)


_SHARED: dict[str, dict[str, Any]] = {
    "config": {
        "type": UserPath(exists=True, dir_okay=False),
        "callback": config_file.read,
        "is_eager": True,
        "expose_value": False,
        "help": "TOML or JSON file of options (npsnn --help); config.json of a run is one.",
    },
    "json": {"is_flag": True, "help": "Print one JSON document on standard output."},
    "seed": {"type": int, "metavar": "N", "default": 0, "shown": "0", "help": "Seed of all random numbers."},
    "threads": {
        "type": Threads(),
        "metavar": "N",
        "help": "Number of threads or processes, all cores by default. Results do not depend on it.",
    },
    "device": {
        "type": Device(),
        "default": "cpu",
        "shown": "cpu",
        "help": "Where arrays are: cpu, cuda or cuda:N.",
    },
    "tf32": {
        "is_flag": True,
        "help": "Let a GPU round the factors of products to TF32, 10 bits: faster, and less exact.",
    },
    "data-dir": {
        "type": UserPath(file_okay=False),
        "metavar": "FOLDER",
        "envvar": "NPSNN_DATA",
        "group": "Data",
        "help": "Folder of the data sets, also NPSNN_DATA; by default the user's cache folder.",
    },
    "runs-dir": {
        "type": UserPath(file_okay=False),
        "metavar": "FOLDER",
        "default": Path("runs"),
        "shown": "runs",
        "help": "Folder of the run folders.",
    },
    "checkpoint": {
        "type": Choice(["last", "best"]),
        "metavar": "NAME",
        "default": "last",
        "shown": "last",
        "help": "Network of the run: last is the final one, as the papers report it; best has the highest validation "
        "accuracy with the noise off, and may live badly with its noise.",
    },
    "conv": {
        "type": Choice(METHODS),
        "metavar": "NAME",
        "help": "How convolutions are computed: auto, direct or winograd, by default as in training. winograd rounds "
        "a few times as much.",
    },
    "other-data": {
        "is_flag": True,
        "group": "Data",
        "help": "Go on where the data are not those of the run. Every result says so.",
    },
    "limit": {
        "type": WholeNumber(1),
        "metavar": "N",
        "group": "Data",
        "help": "Take only the first N test images.",
    },
}


def shared(*names: str, **settings: Any) -> list[click.Parameter]:
    """The named options that several commands have, in the order of the help text; settings: others than usual."""
    return [Option(_flags(name), **_SHARED[name] | settings) for name in names]


def _flags(name: str) -> list[str]:
    return ["--json", "as_json"] if name == "json" else [f"--{name}"]


def options(*names: str) -> Callable[[F], F]:
    """The options of `shared` as a decorator, for scripts."""

    def decorate(f: F) -> F:
        for name in reversed(names):
            f = click.option(*_flags(name), cls=Option, **_SHARED[name])(f)
        return f

    return decorate
