"""Whatever lies in a run folder: one line of error that names the file, little memory, and no traceback."""

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn

Spoil = Callable[[Path], Any]


def changed(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Changes the document in config.json."""

    def spoil(run: Path) -> None:
        path = run / "config.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def text(name: str, content: str) -> Spoil:
    return lambda run: (run / name).write_text(content)


def sparse(name: str) -> Spoil:
    """Makes the file five gigabytes long, of which nothing is on the disk."""

    def spoil(run: Path) -> None:
        with (run / name).open("r+b") as file:
            file.truncate(5 << 30)

    return spoil


def compressed(run: Path) -> None:
    with np.load(run / "last.npz") as file:
        arrays = dict(file)
    np.savez_compressed(run / "last.npz", **(arrays | {"optimizer/more": np.zeros(25_000_000)}))


def no_arrays(run: Path) -> None:
    with zipfile.ZipFile(run / "last.npz", "w") as archive:
        archive.writestr("a.txt", "a")


LINEAR = {"name": "huge", "type": "Linear", "features": 10**9}
CONVOLUTION = {"name": "huge", "type": "Conv2d", "channels": 10**6, "kernel": 1}

SPOILERS: dict[str, tuple[Spoil, str, str]] = {
    "nested": (text("config.json", "[" * 100_000), "config.json", "is not JSON"),
    "no JSON": (text("config.json", '{"train": {}, "spec": NaN}'), "config.json", "NaN"),
    "sparse": (sparse("config.json"), "config.json", "must have at most 1,048,576 bytes, got 5,368,709,120"),
    "no specification": (changed(lambda d: d.pop("spec")), "config.json", "not a model specification"),
    "long sigma": (changed(lambda d: d["train"].update(sigma=10**400)), "config.json", "sigma must be a number of"),
    "long sigma of the noise": (
        changed(lambda d: d["spec"]["layers"][1].update(sigma=10**400)),
        "config.json",
        "sigma must be a number of",
    ),
    "infinite": (changed(lambda d: d["train"].update(lr=float("inf"))), "config.json", "Infinity"),
    "unknown option": (changed(lambda d: d["train"].update(colour=1)), "config.json", "unknown training options"),
    "huge layer": (changed(lambda d: d["spec"]["layers"].insert(-1, LINEAR)), "config.json", "at most 67,108,864 par"),
    "huge output": (
        changed(lambda d: d["spec"]["layers"].insert(1, CONVOLUTION)),
        "config.json",
        "at most 67,108,864 numbers a micro-batch",
    ),
    "huge micro-batch": (
        changed(lambda d: d["spec"].update(micro_batch=10**9)),
        "config.json",
        "at most 67,108,864 numbers a micro-batch",
    ),
    "compressed": (compressed, "last.npz", "is compressed"),
    "no arrays": (no_arrays, "last.npz", "'a.txt' is no .npy file"),
    "sparse arrays": (sparse("last.npz"), "last.npz", "must have at most 67,108,864 bytes"),
    "nested metrics": (text("metrics.jsonl", "[" * 100_000), "metrics.jsonl", "line 1, is no JSON object"),
    "sparse metrics": (sparse("metrics.jsonl"), "metrics.jsonl", "must have at most 16,777,216 bytes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILERS)
def test_a_hostile_run_costs_little_and_is_named(npsnn: Npsnn, runs: Path, data_dir: Path, kind: str) -> None:
    spoil, name, said = SPOILERS[kind]
    spoil(runs / "small")
    for command in (("evaluate", "small", "--limit", 10), ("train", "--resume", "small")):
        tracemalloc.start()
        outcome = npsnn(*command, "--runs-dir", runs, "--data-dir", data_dir)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        line = outcome.err.splitlines()[-1]
        assert outcome.code == 1 and "Traceback" not in outcome.err
        assert str(runs / "small" / name) in line and said in line and peak < 150
        assert "unexpected" not in line and len(line) < 2500


@pytest.mark.slow
def test_an_option_that_the_run_lacks_has_its_default(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    changed(lambda d: d["train"].pop("dataset"))(runs / "small")
    where = ("--runs-dir", runs, "--data-dir", data_dir, "--limit", 10)
    assert npsnn("evaluate", "small", *where).code == 0


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    changed(lambda d: d["train"].update({"\x07\x9b31m": 1}))(runs / "small")
    line = npsnn("evaluate", "small", "--runs-dir", runs, "--data-dir", data_dir).error_line(1)
    assert "\\x07\\x9b31m" in line and "\x07" not in line and "\x9b" not in line
