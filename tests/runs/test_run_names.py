"""Runs that are found by their names, and names that are taken, refused or new."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from npsnn.files import json_files
from npsnn.runs import checkpoint
from npsnn.runs.checkpoint import find_run, new_run, newest_run

NO_ARRAYS = b"PK\5\6" + bytes(18)
"""An archive of nothing."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three finished runs, of which "b" is the newest, and a folder that is none."""
    for age, name in enumerate(("b", "c", "a")):
        folder = tmp_path / "runs" / name
        json_files.write_json(folder / checkpoint.CONFIG, {"train": {"epochs": 1}})
        json_files.write_lines(folder / checkpoint.METRICS, [{"epoch": 1, "loss": 0.5}])
        (folder / checkpoint.LAST).write_bytes(NO_ARRAYS)
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


def _cut(run: Path) -> None:
    (run / checkpoint.LAST).write_bytes(b"")


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
        (_cut, "b is damaged"),
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
    with pytest.raises(FileExistsError, match=r"mine exists already: .* remove it, for it holds no run, unless a tr"):
        new_run(tmp_path / "empty", "mine", "lenet5")
    (tmp_path / "empty" / "mine" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"mine exists already: .* or --resume mine"):
        new_run(tmp_path / "empty", "mine", "lenet5")


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
