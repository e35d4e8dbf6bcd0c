"""The runs in a folder, as a list: what each is of, how far it came, and how well it reads."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from npsnn import data
from npsnn.files.json_files import each_line, read_json
from npsnn.files.paths import user_path
from npsnn.runs import checkpoint
from npsnn.validate import check_count

FINISHED, STOPPED, BROKEN = STATES = "finished", "stopped", "broken"
"""Stopped is a run that has not all its epochs, or whose loss is no number; its files cannot tell a run at work."""
UNKNOWN = "?"


@dataclass(frozen=True)
class Listed:
    """A run, as its files say.

    name: of its folder.
    folder: the folder.
    dataset, model: their names, "?" where the files do not say.
    noise: the recipe of a defence by its name, else the kind of the noise and its sigma after the last epoch.
    done: number of epochs that are done.
    epochs: number of epochs that were asked for; None where the files do not say.
    accuracy: validation accuracy after the last epoch with the noise off; None before the first.
    noisy_accuracy: the same under one draw of the noise.
    attacked: number of results of attacks that the folder has.
    state: "finished", "stopped" or "broken".
    why: why it is not finished, "" where it is.
    written: when its network was last written, in seconds since 1970.
    """

    name: str
    folder: Path
    dataset: str
    model: str
    noise: str
    done: int
    epochs: int | None
    accuracy: float | None
    noisy_accuracy: float | None
    attacked: int
    state: str
    why: str
    written: float


def runs(
    folder: str | os.PathLike[str] = "runs",
    dataset: str | None = None,
    model: str | None = None,
    state: str | None = None,
    newest: int | None = None,
) -> list[Listed]:
    """List the runs in a folder, the newest first.

    folder: of the run folders.
    dataset: only runs on the data set of this name, or of this path or its last part.
    model: only runs of the model of this name.
    state: only runs in this state: "finished", "stopped" or "broken".
    newest: only so many, the newest; None for all.
    Raises FileNotFoundError where there is no such folder, ValueError for another state and for a number below 1.
    """
    place = user_path(folder)
    if newest is not None:
        check_count("newest", newest)
    if state is not None and state not in STATES:
        raise ValueError(f"state must be {', '.join(STATES[:-1])} or {STATES[-1]}, got {state!r}")
    if not place.is_dir():
        raise FileNotFoundError(f"there is no folder {place}/ of runs: train one with 'npsnn train', or name another")
    found = [listed(path) for path in reversed(checkpoint.by_age(place))]
    wanted = {"model": model, "state": state}
    kept = [run for run in found if all(value in (None, getattr(run, name)) for name, value in wanted.items())]
    if dataset is not None:
        names = {dataset, str(user_path(dataset).absolute())}
        kept = [run for run in kept if names & {run.dataset, data.short(run.dataset)}]
    return kept[:newest]


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders of several runs by their names, or by their paths where two have one name.

    Raises ValueError where a run is there twice.
    """
    places = [folder.resolve() for folder in folders]
    if twice := next((folder for folder in folders if places.count(folder.resolve()) > 1), None):
        raise ValueError(f"runs must differ, got {twice} twice")
    names = [folder.name for folder in folders]
    return dict(zip(names if len(set(names)) == len(names) else map(str, folders), folders, strict=True))


def listed(folder: Path) -> Listed:
    """One run; whatever its files hold, the answer says so and nothing is raised."""
    why = checkpoint.unfinished(folder)
    about = _read(folder / checkpoint.CONFIG)
    options = _mapping(about.get("training" if "training" in about else "train"))
    epochs = options.get("epochs")
    lines = _lines(folder / checkpoint.METRICS)
    last = next((line for line in reversed(lines) if line), dict[str, Any]())
    broken = why in (checkpoint.DAMAGED, checkpoint.NO_CHECKPOINT)
    return Listed(
        name=folder.name,
        folder=folder,
        dataset=str(options.get("dataset") or about.get("dataset") or UNKNOWN),
        model=str(options.get("model") or _mapping(about.get("spec")).get("name") or UNKNOWN),
        noise=_noise(about, options, last.get("sigma", _mapping(about.get(checkpoint.UNTRAINED)).get("sigma"))),
        done=sum(line is not None for line in lines),
        epochs=epochs if isinstance(epochs, int) else None,
        accuracy=_number(last.get("validation_accuracy")),
        noisy_accuracy=_number(last.get("noisy_validation_accuracy")),
        attacked=sum(bool(line and "result" in line) for line in _lines(folder / "attacks.jsonl")),
        state=BROKEN if broken else STOPPED if why else FINISHED,
        why=why,
        written=checkpoint.last_written(folder / checkpoint.CONFIG),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (ValueError, OSError):
        return {}


def _lines(path: Path) -> list[dict[str, Any] | None]:
    try:
        return list(each_line(path))
    except (ValueError, OSError):
        return []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if known else None


def _noise(about: Mapping[str, Any], options: Mapping[str, Any], sigma: Any) -> str:
    """The recipe by its name, else the kind of the noise with its sigma, or of several layers the range of theirs."""
    recipe = _mapping(about.get("recipe")).get("type")
    if isinstance(recipe, str):
        from npsnn.train.defences import DEFENCES  # here, for few runs have one

        return next((name for name, kind in DEFENCES.items() if kind.__name__ == recipe), recipe)
    kind = options.get("noise")
    if kind == "none":
        return "none"
    levels = [v for v in map(_number, sigma.values() if isinstance(sigma, dict) else [sigma]) if v is not None]
    levels = levels or [v for v in [_number(options.get("sigma"))] if v is not None]
    word = kind if isinstance(kind, str) else "sigma"  # a training as values says no kind
    if not any(levels):
        return word if isinstance(kind, str) else "none" if levels else UNKNOWN
    low, high = f"{min(levels):.3g}", f"{max(levels):.3g}"
    return f"{word} {low if low == high else f'{low}-{high}'}"
