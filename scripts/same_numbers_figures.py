"""The figures of a case of `scripts/same-numbers`, by their place, and what differs between two sides."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, Any]

TEXTS = {"run", "name", "question", "explanation", "text", "title", "place"}
OPTIONS = {"train", "plan", "checklist", "threads"}
"""What a document repeats of the options, in a form that may change."""
TIMES = {"seconds", "examples_per_second"}
LEFT_OUT = TEXTS | OPTIONS | TIMES | {"environment"}
LABELS = ("attack", "norm", "eps", "kappa", "number", "id", "code")
"""The entries that tell the elements of a list apart."""
ABOUT, OF_CHECKPOINT = "about.json", ("epoch", "steps", "best")


def flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The figures of a JSON document by their place, such as "results[fgsm linf 0.1].robust_accuracy"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in LEFT_OUT:
                yield from flat(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            labels = [
                f"{inner[key]:.6g}" if isinstance(inner[key], float) else str(inner[key])
                for key in LABELS
                if key in inner
            ]
            yield from flat(inner, f"{where}[{' '.join(labels) or number}]")
    else:
        yield where, value


def of_document(text: str, what: str) -> Figures:
    """The figures of what a command printed; lines that are no JSON document are figures themselves."""
    try:
        return {f"{what}: {where}": value for where, value in flat(json.loads(text))}
    except ValueError:
        return {f"{what}: line {number}": line for number, line in enumerate(text.splitlines(), start=1)}


def of_arrays(path: Path, what: str) -> Figures:
    """Type, shape and digest of each array in an .npz; of what a checkpoint says of itself, its counts."""
    figures = {}
    with np.load(path, allow_pickle=False) as file:
        for name in sorted(file.files):
            array = file[name]
            if name == ABOUT:
                about = json.loads(array.item())
                figures |= {f"{what}: {key}": about.get(key) for key in OF_CHECKPOINT}
            else:
                digest = sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
                figures[f"{what}: array {name}"] = f"{array.dtype.str} {array.shape} {digest[:16]}"
    return figures


def of_folder(folder: Path) -> Figures:
    """The figures of all runs and saved images in the folder of a case."""
    figures: Figures = {}
    for path in sorted(folder.glob("*.npz")):
        figures |= of_arrays(path, path.name)
    for run in sorted(path for path in (folder / "runs").glob("*") if path.is_dir()):
        for path in sorted(run.glob("*.npz")):
            figures |= of_arrays(path, f"{run.name}/{path.name}")
        for line in (run / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            figures |= {f"{run.name}/metrics epoch {record['epoch']}: {k}": v for k, v in flat(record)}
        about = json.loads((run / "config.json").read_text())
        figures |= {f"{run.name}/config: {key}": about.get(key) for key in ("canary", "data", "arrays")}
        figures[f"{run.name}/config: moved"] = len(about.get("moved", []))
    return figures


@dataclass
class Compared:
    """The outcome of a case: the figures that differ, and those that the new side alone has."""

    differences: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def _short(value: Any) -> str:
    """The value in words, digests cut."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{12,}", r"\1", str(value))


def compare(old: Figures, new: Figures) -> Compared:
    """What differs; a figure that is gone differs, and so does an array that was not there."""
    found = Compared()
    for name, value in old.items():
        if name not in new:
            found.differences.append(f"{name} is gone")
        elif json.dumps(value) != json.dumps(new[name]):
            found.differences.append(f"{name}: {_short(value)} is now {_short(new[name])}")
    for name in new.keys() - old.keys():
        (found.differences if ": array " in name else found.added).append(f"{name} is new")
    return found
