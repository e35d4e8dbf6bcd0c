"""Ranks with a GPU each, on the double of CuPy: the bytes of one GPU. No real GPU has met these tests."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cupy_double import Module
from launching import ROOT, launched, need_mpi
from rank_gpu_program import computed, doubled
from small_networks import normalised

from npsnn import train
from npsnn.backend import use_device
from npsnn.cli.train_rows import say_what_is_idle
from npsnn.models import Model, lenet5
from npsnn.train import Training
from npsnn.workers import ranks
from npsnn.workers.crew import Crew
from npsnn.workers.launched import LOCALS

need_mpi()
PROGRAM = ROOT / "rank_gpu_program.py"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process leaves, with one GPU and its CUDA graphs."""
    with doubled():
        return computed(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_train_and_attack_on_their_own_gpus(alone: dict[str, bytes], tmp_path: Path, count: int) -> None:
    (tmp_path / "notes").mkdir()
    done = launched(count, PROGRAM, tmp_path, NOTES=str(tmp_path / "notes"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name, expected in alone.items():
        folder, _, file = name.partition(" ")
        path = tmp_path / folder / file if file else tmp_path / f"{name}.bin"
        assert path.read_bytes() == expected, name
    notes = {path.name for path in (tmp_path / "notes").iterdir()}
    done_by = [f"on rank {r}, GPU {r % 2}, TF32 True" for r in range(count)]
    assert {f"{what} {by}" for what in ("training", "attack", "update") for by in done_by} <= notes
    assert {f"{what} {by}, recorded" for what in ("training", "update") for by in done_by} <= notes
    assert all(note.removesuffix(", recorded").partition(" ")[2] in done_by for note in notes)
    lonely = {path.name.removesuffix(", recorded").partition(" ")[2] for path in (tmp_path / "other").iterdir()}
    assert lonely == {"on rank 0, GPU 1, TF32 True"}
    missing = "device 'cuda' was asked for, but CuPy finds no usable NVIDIA GPU: rank 1 of"
    for said in json.loads((tmp_path / "said.json").read_text()).values():
        assert said.startswith(missing)


def test_ranks_of_a_host_are_counted_where_the_launcher_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOCALS:
        monkeypatch.delenv(name, raising=False)

    def local(rank: int, *hosts: str) -> int:
        monkeypatch.setattr(Crew, "gathered", lambda self, value: [((host, None), 1) for host in hosts])
        monkeypatch.setattr("socket.gethostname", lambda: hosts[rank])
        return Crew(SimpleNamespace(rank=rank, size=len(hosts))).local

    assert [local(rank, "a", "b", "a", "a", "b") for rank in range(5)] == [0, 0, 1, 2, 1]
    monkeypatch.setenv("MPI_LOCALRANKID", "3")
    assert local(0, "a", "b") == 3


@pytest.mark.parametrize(
    ("model", "micro_batch", "each", "said"),
    [
        (lenet5(), None, [1, 1], "2 GPUs of 2 ranks could work at a time, and a batch of 40 has 1 micro-batch of 40 "),
        (lenet5(), 16, [1, 1, 1, 1], "4 GPUs of 4 ranks could work at a time, and a batch of 40 has 3 micro-batches "),
        (normalised(8), 8, [1, 1], "has 1 micro-batch of 40 images; BatchNorm keeps a batch whole on a GPU\n"),
        (lenet5(), 20, [1, 1], ""),
        (lenet5(), None, [], ""),
    ],
)
def test_idle_gpus_are_told(
    double: Module,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    model: Model,
    micro_batch: int | None,
    each: list[int],
    said: str,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"spec": model.spec()}))
    monkeypatch.setattr(ranks, "at_work", lambda threads, device: each)
    training = Training(model, train.CrossEntropy(), batch_size=40, micro_batch=micro_batch)
    say_what_is_idle(training, tmp_path, None, "cuda", True)
    told = capsys.readouterr().err
    assert said in told and bool(told) == bool(said)
    use_device("cuda:1")  # rank 0's alone, by number
    say_what_is_idle(training, tmp_path, None, "cuda:1", True)
    assert capsys.readouterr().err == ""
