"""`train --resume RUN --epochs N`: a run gets longer, with the bytes of one that had so many epochs from the start."""

import json
from pathlib import Path

import pytest
from calling import Npsnn

SHORT = ("--limit", 100, "--threads", 1)


@pytest.fixture
def where(tmp_path: Path, data_dir: Path) -> tuple[object, ...]:
    return ("--runs-dir", tmp_path, "--data-dir", data_dir)


@pytest.mark.slow
def test_two_and_two_epochs_are_four(npsnn: Npsnn, where: tuple[object, ...], tmp_path: Path) -> None:
    assert npsnn("train", "--name", "long", "--epochs", 4, *SHORT, *where).code == 0
    assert npsnn("train", "--name", "short", "--epochs", 2, *SHORT, *where).code == 0
    ended = npsnn("train", "--resume", "short", "--epochs", 4, *where, "--json")
    assert ended.code == 0 and json.loads(ended.out)["epochs"] == 4
    for name in ("last.npz", "best.npz"):
        assert (tmp_path / "short" / name).read_bytes() == (tmp_path / "long" / name).read_bytes()
    about = json.loads((tmp_path / "short" / "config.json").read_text())
    assert (about["train"]["epochs"], about["earlier_epochs"]) == (4, [2])
    assert "earlier_epochs" not in json.loads((tmp_path / "long" / "config.json").read_text())
    assert npsnn("train", "--resume", "short", *where).err.count("all its 4 epochs already") == 1


@pytest.mark.slow
def test_a_schedule_over_all_epochs_cannot_be_lengthened(
    npsnn: Npsnn, where: tuple[object, ...], tmp_path: Path
) -> None:
    assert npsnn("train", "--name", "run", "--epochs", 1, "--schedule", "cosine", *SHORT, *where).code == 0
    before = (tmp_path / "run" / "config.json").read_bytes()
    line = npsnn("train", "--resume", "run", "--epochs", 2, *where).error_line(2)
    assert "--epochs must be the run's own 1 under schedule cosine" in line
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.slow
def test_a_run_does_not_get_shorter(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    assert npsnn("train", "--resume", "small", "--epochs", 3, "--runs-dir", runs, *where[2:]).code == 0
    line = npsnn("train", "--resume", "small", "--epochs", 2, "--runs-dir", runs, *where[2:]).error_line(2)
    assert "--epochs must be at least the run's own 3, got 2" in line
