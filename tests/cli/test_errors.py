"""Each careless call gets one line that names what is wrong, exit code 1 or 2, and overwrites nothing."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calling import Npsnn, contents

FAILURES = {
    ("--name", "small"): "exists already",
    ("--resume", "nobody"): "unknown run 'nobody'",
    ("--resume", "smal"): "did you mean small?",
    ("--dataset", "mnist"): "npsnn data fetch mnist",
}


@pytest.mark.parametrize("options", FAILURES, ids=" ".join)
def test_failing_train(npsnn: Npsnn, trained: Path, options: tuple[str, ...]) -> None:
    before = contents(trained)
    line = npsnn("train", "--runs-dir", trained, *options).error_line(1)
    assert FAILURES[options] in line
    assert contents(trained) == before


def _truncate(runs: Path) -> None:
    path = runs / "small" / "last.npz"
    path.write_bytes(path.read_bytes()[:1000])


def _exchange(runs: Path) -> None:
    shutil.copy(runs / "other" / "last.npz", runs / "small" / "last.npz")


def _remove(runs: Path) -> None:
    (runs / "small" / "last.npz").unlink()


def _spoil_config(runs: Path) -> None:
    (runs / "small" / "config.json").write_text("{")


def _unknown_layer(runs: Path) -> None:
    path = runs / "small" / "config.json"
    config = json.loads(path.read_text())
    config["spec"]["layers"][0]["type"] = "Conv3d"
    path.write_text(json.dumps(config))


def _reshape(runs: Path) -> None:
    path = runs / "small" / "last.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["params/fc1.w"] = arrays["params/fc1.w"][:, :7]
    np.savez(path, **arrays)


def _poison(runs: Path) -> None:
    path = runs / "small" / "last.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["params/fc1.w"][0, 0] = np.nan
    np.savez(path, **arrays)


def _no_options(runs: Path) -> None:
    path = runs / "small" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"train": 5}))


def _odd_options(runs: Path) -> None:
    path = runs / "small" / "config.json"
    config = json.loads(path.read_text())
    config["train"]["colour"] = 1
    path.write_text(json.dumps(config))


DAMAGE: dict[Callable[[Path], None], str] = {
    _truncate: "last.npz is damaged or no checkpoint",
    _exchange: "the parameters are another model's",
    _remove: "no checkpoint",
    _spoil_config: "is not JSON",
    _unknown_layer: "unknown layer 'Conv3d'",
    _reshape: "fc1.w must be float (200, 120)",
    _poison: "fc1.w holds a NaN",
    _no_options: "training options must be a JSON object",
    _odd_options: "unknown training options: colour",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("command", ["attack", "evaluate"])
def test_damaged_run(npsnn: Npsnn, runs: Path, data_dir: Path, command: str, damage: Callable[[Path], None]) -> None:
    damage(runs)
    line = npsnn(command, "small", "--runs-dir", runs, "--data-dir", data_dir).error_line(1)
    assert DAMAGE[damage] in line


@pytest.mark.parametrize(
    "damage", [_truncate, _exchange, _spoil_config, _no_options, _odd_options], ids=lambda f: f.__name__
)
def test_resume_of_a_damaged_run_keeps_it_as_it_is(
    npsnn: Npsnn, runs: Path, data_dir: Path, damage: Callable[[Path], None]
) -> None:
    damage(runs)
    before = contents(runs)
    outcome = npsnn("train", "--resume", "small", "--runs-dir", runs, "--data-dir", data_dir)
    assert outcome.code == 1
    assert DAMAGE[damage] in outcome.err.splitlines()[-1]
    assert contents(runs) == before


def test_unknown_runs(npsnn: Npsnn, trained: Path, tmp_path: Path) -> None:
    line = npsnn("attack", "nobody", "--runs-dir", trained).error_line(1)
    assert "unknown run 'nobody'" in line
    assert "small" in line
    assert "train one" in npsnn("attack", "--runs-dir", tmp_path).error_line(1)


def test_objective_that_needs_noise(npsnn: Npsnn, trained: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", trained, "--data-dir", data_dir, "--limit", 10)
    outcome = npsnn("attack", *where, "--adaptive-fgsm", "--objective", "win-probability", "--inference-sigma", 0)
    assert outcome.code == 1
    assert "needs noise" in outcome.err


def test_saved_images_overwrite_nothing(npsnn: Npsnn, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    file.write_text("mine")
    assert "must name a new file" in npsnn("attack", "--runs-dir", trained, "--save", file).error_line(1)
    assert file.read_text() == "mine"
    missing = tmp_path / "nowhere" / "images.npz"
    assert "folder that exists" in npsnn("attack", "--runs-dir", trained, "--save", missing).error_line(1)
    too_long = npsnn("attack", "--runs-dir", trained, "--save", tmp_path / ("x" * 300)).error_line(1)
    assert re.search(r"cannot write .*x \(File name too long\): choose another place", too_long)


def test_another_network_than_the_options_make(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    path = runs / "small" / "config.json"
    config = json.loads(path.read_text())
    config["train"]["sigma"] = 0.7
    path.write_text(json.dumps(config))
    outcome = npsnn("train", "--resume", "small", "--runs-dir", runs, "--data-dir", data_dir)
    assert "spec is not the network that its train options make" in outcome.error_line(1)


def test_a_run_that_lost_its_checkpoint_is_not_begun_anew(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    _remove(runs)
    before = contents(runs)
    outcome = npsnn("train", "--resume", "small", "--runs-dir", runs, "--data-dir", data_dir)
    assert "finished epochs but no last.npz" in outcome.error_line(1)
    assert contents(runs) == before


@pytest.mark.slow
def test_an_unfinished_run_is_said_to_be_one(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    path = runs / "small" / "config.json"
    path.write_text(path.read_text().replace('"epochs": 1', '"epochs": 3'))
    outcome = npsnn("evaluate", "small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 10)
    assert outcome.code == 0
    assert "has 1 of its 3 epochs" in outcome.err
    options = ("--train-noise-only", "small", "--limit", 40, "--epochs", 1)
    outcome = npsnn("train", *options, "--runs-dir", runs, "--data-dir", data_dir)
    assert outcome.code == 0
    assert "has 1 of its 3 epochs" in outcome.err


def test_a_bug_is_one_line_too(npsnn: Npsnn, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npsnn.runs.checkpoint.find_run", lambda *args: 1 / 0)
    assert "unexpected ZeroDivisionError" in npsnn("evaluate", "small", "--runs-dir", trained).error_line(1)
    monkeypatch.setenv("NPSNN_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        npsnn("evaluate", "small", "--runs-dir", trained)


ON_A_GPU = ("train", "train --resume small", "train --train-noise-only small", "evaluate small", "attack small", "info")


@pytest.mark.parametrize("command", ON_A_GPU)
def test_cuda_without_cupy(npsnn: Npsnn, trained: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    before = sorted(trained.rglob("*"))
    runs = () if command == "info" else ("--runs-dir", trained)
    line = npsnn(*command.split(), *runs, "--device", "cuda:1").error_line(1)
    assert line == (
        "Error: device 'cuda:1' needs CuPy, which is not installed: pip install 'npsnn[cuda12]' (or cuda13)"
    )
    assert sorted(trained.rglob("*")) == before, "no folder may be left of a run that never began"
