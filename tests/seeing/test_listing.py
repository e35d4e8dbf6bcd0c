"""The list of runs: each run as its files say, whatever they hold."""

import os
from pathlib import Path
from typing import Any

import pytest

from npsnn import seeing
from npsnn.files import json_files
from npsnn.runs.checkpoint import CONFIG, LAST, METRICS
from npsnn.seeing import Listed
from npsnn.seeing.listing import named

EPOCH = {"epoch": 1, "loss": 0.5, "validation_accuracy": 0.75, "noisy_validation_accuracy": 0.5, "sigma": 0.6}
TRAIN = {"epochs": 2, "dataset": "digits", "model": "lenet5", "noise": "preactivation", "sigma": 0.7}


def made(runs: Path, name: str, config: Any, epochs: list[Any], age: int, last: bool = True) -> Path:
    json_files.write_json(runs / name / CONFIG, config)
    json_files.write_lines(runs / name / METRICS, epochs)
    path = runs / name / (LAST if last else CONFIG)
    if last:
        path.write_bytes(b"PK\5\6" + bytes(18))  # an archive of nothing
    os.utime(path, (1e9 - age, 1e9 - age))
    return runs / name


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    made(tmp_path, "whole", {"train": TRAIN}, [EPOCH, EPOCH | {"epoch": 2}], 0)
    made(tmp_path, "half", {"train": TRAIN | {"model": "cnn5"}}, [EPOCH], 1)
    made(tmp_path, "astray", {"train": TRAIN}, [EPOCH | {"loss": float("nan")}], 2)
    made(tmp_path, "empty", {"train": TRAIN}, [], 3, last=False)
    spec = {"spec": {"name": "mine"}, "dataset": "places", "training": {"epochs": 1, "noise": {"type": "Drawn"}}}
    made(tmp_path, "values", spec, [EPOCH | {"sigma": {"a": 0.25, "b": 0.5}}], 4)
    made(tmp_path, "torn", {"train": TRAIN}, [], 5)
    (tmp_path / "torn" / CONFIG).write_text("[")
    (tmp_path / "no run").mkdir()
    return tmp_path


def by_name(runs: Path, **filters: Any) -> dict[str, Listed]:
    return {run.name: run for run in seeing.runs(runs, **filters)}


def test_each_run_is_listed_the_newest_first(runs: Path) -> None:
    found = by_name(runs)
    assert list(found) == ["whole", "half", "astray", "empty", "values", "torn"]
    assert [run.state for run in found.values()] == ["finished", "stopped", "stopped", "broken", "finished", "broken"]
    assert [run.why for run in found.values()][1:4] == ["has 1 of its 2 epochs", "has diverged", "has no last.npz"]
    whole = found["whole"]
    assert (whole.dataset, whole.model, whole.noise) == ("digits", "lenet5", "preactivation 0.6")
    assert (whole.done, whole.epochs, whole.accuracy, whole.noisy_accuracy) == (2, 2, 0.75, 0.5)
    assert whole.written == 1e9 and whole.folder == runs / "whole" and whole.attacked == 0
    assert found["empty"].noise == "preactivation 0.7" and found["empty"].accuracy is None
    values, torn = found["values"], found["torn"]
    assert (values.dataset, values.model, values.noise) == ("places", "mine", "sigma 0.25-0.5")
    assert (torn.dataset, torn.model, torn.noise, torn.epochs) == ("?", "?", "?", None)


def test_runs_are_filtered(runs: Path) -> None:
    assert list(by_name(runs, state="broken")) == ["empty", "torn"]
    assert list(by_name(runs, model="cnn5")) == ["half"]
    assert list(by_name(runs, dataset="places")) == ["values"]
    assert list(by_name(runs, newest=2)) == ["whole", "half"]
    assert by_name(runs, dataset="mnist") == {}
    with pytest.raises(ValueError, match="newest must be >= 1, got 0"):
        seeing.runs(runs, newest=0)


def test_data_of_a_path_are_filtered_as_the_list_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "a", {"train": TRAIN | {"dataset": str(tmp_path / "data" / "birds.npz")}}, [EPOCH], 0)
    made(tmp_path, "b", {"train": TRAIN}, [EPOCH], 1)
    for name in ("birds", "data/birds.npz", str(tmp_path / "data" / "birds.npz")):
        assert list(by_name(tmp_path, dataset=name)) == ["a"], name
    assert list(by_name(tmp_path, dataset="digits")) == ["b"] and by_name(tmp_path, dataset="bird") == {}


def test_an_accuracy_that_is_no_number_is_none(tmp_path: Path) -> None:
    made(tmp_path, "a", {"train": TRAIN}, [EPOCH | {"validation_accuracy": float("nan")}], 0)
    assert by_name(tmp_path)["a"].accuracy is None


def test_runs_are_named_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "x" / "r", tmp_path / "y" / "r"
    assert list(named([a, tmp_path / "z"])) == ["r", "z"] and list(named([a, b])) == [str(a), str(b)]
    with pytest.raises(ValueError, match=r"runs must differ, got .*r twice"):
        named([a, tmp_path / "y" / ".." / "x" / "r"])


@pytest.mark.parametrize(
    ("config", "noise"),
    [
        ({"train": TRAIN | {"noise": "none"}}, "none"),
        ({"train": TRAIN, "recipe": {"type": "TRADESDefence", "beta": 6}}, "TRADESDefence"),
        ({"train": "lenet5"}, "?"),
        ({"training": {"epochs": "many"}}, "?"),
    ],
)
def test_the_noise_in_words(tmp_path: Path, config: Any, noise: str) -> None:
    made(tmp_path, "a", config, [{k: v for k, v in EPOCH.items() if k != "sigma"}], 0)
    assert by_name(tmp_path)["a"].noise == noise


def test_a_recipe_has_the_name_of_the_command_line(tmp_path: Path) -> None:
    from npsnn.train.defences import DEFENCES

    made(tmp_path, "a", {"train": TRAIN, "recipe": {"type": DEFENCES["trades"].__name__}}, [EPOCH], 0)
    assert by_name(tmp_path)["a"].noise == "trades"


def test_results_of_attacks_are_counted(runs: Path) -> None:
    (runs / "half" / "attacks.jsonl").write_text('{"result": {}}\n{"worst_case": {}}\n{"resu')
    assert by_name(runs)["half"].attacked == 1


def test_what_is_no_folder_or_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none/ of runs"):
        seeing.runs(tmp_path / "none")
    with pytest.raises(ValueError, match="state must be finished, stopped or broken, got 'done'"):
        seeing.runs(tmp_path, state="done")
