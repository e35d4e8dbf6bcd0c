"""What `npsnn attack` and `npsnn checklist` have recorded in a run's folder, as values: the newest of each kind."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.attacks.record import LINES
from npsnn.attacks.results import titled
from npsnn.files import journal
from npsnn.files.npz import read_npz
from npsnn.runs.caveats import Caveat

CHECKLIST = "checklist.jsonl"
WORST = "worst of them"
FIGURES = 1 << 28
"""The bytes that the figures of a result's images may have."""
SETTINGS = ("checkpoint", "epoch", "inference_sigma", "draws", "average", "answer", "examples", "other_data")
"""Entries of a line that say of which network its result is and how it was judged, beside the attack's options."""
OF_THE_RUN = ("checkpoint", "epoch", "inference_sigma")
"""Those of them in which runs differ anyway."""
OF_THE_STRENGTH = ("eps", "type", "norm")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One result of an attack, as its line in attacks.jsonl has it.

    folder: of the run.
    title: what the attack is called, "worst of them" for a worst case.
    norm: of its ball.
    eps: of its ball; infinite for an attack that looks for the nearest image.
    accuracy: what it leaves.
    ci95: the 95 % interval.
    clean: accuracy without an attack.
    clean_ci95: its 95 % interval; None where the line has none.
    gradient: the kind of its gradient, "" for a worst case.
    settings: its options, and how it was judged.
    caveats: what qualifies the number.
    line: the whole line.
    """

    folder: Path
    title: str
    norm: str
    eps: float
    accuracy: float
    ci95: tuple[float, float]
    clean: float
    clean_ci95: tuple[float, float] | None
    gradient: str
    settings: Mapping[str, Any]
    caveats: tuple[Caveat, ...]
    line: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What tells a result from results of other attacks and settings, whatever its eps."""
        return json.dumps([self.title, self.norm, dict(self.settings)], sort_keys=True, default=str)

    def images(self) -> dict[str, np.ndarray]:
        """The figures of each image; none where their file is missing or damaged."""
        try:
            path = self.folder / str(self.line["images"])
            return read_npz(path, "record of an attack", FIGURES)
        except (ValueError, OSError, KeyError):
            return {}


@dataclass(frozen=True, eq=False)
class Series:
    """Results of one attack that differ by their eps alone.

    label: the attack's name, with what tells it from others of the name.
    points: by rising eps.
    """

    label: str
    points: tuple[Recorded, ...]

    @property
    def norm(self) -> str:
        """The norm of its balls."""
        return self.points[0].norm

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options of the attack, and how it was judged."""
        return self.points[0].settings


def attacks_of(folder: Path) -> list[Recorded]:
    """The newest result of each attack on a run at each eps, in the order in which they were first made.

    folder: of the run. A run that was made longer has results of the networks before as well.
    Raises OSError where the record cannot be read, ValueError where it is too large. Warns of damaged lines.
    """
    every = (_recorded(folder, line) for line in journal.read(folder / LINES))
    return list({(r.key, r.eps): r for r in every if r}.values())


def _recorded(folder: Path, line: dict[str, Any]) -> Recorded | None:
    """The result of a line; None for a line of another kind."""
    try:
        row = line["result"] if "result" in line else line["worst_case"]
        worst = "worst_case" in line
        says = {"kappa": row["kappa"]} if row.get("kappa") is not None else {}
        own = {} if worst else _flat({k: v for k, v in line["attack"].items() if k not in OF_THE_STRENGTH})
        settings = own | {name: line.get(name) for name in SETTINGS}
        settings["on_grid"] = line["plan"].get("on_grid", False)
        if not all(isinstance(line.get(name), int) for name in ("examples", "draws")):
            return None
        return Recorded(
            folder,
            row.get("name", WORST) if worst else titled(row["attack"], says),
            str(row["norm"]),
            inf if row["eps"] is None else _number(row["eps"]),
            _number(row["robust_accuracy"]),
            _interval(row["ci95"]),
            _number(line["clean_accuracy"]),
            _interval(line["clean_ci95"]) if "clean_ci95" in line else None,
            "" if worst else str(row["gradient"]),
            settings,
            tuple(Caveat(str(c["code"]), str(c["text"])) for c in row.get("caveats", [])),
            line,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _number(value: Any) -> float:
    if not isfinite(number := float(value)):
        raise ValueError(f"a figure must be finite, got {number}")
    return number


def _interval(value: Any) -> tuple[float, float]:
    low, high = map(_number, value)
    return low, high


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= _flat(value, f"{name} ") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def series(results: Iterable[Recorded], others: Iterable[Recorded] = ()) -> list[Series]:
    """The results by their attack and settings, each named so that no two have one name.

    others: results of other runs, from which a name tells them too, but for what is of the run itself.
    """
    of_key: dict[str, list[Recorded]] = {}
    for result in results:
        of_key.setdefault(result.key, []).append(result)
    every = [tuple(sorted(own, key=lambda r: r.eps)) for own in of_key.values()]
    foreign = list(others)
    return [Series(_label(own[0], [other[0] for other in every], foreign), own) for own in every]


def _label(result: Recorded, every: list[Recorded], foreign: list[Recorded]) -> str:
    """The attack's name, and those of its settings in which others of the name and norm differ."""

    def differ(name: str, some: list[Recorded]) -> bool:
        alike = (r.settings for r in some if r.title == result.title and r.norm == result.norm)
        return any(own.get(name) != result.settings[name] for own in alike)

    odd = [n for n in result.settings if differ(n, every) or (n not in OF_THE_RUN and differ(n, foreign))]
    told = [f"{_WORDS.get(name, name.replace('_', ' '))} {_shown(result.settings[name])}" for name in odd]
    return f"{result.title} ({', '.join(told)})" if told else result.title


_WORDS = {"examples": "images", "source draws": "EoT", "inference_sigma": "sigma", "checkpoint": "network"}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def checklist_of(folder: Path, parameters: Iterable[str] | None = None) -> dict[str, Any] | None:
    """The newest complete result of the checklist on a run, as its line in checklist.jsonl has it; None without one.

    folder: of the run.
    parameters: digests of the networks that count; None for all.
    Raises OSError and ValueError, and warns, as `attacks_of`.
    """
    known = None if parameters is None else set(parameters)
    lines = [line for line in journal.read(folder / CHECKLIST) if isinstance(line.get("criteria"), list)]
    whole = [
        line for line in lines if not line.get("interrupted") and (known is None or line.get("parameters") in known)
    ]
    return whole[-1] if whole else None
