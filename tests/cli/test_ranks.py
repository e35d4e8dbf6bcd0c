"""Commands under a launcher: `mpiexec -n 3 npsnn train`."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from calling import Npsnn
from launching import launched, need_mpi, started
from own_data import kept
from sweeps import lasting

need_mpi()
NPSNN = ("-m", "npsnn.cli")
OPTIONS = ("--epochs", "14", "--batch-size", "30", "--micro-batch", "8", "--threads", "1")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A data set of a file, small enough for commands that start anew."""
    return kept(tmp_path, 80, 40)


def of_rank(rank: int, word: str) -> int:
    """The process that is this rank of the launched program whose arguments have the word."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"PMI_RANK={rank}".encode() in variables and word.encode() in arguments and b"train" in arguments:
            return int(folder.name)
    raise AssertionError(f"rank {rank} does not run")


def finished(run: Path) -> int:
    """The whole epochs of a run so far."""
    path = run / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in /proc")
def test_a_rank_is_killed_and_another_number_of_ranks_goes_on(npsnn: Npsnn, images: Path, tmp_path: Path) -> None:
    """To the bytes of a run by one process that never stopped, and with its attack."""
    common = ("--dataset", images, *OPTIONS, "--runs-dir", tmp_path)
    assert npsnn("train", *common, "--name", "whole").code == 0
    process = started(3, *NPSNN, "train", *common, "--name", "killed")
    rank = 0
    while finished(tmp_path / "killed") < 2:
        assert process.poll() is None, process.communicate()
        rank = rank or (of_rank(1, "killed") if (tmp_path / "killed").exists() else 0)
        time.sleep(0.01)
    os.kill(rank, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode and 2 <= finished(tmp_path / "killed") < 14
    done = launched(2, *NPSNN, "train", "--resume", tmp_path / "killed", "--threads", "1", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["epochs"] == 14, done.stderr
    for name in ("last.npz", "best.npz"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_attack_saves_the_bytes_of_one_process(npsnn: Npsnn, images: Path, tmp_path: Path) -> None:
    common = ("--dataset", images, *OPTIONS, "--epochs", "1", "--runs-dir", tmp_path)
    assert npsnn("train", *common, "--name", "own").code == 0
    attack = ("attack", tmp_path / "own", "--pgd", "--adaptive-fgsm", "--steps", 2, "--eot", 2, "--draws", 2)
    attack += ("--selection", 3, "--eps", 0.1, "--threads", 1, "--json")
    alone = npsnn(*attack, "--save", tmp_path / "alone.npz")
    done = launched(2, *NPSNN, *attack, "--save", tmp_path / "ranks.npz")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ranks.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()
    ours, theirs = json.loads(done.stdout), json.loads(alone.out)
    for row in (*ours["results"], *theirs["results"]):
        del row["seconds"]
    assert ours == theirs
    records = (tmp_path / "own" / "attacks.jsonl").read_text().splitlines()
    assert len(records) == 6, "rank 0 alone writes, one line each for two attacks and the worst case"
    assert not list((tmp_path / "own" / "attacks").glob("*.parts"))


def test_an_error_is_one_line(images: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    options = ("--dataset", images, "--runs-dir", tmp_path / "runs", "--name", "taken")
    done = launched(2, *NPSNN, "train", *options)
    assert done.returncode == 1 and done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "rror" in line] == [
        f"Error: {tmp_path / 'runs' / 'taken'} exists already: choose another name, or remove it, for it holds no run, "
        "unless a training has just begun in it"
    ]


def test_a_sweep_hands_its_trainings_to_the_other_ranks(npsnn: Npsnn, images: Path, tmp_path: Path) -> None:
    """One of them done before, one begun, one that fails; and the networks are those of one process."""
    file = tmp_path / "grid.toml"
    file.write_text(f'[train]\nsigma = [0.3, 0.6]\nseed = [0, 1]\nepochs = 2\nbatch_size = 16\ndataset = "{images}"\n')
    assert npsnn("sweep", file, "--jobs", 1, "--threads", 1, "--runs-dir", tmp_path / "alone").code == 0
    ours = tmp_path / "ranks"
    shutil.copytree(tmp_path / "alone" / "sigma0.3-seed0", ours / "sigma0.3-seed0")
    begun = ("--sigma", 0.3, "--seed", 1, "--batch-size", 16, "--dataset", images, "--runs-dir", ours)
    assert npsnn("train", *begun, "--epochs", 1, "--name", "sigma0.3-seed1").code == 0
    config = ours / "sigma0.3-seed1" / "config.json"
    config.write_text(config.read_text().replace('"epochs": 1,', '"epochs": 2,'))  # as if it had been stopped there
    (ours / "sigma0.6-seed1").mkdir()
    (ours / "sigma0.6-seed1" / "mine.txt").touch()
    done = launched(3, *NPSNN, "sweep", file, "--runs-dir", ours, "--json")
    assert done.returncode == 1, done.stderr
    states = {row["run"]: row["state"] for row in json.loads(done.stdout)["runs"]}
    assert list(states.values()) == ["done", "done", "done", "failed"]
    assert "sigma0.6-seed1 failed: " in done.stderr and "sigma0.3-seed0" not in done.stderr
    theirs = lasting(tmp_path / "alone")
    assert lasting(ours) == {name: content for name, content in theirs.items() if "sigma0.6-seed1" not in name}
