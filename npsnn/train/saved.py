"""The training that config.json of a run holds: flat options under "train", or a training's values under "training".

A network that came without its training has neither (`npsnn.runs.untrained`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from npsnn import files
from npsnn.files import json_files
from npsnn.runs import caveats, checkpoint, plugins
from npsnn.runs.caveats import Caveat
from npsnn.train.config import Config
from npsnn.train.training import Training

Options: TypeAlias = Config | Training


def as_json(options: Options) -> dict[str, Any]:
    """The options as JSON, without the network of a training, which config.json has under "spec".

    Raises ValueError, with the line that mends it, where a value is in no table.
    """
    if isinstance(options, Config):
        return asdict(options)
    return {name: value for name, value in options.to_json().items() if name != "model"}


def entry(options: Options) -> str:
    """The entry of config.json that holds the options."""
    return "train" if isinstance(options, Config) else "training"


def options_of(document: Mapping[str, Any]) -> Options:
    """The options that a config.json holds; raises ValueError where they are not sound."""
    if "training" not in document:
        return Config.from_json(document.get("train"))
    values = document["training"]
    if not isinstance(values, dict):
        raise ValueError(f"a training must be a JSON object, got {values!r:.80}")
    return Training.from_json(values | {"model": document.get("spec")})


def dataset_of(about: Mapping[str, Any]) -> str:
    """The name of the data set of a run, by its config.json; empty for a network that came without one."""
    return str(about["train"]["dataset"] if "train" in about else about.get("dataset") or "")


def start_on_other_data(about: Mapping[str, Any]) -> str:
    """How the data of a run, by its config.json, differ from those of the network that it began with, or ""."""
    start = about.get("start")
    return str(start.get("other_data") or "") if isinstance(start, dict) else ""


def caveats_of(about: Mapping[str, Any], options: Options | None, done: int) -> list[Caveat]:
    """What qualifies every number of a run.

    about, options: as `read_run` returns them.
    done: number of epochs that are done.
    """
    from npsnn import data

    found = caveats.of_run(done, options.epochs if options else 0, data.CAVEATS.get(dataset_of(about)))
    return found + caveats.of_origin(about) + caveats.of_start(start_on_other_data(about))


def read_run(folder: Path) -> tuple[dict[str, Any], Options | None]:
    """The content of config.json in the folder of a run, and the options in it; None where there was no training.

    Raises OSError where the file cannot be read, ValueError, naming it, where the options are not sound.
    """
    path = folder / checkpoint.CONFIG
    about = json_files.read_json(path)
    with files.blamed(path), plugins.blamed(about):
        options = None if checkpoint.is_untrained(about) else options_of(about)
    return about | ({"train": asdict(options)} if isinstance(options, Config) else {}), options


def read_training(folder: Path) -> tuple[dict[str, Any], Options]:
    """What `read_run` returns; ValueError for a network without a training, which cannot go on."""
    about, options = read_run(folder)
    if options is None:
        raise ValueError(f"{folder} holds a network that came without its training: there is nothing to resume")
    return about, options
