"""Run folders of networks that came without their training: config.json has an entry "saved" in its place."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.data.dataset import Dataset
from npsnn.files import json_files
from npsnn.files.paths import user_path
from npsnn.interrupts import uninterrupted
from npsnn.layers.params import unflatten
from npsnn.models import sigmas
from npsnn.models.base import Model
from npsnn.runs import checkpoint, plugins, provenance
from npsnn.runs.environment import environment


def save_network(
    folder: str | os.PathLike[str],
    model: Model,
    flat: dict[str, np.ndarray],
    dataset: Dataset | None,
    origin: Mapping[str, Any],
) -> Path:
    """Write a network to a folder that every command takes as a run; the folder is returned.

    folder: the folder, new or empty.
    model: the network.
    flat: its parameters by flat name, on the host.
    dataset: data that commands are to measure the network on.
    origin: what config.json is to say of where the network is from.
    An interrupt or a full disk leaves no run. Raises as `npsnn.Classifier.save`.
    """
    folder = user_path(folder)
    model.check(flat)
    if dataset is not None:
        check_fits(model, dataset)
    spec = model.spec()
    if Model.from_spec(spec) != model:
        raise ValueError(f"{model!r} does not come back from its JSON as it was: it could not be loaded again")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} must be a new or empty folder: choose another")
    sigma = sigmas.brief(sigmas.read(model, unflatten(flat)))
    about: dict[str, Any] = {checkpoint.UNTRAINED: {**origin, "sigma": sigma}, "spec": spec}
    if dataset is not None:
        about |= {"dataset": dataset.name, **provenance.entries(dataset)}
    about |= {"environment": environment(), **plugins.recorded()}
    try:
        with uninterrupted():  # the configuration last: only then is the folder a run
            checkpoint.save_arrays(folder / checkpoint.LAST, checkpoint.with_prefix("params", flat), {"epoch": 0})
            json_files.write_json(folder / checkpoint.CONFIG, about)
    except BaseException:
        if not (folder / checkpoint.CONFIG).exists():
            with suppress(OSError):
                (folder / checkpoint.LAST).unlink(missing_ok=True)
                folder.rmdir()
        raise
    return folder


def check_fits(model: Model, dataset: Dataset) -> None:
    """Raise ValueError where the data has other images or classes than the network is made for."""
    provenance.check_dataset(dataset)
    made, has = (tuple(model.shape), model.classes), (tuple(dataset.image_shape), dataset.classes)
    if made != has:
        is_for = f"{model.name} is for images {made[0]} of {made[1]} classes"
        raise ValueError(f"{is_for}, {dataset.name} has images {has[0]} of {has[1]} classes")
