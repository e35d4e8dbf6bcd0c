"""scripts/run kills at a small size: kills and interrupts at random moments lose nothing, and a loss is noticed."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from kills import Kills, LostError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals and process groups are POSIX"),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where digits are drawn and the network that is attacked is trained."""
    folder = tmp_path_factory.mktemp("begun")
    Kills(folder, random.Random(0)).begin()
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A copy of what is begun, for the trials of one test."""
    shutil.copytree(begun, tmp_path / "trials")
    return tmp_path / "trials"


def test_trainings_that_are_killed_end_with_the_same_bytes(folder: Path) -> None:
    Kills(folder, random.Random(81)).train(2)  # each after some epochs, before the last


def test_attacks_that_are_killed_and_interrupted_keep_what_was_finished(folder: Path) -> None:
    kills = Kills(folder, random.Random(3), images=20)
    kills.attack(1, 2)
    record = folder / "runs" / "small" / "attacks.jsonl"
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[1:]) + "\n")
    lost = json.loads(lines[0])
    assert [line for line in kills._recorded() if line == lost] == []
    (folder / "runs" / "small" / lost["images"]).unlink()
    with record.open("a") as file:
        file.write(lines[0] + "\n")
    with pytest.raises(OSError, match="No such file"):
        kills._recorded()


def test_attacks_that_are_stopped_go_on_to_the_same_results(folder: Path) -> None:
    Kills(folder, random.Random(4), images=20).resume(3)


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    kills = Kills(tmp_path, random.Random(0))
    for name in ("whole", "cut"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("last.npz", "best.npz"):
            (folder / file).write_bytes(b"the same")
        (folder / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.5, "seconds": 0.1}\n')
    kills._compare(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / ".npsnn-0123456789abcdef.tmp").touch()
    with pytest.raises(LostError, match="has or lacks"):
        kills._compare(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.25, "seconds": 0.1}\n')
    with pytest.raises(LostError, match="differs"):
        kills._compare(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "best.npz").write_bytes(b"another")
    with pytest.raises(LostError, match="other bytes"):
        kills._compare(tmp_path / "whole", tmp_path / "cut")
