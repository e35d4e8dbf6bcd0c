"""Run folders: config.json, metrics.jsonl, last.npz and best.npz, written so that a kill at any moment loses none."""

import json
import os
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.files import parse_json, write_atomic
from npsnn.npz import read_npz, write_npz

CONFIG, METRICS, LAST, BEST = "config.json", "metrics.jsonl", "last.npz", "best.npz"

ABOUT = "about.json"
WHAT = "checkpoint"
ABOUT_LIMIT = 1 << 20
LIMIT = 1 << 30
"""The bytes that a checkpoint may have, unless its model says less."""


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
    """The folder of a run: a path, a name under `runs_dir`, or for None the newest there.

    Raises FileNotFoundError that names what was looked for, and what there is.
    """
    runs = Path(runs_dir)
    known = sorted(runs.glob(f"*/{CONFIG}"), key=_last_written) if runs.is_dir() else []
    if run is None:
        if not known:
            raise FileNotFoundError(f"there are no runs in {runs}/: train one with 'npsnn train', or name a run")
        return known[-1].parent
    for folder in (runs / run, Path(run)):
        if (folder / CONFIG).is_file():
            return folder
    names = ", ".join(p.parent.name for p in known[-5:]) or "none"
    raise FileNotFoundError(f"unknown run {str(run)!r}: neither a run folder nor a name in {runs}/ (there: {names})")


def _last_written(config: Path) -> float:
    last = config.with_name(LAST)
    return (last if last.exists() else config).stat().st_mtime


def new_run(runs_dir: str | os.PathLike[str], name: str | None, prefix: str) -> Path:
    """A new, empty folder for a run: `name`, or the first free `prefix`-1, -2, ...

    Making it is what claims it: of two at the same time one gets it. Raises FileExistsError where `name` is taken,
    ValueError where it is no plain folder name.
    """
    runs = Path(runs_dir)
    if name is not None and (Path(name).name != name or name in ("", "..") or not name.isprintable()):
        raise ValueError(f"the name of a run must be a plain folder name, got {name!r}")
    runs.mkdir(parents=True, exist_ok=True)
    for folder in (runs / (name or f"{prefix}-{i}") for i in count(1)):
        try:
            folder.mkdir()
        except FileExistsError as error:
            if name:
                raise FileExistsError(f"{folder} exists already: choose another name, or --resume {name}") from error
        else:
            return folder
    raise AssertionError("unreachable")
