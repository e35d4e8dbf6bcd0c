"""Files that are whole or not there, damage that is noticed, and runs that are found."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn import checkpoint, json_files, models
from npsnn.checkpoint import find_run, load_arrays, new_run, newest_run, save_arrays
from npsnn.config import Config
from npsnn.files import write_atomic
from npsnn.json_files import read_lines
from npsnn.network import flatten
from npsnn.npz import write_npz
from npsnn.optim import optimizer
from npsnn.run_folder import RunFolder
from npsnn.trainer import State

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


def one_line(error: pytest.ExceptionInfo[ValueError], path: Path) -> None:
    assert "\n" not in str(error.value) and str(path) in str(error.value)


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
    params = flatten(model.init(np.random.default_rng(0)))
    folder = RunFolder(tmp_path, {"train": asdict(config), "spec": model.spec()})
    json_files.write_json(tmp_path / checkpoint.CONFIG, folder.document)
    folder.save(State(params, optimizer("sgd", 0.0, 0.0).init(params), epoch=0, steps=0, best=0.5))
    assert folder.load(model, config).best == 0.5
    arrays, said = load_arrays(tmp_path / "last.npz")
    text = json.dumps(said | about).replace("Infinity", "1e400")
    with (tmp_path / "last.npz").open("wb") as file:
        write_npz(file, **{"about.json": np.array(text)}, **arrays)
    said_of_it = "it holds 1e400" if about == {"best": 1e400} else "epoch, steps and best must be two counts and an acc"
    with pytest.raises(ValueError, match=rf"last\.npz.*: {said_of_it}"):
        folder.load(model, config)


def test_moments_that_no_training_has_are_not_gone_on_from(tmp_path: Path) -> None:
    """The loss would become NaN some steps later, and the learning rate be blamed."""
    config, model = Config(optimizer="adam"), models.lenet5()
    params = flatten(model.init(np.random.default_rng(0)))
    folder = RunFolder(tmp_path, {"train": asdict(config), "spec": model.spec()})
    json_files.write_json(tmp_path / checkpoint.CONFIG, folder.document)
    moments = optimizer("adam", 0.0, 0.0).init(params)
    moments["second/conv1.b"][0] = np.nan
    folder.save(State(params, moments, epoch=0, steps=0, best=0.5))
    with pytest.raises(ValueError, match=r"last\.npz: second/conv1\.b of adam holds a NaN"):
        folder.load(model, config)


def test_prefixes() -> None:
    merged = checkpoint.with_prefix("params", {"a.w": np.ones(1)}) | checkpoint.with_prefix(
        "params2", {"b": np.ones(2)}
    )
    assert list(merged) == ["params/a.w", "params2/b"]
    assert list(checkpoint.without_prefix("params", merged)) == ["a.w"]


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    json_files.write_json(path, {"sigma": 0.1, "spec": [1, 2]})
    assert json_files.read_json(path) == {"sigma": 0.1, "spec": [1, 2]}
    for text, message in (("{", "is not JSON"), ("[1]", "must hold a JSON object, got list"), ("\x00", "is not JSON")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            json_files.read_json(path)
        one_line(caught, path)
    lines = [{"epoch": 1}, {"epoch": 2, "ratio": None}]
    json_files.write_lines(tmp_path / "metrics.jsonl", lines)
    assert [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()] == lines
    assert json_files.read_lines(tmp_path / "metrics.jsonl") == lines
    assert json_files.read_lines(tmp_path / "missing.jsonl") == []


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three finished runs, of which "b" is the newest, and a folder that is none."""
    for age, name in enumerate(("b", "c", "a")):
        folder = tmp_path / "runs" / name
        json_files.write_json(folder / checkpoint.CONFIG, {"train": {"epochs": 1}})
        json_files.write_lines(folder / checkpoint.METRICS, [{"epoch": 1, "loss": 0.5}])
        (folder / checkpoint.LAST).touch()
        os.utime(folder / checkpoint.LAST, (1e9 - age, 1e9 - age))
    (tmp_path / "runs" / "z").mkdir()
    return tmp_path / "runs"


def test_runs_are_found(runs: Path) -> None:
    assert find_run(None, runs) == runs / "b"
    assert find_run("a", runs) == find_run(runs / "a", "elsewhere") == find_run(str(runs / "a"), runs) == runs / "a"


def _begin(run: Path) -> None:
    (run / checkpoint.METRICS).unlink()


def _interrupt(run: Path) -> None:
    json_files.write_json(run / checkpoint.CONFIG, {"train": {"epochs": 2}})


def _diverge(run: Path) -> None:
    json_files.write_lines(run / checkpoint.METRICS, [{"epoch": 1, "loss": float("nan")}])


def _lose(run: Path) -> None:
    (run / checkpoint.LAST).unlink()
    os.utime(run / checkpoint.CONFIG, (2e9, 2e9))


def _spoil(run: Path) -> None:
    (run / checkpoint.CONFIG).write_text("[")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (_begin, "b has 0 of its 1 epochs"),
        (_interrupt, "b has 1 of its 2 epochs"),
        (_diverge, "b has diverged"),
        (_lose, "b has no last.npz"),
        (_spoil, "b is damaged"),
    ],
)
def test_the_newest_run_is_a_finished_one(runs: Path, happens: Callable[[Path], None], why: str) -> None:
    happens(runs / "b")
    assert find_run(None, runs) == runs / "c"
    assert newest_run(runs) == (runs / "c", [why])
    assert find_run("b", runs) == runs / "b", "it can be had by name"
    for name in ("a", "c"):
        _begin(runs / name)
    with pytest.raises(FileNotFoundError, match=r"is finished: b .*, c has 0 .*; name a run to take it as it is"):
        find_run(None, runs)


def test_a_name_goes_before_a_folder_here(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    json_files.write_json(Path("a") / checkpoint.CONFIG, {})
    assert find_run("a") == Path("runs/a")
    assert find_run("./a") == Path("runs/a") and find_run(Path("a").resolve()) == runs.parent / "a"


def test_an_unknown_run_is_refused_with_the_known_ones(runs: Path, tmp_path: Path) -> None:
    for name in ("x", "z"):
        with pytest.raises(FileNotFoundError, match=rf"unknown run '{name}'.*\(there: a, c, b\)"):
            find_run(name, runs)
    with pytest.raises(FileNotFoundError, match=r"\(there: none\)"):
        find_run("x", tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there are no runs in"):
        find_run(None, tmp_path / "empty")


def test_a_misspelt_run_is_met_by_the_nearest(runs: Path) -> None:
    (runs / "a").rename(runs / "lenet5-digits")
    with pytest.raises(FileNotFoundError, match=r"unknown run 'lenet5-digit'.*\(did you mean lenet5-digits\?\)"):
        find_run("lenet5-digit", runs)


def test_new_runs_are_numbered(runs: Path, tmp_path: Path) -> None:
    assert new_run(runs, None, "lenet5") == runs / "lenet5-1"
    assert new_run(runs, None, "lenet5") == runs / "lenet5-2", "the first is claimed, though nothing is in it"
    assert new_run(tmp_path / "empty", "mine", "lenet5") == tmp_path / "empty" / "mine"
    with pytest.raises(FileExistsError, match=r"mine exists already: .* remove it, for it holds no run"):
        new_run(tmp_path / "empty", "mine", "lenet5")
    (tmp_path / "empty" / "mine" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"mine exists already: .* or --resume mine"):
        new_run(tmp_path / "empty", "mine", "lenet5")


@pytest.mark.parametrize("content", [b"garbage\n", b'{"epoch": 1}\n[1]\n', b"\xff\xfe\n", b"1\n"])
def test_damaged_lines_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    number = len(content.splitlines())
    with pytest.raises(ValueError, match=f"metrics.jsonl, line {number}, is no JSON object"):
        read_lines(tmp_path / "metrics.jsonl")


def test_a_taken_name_is_refused(runs: Path) -> None:
    for name in ("a", "z"):
        with pytest.raises(FileExistsError, match="exists already"):
            new_run(runs, name, "lenet5")


@pytest.mark.parametrize("name", ["é" * 128, "-x"])
def test_a_name_that_no_folder_or_option_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 255 bytes and not begin with -"):
        new_run(tmp_path / "empty", name, "lenet5")


@pytest.mark.parametrize("name", ["a/b", "../x", "/etc", "x/", ".", "..", ""])
def test_a_name_that_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain folder name"):
        new_run(tmp_path / "empty", name, "lenet5")


def test_a_run_whose_config_is_no_file_is_said_to_be_none(runs: Path) -> None:
    (runs / "b" / "config.json").unlink()
    (runs / "b" / "config.json").mkdir()
    with pytest.raises(FileNotFoundError, match=r"b is no run: its config\.json is no plain file"):
        find_run("b", runs)
    with pytest.raises(FileNotFoundError, match=r"\(there: a, c\)"):
        find_run("x", runs)


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
