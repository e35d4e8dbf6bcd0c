"""scripts/run kills at a small size: kills and interrupts at random moments lose nothing, and a loss is noticed."""

import json
import os
import random
from pathlib import Path

import pytest
from kills import Kills, LostError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals and process groups are POSIX"),
]


def test_trainings_that_are_killed_end_with_the_same_bytes(tmp_path: Path) -> None:
    Kills(tmp_path, random.Random(2)).train(2)


def test_attacks_that_are_killed_and_interrupted_keep_what_was_finished(tmp_path: Path) -> None:
    kills = Kills(tmp_path, random.Random(3))
    kills.attack(1, 2)
    record = tmp_path / "runs" / "small" / "attacks.jsonl"
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[1:]) + "\n")
    lost = json.loads(lines[0])
    assert [line for line in kills._recorded() if line == lost] == []
    (tmp_path / "runs" / "small" / lost["images"]).unlink()
    with record.open("a") as file:
        file.write(lines[0] + "\n")
    with pytest.raises(OSError, match="No such file"):
        kills._recorded()


def test_attacks_that_are_stopped_go_on_to_the_same_results(tmp_path: Path) -> None:
    Kills(tmp_path, random.Random(4)).resume(3)


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
