"""Whether a run can go on as if it had never stopped: its files, and how numbers are rounded."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.backend import to_device, to_host
from npsnn.files import blamed
from npsnn.files.json_files import write_json
from npsnn.host import one_blas_thread
from npsnn.layers.params import flatten
from npsnn.runs import provenance
from npsnn.runs.checkpoint import CONFIG, LAST, METRICS
from npsnn.runs.environment import environment
from npsnn.streams import Stream
from npsnn.train import saved
from npsnn.train.losses import plain
from npsnn.train.part import PartGradient
from npsnn.train.training import Training

TIMES = ("seconds", "examples_per_second")
"""The figures of an epoch that differ from one time to the next."""
EXAMPLES = 8


def bound(document: Mapping[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    """A checkpoint's entries about other files, for `check_files`; document: config.json, records: metrics.jsonl."""
    options = document["training" if "training" in document else "train"]
    return {"options": options, "spec": _digest(document["spec"]), "metrics": _digest(_lasting(records))}


def check_files(
    folder: Path, document: Mapping[str, Any], records: list[dict[str, Any]], about: Mapping[str, Any]
) -> None:
    """Raise ValueError, naming the file, where config.json or metrics.jsonl is not as the checkpoint has left it.

    about: what last.npz says. More epochs may be asked for under a constant learning rate. Warns where the checkpoint
    is of a version that did not bind the files.
    """
    if "options" not in about:
        text = f"{folder} was trained by an older version: whether its options or metrics were changed is not known"
        warnings.warn(text, stacklevel=3)
        return
    options = saved.options_of(document)
    with blamed(folder / LAST):
        trained = saved.options_of({**document, saved.entry(options): about["options"]})
    if options.any_length and trained.any_length:
        trained = replace(trained, epochs=options.epochs)
    before, now = saved.as_json(trained), saved.as_json(options)
    odd = ", ".join(f"{name} is {now[name]!r} and was {before[name]!r}" for name in now if now[name] != before[name])
    if not odd and _digest(document["spec"]) != about.get("spec"):
        odd = "the spec of its network is another"
    if odd:
        raise ValueError(f"{folder / CONFIG} was changed in the midst of the training: {odd}; {_remedy()}")
    epochs = about["epoch"]
    if len(records) < epochs:
        what = f"has {len(records)} of the {epochs} epochs that {LAST} has had"
        raise ValueError(f"{folder / METRICS} {what}: {_remedy()}")
    if _digest(_lasting(records[:epochs])) != about.get("metrics"):
        raise ValueError(f"{folder / METRICS} was changed in the midst of the training: {_remedy()}")


def _remedy() -> str:
    return "put the original file back, or train a new run"


def _lasting(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def _digest(document: Any) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def canary(training: Training, device: str) -> str:
    """The digest of a small gradient of the training, which changes where numbers are rounded in another way."""
    model = training.model
    rng = Stream(0).at("canary").generator()
    images = rng.integers(0, 256, (EXAMPLES, *model.shape), np.uint8)
    params = {name: to_device(p, device) for name, p in flatten(model.init(rng)).items()}
    gradient = PartGradient(replace(training, loss=plain(training.loss)))
    with one_blas_thread(), np.errstate(all="ignore"):
        total = gradient(params, images, np.arange(EXAMPLES) % model.classes, Stream(1), Stream(2))
    return provenance.digest({name: to_host(g) for name, g in (total.grads or {}).items()})


def check_rounding(folder: Path, document: dict[str, Any], training: Training, device: str, done: int) -> None:
    """Warn where this processor, GPU or BLAS rounds otherwise than the one before; config.json then says so.

    done: the whole epochs before.
    """
    moves = document.get("moved", [])
    before = (moves[-1] if moves else document).get("canary")
    if before is None:
        return
    now = canary(training, device)
    if now == before:
        return
    text = (
        f"this processor, GPU or BLAS rounds otherwise than the one that {folder} was trained on: its bytes will differ"
    )
    warnings.warn(text, stacklevel=3)
    move = {"after_epoch": done, "canary": now, "environment": environment(device)}
    document["moved"] = [*moves, move]
    write_json(folder / CONFIG, document)
