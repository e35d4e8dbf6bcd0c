"""Results on their way to the disk: what cannot be written costs nothing that was measured."""

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn, interrupt_at

from npsnn import train


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_the_record_alone(
    npsnn: Npsnn, runs: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administrator may write anywhere: the file's place is taken instead."""
    (runs / "small" / "attacks.jsonl").mkdir()
    (runs / "small" / "checklist.jsonl").mkdir()
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--draws", 2)
    ended = npsnn("attack", *where, "--fgsm", "--bim", "--eps", 0.1, "--json")
    assert ended.code == 0 and len(json.loads(ended.out)["results"]) == 2
    assert ended.err.count("warning: cannot write") == 1 and "attacks.jsonl" in ended.err
    small = ("--steps", 1, "--samples", 2, "--population", 5, "--generations", 1)
    ended = npsnn("checklist", *where, *small, "--json")
    assert ended.code in (0, 3, 4) and len(json.loads(ended.out)["criteria"]) == 10
    assert "warning: cannot write" in ended.err and "checklist.jsonl" in ended.err


def test_a_file_to_save_that_fails_at_last_is_an_error_after_all_else(
    npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.cli import attack_kept

    def full(path: Path, content: bytes) -> None:
        raise OSError(f"cannot write {path} (No space left on device)")

    monkeypatch.setattr(attack_kept, "write_atomic", full)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--eps", 0.1)
    ended = npsnn("attack", *where, "--fgsm", "--json", "--save", tmp_path / "images.npz")
    assert ended.code == 1
    assert len(json.loads(ended.out)["results"]) == 1
    assert "images.npz (No space left on device)" in ended.err
    assert len((runs / "small" / "attacks.jsonl").read_text().splitlines()) == 1


def test_images_that_another_command_saved_meanwhile_are_not_replaced(
    npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.cli import attack_kept

    write, path = attack_kept.write_npz, tmp_path / "images.npz"

    def late(*args: Any, **arrays: Any) -> None:
        path.write_bytes(b"another command's")
        write(*args, **arrays)

    monkeypatch.setattr(attack_kept, "write_npz", late)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--eps", 0.1)
    ended = npsnn("attack", *where, "--fgsm", "--save", path)
    assert ended.code == 1 and path.read_bytes() == b"another command's"
    assert f"cannot write {path}: another command has made it since this one began" in ended.err
    assert "with another --save or --curve" in ended.err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc cannot be written, even by the administrator")
@pytest.mark.parametrize(
    "option", [("attack", "--fgsm", "--save"), ("audit", "N20", "--html"), ("audit", "--markdown")]
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    npsnn: Npsnn, trained: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    monkeypatch.setattr(train, "fit", None)
    runs = ("--runs-dir", trained) if option[0] == "attack" else ()
    ended = npsnn(*option, "/proc/file", *runs)
    assert "cannot write /proc/file" in ended.error_line(1)


def test_saved_images_of_near_radii_are_all_there(npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 10, "--eot", 1)
    radii = ("--eps", "8/255", "--eps", "0.0313725", "--eps", "0.031372549")
    assert npsnn("attack", *where, "--fgsm", *radii, "--save", tmp_path / "images.npz").code == 0
    with np.load(tmp_path / "images.npz") as saved:
        assert len(saved.files) == 4


@pytest.mark.slow
def test_an_empty_folder_is_not_left_by_a_training_that_cannot_begin(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.train.epochs import Trainer

    def out_of_memory(self: Trainer) -> Any:
        raise MemoryError("out of memory")

    where = ("--runs-dir", tmp_path, "--data-dir", data_dir, "--limit", 64, "--epochs", 1, "--name", "mine")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "initial", out_of_memory)
        assert npsnn("train", *where).code == 1
    with monkeypatch.context() as patch:
        interrupt_at(patch, train, "fit", 1, signal.SIGINT)
        assert npsnn("train", *where).code == 130
    assert not (tmp_path / "mine").exists()
    assert npsnn("train", *where).code == 0


@pytest.mark.slow
def test_a_disk_that_fills_in_a_training_is_told_with_the_way_on(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--runs-dir", tmp_path, "--data-dir", data_dir)
    begun, fsync = tmp_path / "mine" / "best.npz", os.fsync

    def full(descriptor: int) -> None:
        if begun.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ended = npsnn("train", *where, "--name", "mine", "--limit", 64, "--epochs", 2)
    assert ended.code == 1
    (line,) = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    assert line.startswith(f"Error: cannot write {tmp_path / 'mine'}{os.sep}") and "No space left on device" in line
    assert line.endswith(f"then go on with npsnn train --resume {tmp_path / 'mine'}")
    assert npsnn("train", "--resume", "mine", *where).code == 0
