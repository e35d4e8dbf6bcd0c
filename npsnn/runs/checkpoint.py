"""Run folders: config.json, metrics.jsonl, last.npz and best.npz, written so that a kill at any moment loses none."""

import json
import os
from collections.abc import Mapping
from io import BytesIO
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from npsnn.files import write_atomic
from npsnn.files.json_files import parse_json, read_json, read_lines
from npsnn.files.npz import read_npz, write_npz
from npsnn.files.paths import user_path
from npsnn.words import nearest_word

CONFIG, METRICS, LAST, BEST = "config.json", "metrics.jsonl", "last.npz", "best.npz"
UNTRAINED = "saved"
"""The entry of config.json that stands in the place of a training: the network came without one."""

ABOUT = "about.json"
WHAT = "checkpoint"
ABOUT_LIMIT = 1 << 20
LIMIT = 1 << 30
"""The bytes that a checkpoint may have, unless its model says less."""

DAMAGED, NO_CHECKPOINT = "is damaged", f"has no {LAST}"
"""Why a run cannot be gone on with, after its name."""

LONGEST_NAME = 255
"""The bytes that file systems have for a folder's name."""


def is_untrained(about: Mapping[str, Any]) -> bool:
    """Whether the run of a config.json is a network without its training."""
    return isinstance(about.get(UNTRAINED), dict)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """An .npz of `arrays`, with `about` (JSON) beside them; equal contents give equal bytes."""
    buffer = BytesIO()
    text = np.array(json.dumps(about, sort_keys=True))
    write_npz(buffer, **{ABOUT: text}, **arrays)
    write_atomic(path, buffer.getvalue())


def load_arrays(
    path: Path, limit: int = LIMIT, prefixes: tuple[str, ...] = ("",)
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of `save_arrays` and what is said about them.

    limit: the bytes that the file may have. prefixes: of the names of the arrays that are read.
    Raises FileNotFoundError, or ValueError for a file that is too large, damaged or no checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    arrays = read_npz(path, WHAT, limit, lambda name: name.startswith((ABOUT, *prefixes)))
    about = arrays.pop(ABOUT, np.zeros(0))
    try:
        if about.shape or about.dtype.kind != "U" or about.nbytes > ABOUT_LIMIT:
            raise ValueError(f"it holds no {ABOUT}, a text of at most {ABOUT_LIMIT:,} bytes")
        return arrays, parse_json(about.item(), f"its {ABOUT}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no {WHAT} of npsnn: {error}") from error


def with_prefix(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def without_prefix(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those arrays whose name begins with `prefix`, without it."""
    return {n.removeprefix(f"{prefix}/"): a for n, a in arrays.items() if n.startswith(f"{prefix}/")}


def find_run(run: str | os.PathLike[str] | None, runs_dir: str | os.PathLike[str] = "runs") -> Path:
    """The folder of a run: a path, a name under `runs_dir`, or for None the newest there that is finished.

    Raises FileNotFoundError that names what was looked for, and what there is.
    """
    if run is None:
        return newest_run(runs_dir)[0]
    runs = user_path(runs_dir)
    if (runs / run / CONFIG).is_file():  # first, since a run may be called ~x
        return runs / run
    if ((folder := user_path(run)) / CONFIG).is_file():
        return folder if folder.name not in ("", "..") else folder.resolve()  # which has a name
    for place in (runs / run, folder):
        if os.path.lexists(place / CONFIG):
            raise FileNotFoundError(f"{place} is no run: its {CONFIG} is no plain file")
    known = [folder.name for folder in by_age(runs)]
    near = nearest_word(Path(run).name, known)
    names = f"did you mean {near}?" if near else f"there: {', '.join(known[-5:]) or 'none'}"
    raise FileNotFoundError(f"unknown run {str(run)!r}: neither a run folder nor a name in {runs}/ ({names})")


def newest_run(runs_dir: str | os.PathLike[str] = "runs") -> tuple[Path, list[str]]:
    """The newest run under `runs_dir` that is finished, and why each newer one is not.

    Raises FileNotFoundError where no run is finished.
    """
    runs, passed = user_path(runs_dir), list[str]()
    for folder in reversed(by_age(runs)):
        reason = unfinished(folder)
        if not reason:
            return folder, passed
        passed.append(f"{folder.name} {reason}")
    if not passed:
        raise FileNotFoundError(f"there are no runs in {runs}/: train one with 'npsnn train', or name a run")
    raise FileNotFoundError(f"no run in {runs}/ is finished: {', '.join(passed[:5])}; name a run to take it as it is")


def by_age(runs: Path) -> list[Path]:
    """The run folders in a folder, the newest last."""
    found = [config for config in runs.glob(f"*/{CONFIG}") if config.is_file()] if runs.is_dir() else []
    return [config.parent for config in sorted(found, key=last_written)]


def unfinished(folder: Path) -> str:
    """Why a run is not finished; empty where it is. A training that diverged has stopped before its last epoch."""
    try:
        about, done = read_json(folder / CONFIG), read_lines(folder / METRICS)
        if not (folder / LAST).is_file():
            return NO_CHECKPOINT
        if not is_zipfile(folder / LAST):  # empty or cut short
            return DAMAGED
        if is_untrained(about):
            return ""
        epochs = about["training" if "training" in about else "train"]["epochs"]
        if done and not isfinite(done[-1]["loss"]):
            return "has diverged"
        return f"has {len(done)} of its {epochs} epochs" if len(done) < max(epochs, 1) else ""
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return DAMAGED


def last_written(config: Path) -> float:
    """When a run was last written, in seconds since 1970; config: its config.json."""
    last = config.with_name(LAST)
    return (last if last.exists() else config).stat().st_mtime


def new_run(runs_dir: str | os.PathLike[str], name: str | None, prefix: str) -> Path:
    """A new, empty folder for a run: `name`, or the first free `prefix`-1, -2, ...

    Making it is what claims it: of two at the same time one gets it. Raises FileExistsError where `name` is taken,
    ValueError where it is no plain folder name.
    """
    runs = user_path(runs_dir)
    if name is not None and (Path(name).name != name or name in ("", "..") or not name.isprintable()):
        raise ValueError(f"the name of a run must be a plain folder name, got {name!r}")
    if name is not None and (name.startswith("-") or len(os.fsencode(name)) > LONGEST_NAME):
        raise ValueError(f"the name of a run must have at most {LONGEST_NAME} bytes and not begin with -, got {name}")
    runs.mkdir(parents=True, exist_ok=True)
    for folder in (runs / (name or f"{prefix}-{i}") for i in count(1)):
        try:
            folder.mkdir()
        except FileExistsError as error:
            if name:
                empty = "remove it, for it holds no run, unless a training has just begun in it"
                held = f"--resume {name}" if (folder / CONFIG).is_file() else empty
                raise FileExistsError(f"{folder} exists already: choose another name, or {held}") from error
        else:
            return folder
    raise AssertionError("unreachable")
