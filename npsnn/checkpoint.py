"""Run folders: config.json, metrics.jsonl, last.npz and best.npz, written so that a kill at any moment loses none."""

import json
import os
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.files import write_atomic
from npsnn.npz import write_npz

CONFIG, METRICS, LAST, BEST = "config.json", "metrics.jsonl", "last.npz", "best.npz"


def save_arrays(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """An .npz of `arrays`, with `about` (JSON) beside them; equal contents give equal bytes."""
    buffer = BytesIO()
    text = np.array(json.dumps(about, sort_keys=True))
    write_npz(buffer, **{"about.json": text}, **arrays)
    write_atomic(path, buffer.getvalue())


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of `save_arrays` and what is said about them.

    Raises FileNotFoundError, or ValueError for a file that is damaged or no checkpoint. Nothing is unpickled.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about: dict[str, Any] = json.loads(str(arrays.pop("about.json")))
        if not isinstance(about, dict):
            raise ValueError("about.json holds no object")
    except Exception as error:  # a damaged archive can raise nearly anything
        raise ValueError(f"{path} is damaged or no checkpoint of npsnn: {error}") from error
    return arrays, about


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
