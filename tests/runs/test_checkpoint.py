"""Files that are whole or not there, damage that is noticed, and runs that are found."""

import json
import os
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import one_line

from npsnn import models
from npsnn.files import json_files, write_atomic
from npsnn.files.npz import write_npz
from npsnn.layers.params import flatten
from npsnn.optim import SGD, Adam
from npsnn.runs import checkpoint
from npsnn.runs.checkpoint import load_arrays, save_arrays
from npsnn.train.config import Config
from npsnn.train.epochs import State
from npsnn.train.flat import training_of
from npsnn.train.run_folder import RunFolder

ARRAYS = {
    "params/conv1.w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "params/noise.sigma": np.array(0.5, np.float32),
    "optimizer/first/fc.b": np.zeros(5),
}
ABOUT = {"steps": 7, "epoch": 2, "best": 0.1 + 0.2}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_arrays(tmp_path / "last.npz", ARRAYS, ABOUT)
    return tmp_path / "last.npz"


def test_what_is_saved_comes_back_bit_for_bit(saved: Path) -> None:
    arrays, about = load_arrays(saved)
    assert about == ABOUT and arrays.keys() == ARRAYS.keys()
    for name, a in ARRAYS.items():
        assert arrays[name].dtype == a.dtype and arrays[name].shape == a.shape
        assert arrays[name].tobytes() == a.tobytes()


def test_equal_contents_give_equal_bytes(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *args: (2040, 1, 1, 0, 0, 0, 0, 1, 0))
    other = tmp_path / "deeper" / "other.npz"
    save_arrays(other, {k: a.copy() for k, a in ARRAYS.items()}, dict(reversed(ABOUT.items())))
    assert other.read_bytes() == saved.read_bytes()


def test_an_interrupt_while_a_file_is_written_stays_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, opened, open_one = saved.read_bytes(), [], zipfile.ZipFile.open

    def interrupted(*args: Any, **keywords: Any) -> None:
        opened.append(open_one(*args, **keywords))  # and nobody closes it
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_arrays(saved, ARRAYS, ABOUT)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("broken", ["fsync", "replace", "write"])
def test_a_failing_write_leaves_the_old_file(saved: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    if broken == "write":
        monkeypatch.setattr(Path, "open", fail)
    else:
        monkeypatch.setattr(*((os, "fsync", fail) if broken == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OSError, match="no space"):
        save_arrays(saved, {"params/x": np.ones(3)}, {})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved], "no temporary file may stay behind"


def test_the_new_content_is_on_the_disk_before_the_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", []
    path.write_bytes(b"old")
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(path.read_bytes()), fsync(fd)))
    write_atomic(path, b"new")
    assert seen == [b"old", b"new"] and path.read_bytes() == b"new"


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "last.npz", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            load_arrays(path)


@given(part=st.floats(0, 0.999))
def test_a_truncated_file_is_noticed(part: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("truncated") / "last.npz"
    save_arrays(path, ARRAYS, ABOUT)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ValueError, match="damaged or no checkpoint") as caught:
        load_arrays(path)
    one_line(caught, path)


@pytest.mark.slow
def test_no_damaged_byte_goes_unnoticed(saved: Path) -> None:
    """Every byte that matters is under a checksum; one of the archive's own, if not noticed, changes no array."""
    whole = saved.read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        saved.write_bytes(damaged)
        try:
            arrays, about = load_arrays(saved)
        except ValueError as error:
            assert str(saved) in str(error)
        else:
            assert about == ABOUT
            assert all(arrays[n].tobytes() == a.tobytes() for n, a in ARRAYS.items() if n in arrays)


def npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"epoch 3 of 5\n",
    "one array": npy(np.ones(3)),
    "no about": zipped(w_npy=npy(np.ones(3))),
    "no arrays": zipped(readme_txt=b"hello"),
    "about is no JSON": zipped(about_json_npy=npy(np.array("{"))),
    "about is no object": zipped(about_json_npy=npy(np.array("3"))),
    "about is a number": zipped(about_json_npy=npy(np.array(3.0))),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07payload\x94.",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(ValueError, match="damaged or no checkpoint") as caught:
        load_arrays(path)
    one_line(caught, path)


class Payload:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a checkpoint was unpickled",)


def test_nothing_is_unpickled_and_nothing_pickled(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    np.savez(path, **{"about.json": np.array("{}"), "params/w": np.array([Payload()], object)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        load_arrays(path)
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(tmp_path / "other.npz", {"w": np.array([None])}, {})


@pytest.mark.parametrize(
    "about", [{"best": 1e400}, {"best": 1.5}, {"epoch": -1}, {"steps": 10**400}, {"epoch": 1.0}, {"best": None}]
)
def test_a_state_that_no_training_has_is_not_gone_on_from(tmp_path: Path, about: dict[str, Any]) -> None:
    config, model = Config(optimizer="sgd", momentum=0.0), models.lenet5()
    training = training_of(config, model.shape, 10)
    params = flatten(model.init(np.random.default_rng(0)))
    folder = RunFolder(tmp_path, {"train": asdict(config), "spec": model.spec()})
    json_files.write_json(tmp_path / checkpoint.CONFIG, folder.document)
    folder.save(State(params, SGD(momentum=0.0).init(params), epoch=0, steps=0, best=0.5))
    assert folder.load(training).best == 0.5
    arrays, said = load_arrays(tmp_path / "last.npz")
    text = json.dumps(said | about).replace("Infinity", "1e400")
    with (tmp_path / "last.npz").open("wb") as file:
        write_npz(file, **{"about.json": np.array(text)}, **arrays)
    said_of_it = "it holds 1e400" if about == {"best": 1e400} else "epoch, steps and best must be two counts and an acc"
    with pytest.raises(ValueError, match=rf"last\.npz.*: {said_of_it}"):
        folder.load(training)


def test_moments_that_no_training_has_are_not_gone_on_from(tmp_path: Path) -> None:
    """The loss would become NaN some steps later, and the learning rate be blamed."""
    config, model = Config(optimizer="adam"), models.lenet5()
    training = training_of(config, model.shape, 10)
    params = flatten(model.init(np.random.default_rng(0)))
    folder = RunFolder(tmp_path, {"train": asdict(config), "spec": model.spec()})
    json_files.write_json(tmp_path / checkpoint.CONFIG, folder.document)
    moments = Adam().init(params)
    moments["second/conv1.b"][0] = np.nan
    folder.save(State(params, moments, epoch=0, steps=0, best=0.5))
    with pytest.raises(ValueError, match=r"last\.npz: second/conv1\.b of adam holds a NaN"):
        folder.load(training)


def test_prefixes() -> None:
    merged = checkpoint.with_prefix("params", {"a.w": np.ones(1)}) | checkpoint.with_prefix(
        "params2", {"b": np.ones(2)}
    )
    assert list(merged) == ["params/a.w", "params2/b"]
    assert list(checkpoint.without_prefix("params", merged)) == ["a.w"]


def test_another_run_that_took_the_folders_path_is_not_written_over(tmp_path: Path) -> None:
    model = models.lenet5()
    params = flatten(model.init(np.random.default_rng(0)))
    state = State(params, {}, epoch=0, steps=0, best=-1.0)
    mine, other = (
        RunFolder(tmp_path / name, {"train": asdict(Config(seed=seed, optimizer="sgd")), "spec": model.spec()})
        for name, seed in (("mine", 0), ("other", 1))
    )
    for run in (mine, other):
        json_files.write_json(run.folder / checkpoint.CONFIG, run.document)
        run.save(state)
    before = contents(other.folder)
    mine.folder.rename(tmp_path / "moved")
    mine.folder.symlink_to(other.folder)
    with pytest.raises(FileExistsError, match="mine holds another run than the one in training"):
        mine.save(state)
    assert contents(other.folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
