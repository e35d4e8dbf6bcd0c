"""The --config file: a table of options for each command, a run's config.json, or what `train --show` prints."""

import json
import os
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from npsnn.cli.suggest import Bare, did_you_mean
from npsnn.cli.terminal import say
from npsnn.files import excerpt, read_bytes

LIMIT = 1 << 18
"""The bytes that a file of options may have: a run's config.json takes a tenth of them."""
TOML_LIMIT = 1 << 14
"""The characters of a file in TOML: Python's parser takes a time that grows with the square of dotted names."""
LONGEST_VALUE = 1000
VARIABLES = tuple(f"NPSNN_{name}" for name in ["CHAIN", "DATA", "DEBUG", "FUSE", "GRAPH", "MALLOC", "MPI", "PLUGIN"])
"""Those that set no option of a single command."""


def read(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the options of the command's table its defaults; raises BadParameter for what is no table of options."""
    _warn_of_variables(ctx)
    if path is None:
        return
    try:
        document = parsed(path)
        command = ctx.command.name or ""
        known = {flag.lstrip("-"): p for p in ctx.command.params for flag in p.opts if flag.startswith("--")}
        del known["config"]  # a file names no other file
        defaults = {}
        for name, value in tables(document, command).get(command, {}).items():
            flag = name.replace("_", "-")
            if flag not in known:
                raise ValueError(f"unknown option {name} for {command}.{did_you_mean(flag, known)}")
            defaults[known[flag].name or ""] = _as_given(known[flag], value, name)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path}: {excerpt(error)}", ctx, param) from error
    ctx.default_map = defaults


def _warn_of_variables(ctx: click.Context) -> None:
    """Variables that look as if they set an option of the command, and do not, are not passed over in silence."""
    from npsnn.cli.main import COMMANDS

    prefix = f"{ctx.auto_envvar_prefix}_"
    known = [f"{prefix}{p.name}".upper() for p in ctx.command.params if isinstance(p, click.Option)]
    others = tuple(f"NPSNN_{command}_".upper() for command in COMMANDS if command != ctx.command.name)
    for name in sorted(os.environ):
        if name.startswith("NPSNN_") and name not in (*known, *VARIABLES) and not name.startswith(others):
            say(f"warning: {name} sets no option of {ctx.command.name}.{did_you_mean(name, known)}", err=True)


def parsed(path: Path) -> Any:
    try:
        text = read_bytes(path, LIMIT, pipes=True).decode("utf-8-sig")
        if path.suffix == ".json" or text.lstrip().startswith("{"):
            return json.loads(text)
        if len(text) > TOML_LIMIT:
            raise ValueError(f"TOML must have at most {TOML_LIMIT:,} characters, got {len(text):,}")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"neither TOML nor JSON: {error}") from error


def tables(parsed: Any, command: str) -> dict[str, dict[str, Any]]:
    """The options by command; those of a training stand alone in what --show prints, beside others in config.json."""
    from npsnn.cli.main import COMMANDS
    from npsnn.train.config import Config, renewed

    document: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    if {"model", "dataset"} <= document.keys() <= {field.name for field in fields(Config)}:
        return {"train": _of_training(renewed(document))}
    if {"train", "spec"} <= document.keys() and isinstance(document["train"], dict):
        return {"train": _of_training(renewed(document["train"]))}
    if not document or not all(isinstance(table, dict) for table in document.values()):
        raise ValueError(f"it must hold a table [{command}] of options")
    for name in document.keys() - COMMANDS.keys():
        raise ValueError(f"unknown table [{name}].{did_you_mean(name, COMMANDS)}")
    return document


def _of_training(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a training as they would be given: None is not given, noise_only needs a network to begin with."""
    if options.get("noise_only"):
        raise ValueError("its training begins with another run's network: give --train-noise-only RUN and the options")
    return {name: value for name, value in options.items() if value is not None and name != "noise_only"}


def _as_given(option: click.Parameter, value: Any, name: str) -> Any:
    """As the command line would give it, so that click checks it in the same way."""
    values = value if isinstance(value, list) and option.multiple else [value]
    bare = option.flag_value if isinstance(option, click.Option) else None
    if isinstance(bare, Bare) and value is True:
        return bare
    flag = isinstance(option, click.Option) and option.is_flag
    if any(isinstance(v, bool) != flag or not isinstance(v, str | int | float) for v in values):
        raise ValueError(f"{name} cannot be {value!r}")
    if any(len(str(v)) > LONGEST_VALUE for v in values):
        raise ValueError(f"{name} must have at most {LONGEST_VALUE:,} characters")
    return value if flag else [str(v) for v in values] if option.multiple else str(value)
