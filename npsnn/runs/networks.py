"""The network of a run: its model and parameters, read from the files of a run's folder."""

import os
from pathlib import Path
from typing import Any

from npsnn import files
from npsnn.backend import Array
from npsnn.files import json_files
from npsnn.layers.base import Params
from npsnn.layers.params import unflatten
from npsnn.models.base import Model
from npsnn.runs import checkpoint, plugins


def load_network(
    run: str | os.PathLike[str] | None, which: str, runs_dir: str | os.PathLike[str]
) -> tuple[Model, Params]:
    """Load the model of a run, and its parameters; arguments and errors as for `npsnn.Classifier.load`."""
    if which not in ("last", "best"):
        raise ValueError(f"checkpoint must be last or best, got {which!r}")
    folder = checkpoint.find_run(run, runs_dir)
    config = folder / checkpoint.CONFIG
    about = json_files.read_json(config)
    with files.blamed(config), plugins.blamed(about):
        model = Model.from_spec(about.get("spec"))
    plugins.warn_of_others(about)
    params, _, _ = load_params(folder / (checkpoint.LAST if which == "last" else checkpoint.BEST), model)
    return model, unflatten(params)


def load_params(
    path: Path, model: Model, prefixes: tuple[str, ...] = ("params/",)
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
    """Load the parameters of a model from a checkpoint.

    path: file of the checkpoint.
    model: the model.
    prefixes: names of the arrays that are read begin with one of these.
    Returns the flat parameters, all arrays that were read, and what the file says besides.
    Raises FileNotFoundError, or ValueError, naming the file, where it is damaged or another model's.
    """
    # Parameters and at most two arrays of an optimiser for each, in double precision at most, each with its headers.
    needed = sum(3 * (8 * p.size + 1024) for p in model.forms().values())
    limit = max(needed, 1 << 26)  # so that most files of another model are read far enough to be told from this one's
    arrays, about = checkpoint.load_arrays(path, limit, prefixes)
    params = checkpoint.without_prefix("params", arrays)
    with files.blamed(path):
        model.check(params)
    return params, arrays, about
