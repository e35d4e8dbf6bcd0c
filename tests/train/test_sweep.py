"""The trainings of a grid: done once, gone on with, failed by themselves, with one table of all."""

import csv
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calling import contents
from own_data import kept
from sweeps import lasting

from npsnn import Classifier, attacks, data, train
from npsnn.jobs.executors import Serial
from npsnn.runs import checkpoint
from npsnn.train import sweep, task


def done(points: list[sweep.Point], folder: Path, **how: Any) -> dict[str, sweep.Event[sweep.Point]]:
    """What became of the trainings, by name."""
    return {event.job.key: event for event in sweep.run(points, folder, **{"threads": 1} | how)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of a file, small enough for many trainings."""
    return str(kept(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def points(images: str) -> list[sweep.Point]:
    return sweep.grid(sigma=[0.3, 0.6], seed=[0, 1], epochs=2, batch_size=16, dataset=images)


@pytest.fixture(scope="module")
def folder(points: list[sweep.Point], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings are done."""
    where = tmp_path_factory.mktemp("done")
    assert {event.state for event in done(points, where).values()} == {sweep.DONE}
    return where


def test_each_training_is_that_of_train_fit(points: list[sweep.Point], folder: Path, tmp_path: Path) -> None:
    for _ in train.fit(points[3].of, data.load(points[0].data), tmp_path / "own", threads=1):  # type: ignore[arg-type]
        pass
    assert (folder / points[3].key / "last.npz").read_bytes() == (tmp_path / "own" / "last.npz").read_bytes()


def test_what_is_done_is_skipped(points: list[sweep.Point], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    monkeypatch.setattr(task, "fit", None)
    assert all(event.earlier for event in done(points, folder).values())
    assert contents(folder) == before


@pytest.mark.parametrize("jobs", [{"jobs": 2}, {"jobs": 2, "workers": "threads"}, {"workers": ThreadPoolExecutor(2)}])
def test_every_executor_gives_the_same_networks(
    points: list[sweep.Point], folder: Path, tmp_path: Path, jobs: dict[str, Any]
) -> None:
    done(points, tmp_path, **jobs)
    assert lasting(tmp_path) == lasting(folder)


def begin(point: sweep.Point, folder: Path) -> None:
    """Train for an epoch, and stop."""
    records = train.fit(point.of, data.load(point.data), folder, threads=1)  # type: ignore[arg-type]
    while not isinstance(next(records), train.Epoch):
        pass
    records.close()  # type: ignore[attr-defined]


def test_processes_meet_one_done_one_begun_and_one_that_fails(
    points: list[sweep.Point], folder: Path, tmp_path: Path
) -> None:
    there, begun, taken, absent = (tmp_path / point.key for point in points)
    shutil.copytree(folder / there.name, there)
    begin(points[1], begun)
    taken.write_text("mine")
    events = done(points, tmp_path, jobs=2)
    assert {name: event.state for name, event in events.items()} == {
        **dict.fromkeys((there.name, begun.name, absent.name), "done"),
        taken.name: "failed",
    }
    assert [name for name, event in events.items() if event.earlier] == [there.name]
    assert taken.read_text() == "mine"
    expected = {name: content for name, content in lasting(folder).items() if taken.name not in name}
    assert lasting(tmp_path) == expected


def test_a_training_that_was_stopped_goes_on(points: list[sweep.Point], folder: Path, tmp_path: Path) -> None:
    begun, untested, damaged, absent = (tmp_path / point.key for point in points)
    begin(points[0], begun)
    shutil.copytree(folder / untested.name, untested)
    (untested / sweep.TESTED).unlink()
    damaged.mkdir()
    (damaged / ".npsnn-0123456789abcdef.tmp").write_text("x")
    states = {row["run"]: row["state"] for row in sweep.rows(points, tmp_path)}
    assert states[begun.name] == "begun"
    assert (states[untested.name], states[damaged.name], states[absent.name]) == (
        "not tested",
        "not begun",
        "not begun",
    )
    events = done(points, tmp_path)
    assert not any(event.earlier for event in events.values())
    assert lasting(tmp_path) == lasting(folder)


def test_one_that_fails_is_said_and_leaves_what_is_there(
    points: list[sweep.Point], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    taken, other = (tmp_path / "copy" / point.key for point in points[:2])
    shutil.rmtree(taken)
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    longer = replace(points[1], of=replace(points[1].of, epochs=3))  # type: ignore[type-var]
    events = done([points[0], longer, points[2]], tmp_path / "copy")
    assert [event.state for event in events.values()] == ["done", "failed", "failed"]  # what is done is known first
    assert events[taken.name].why.startswith(f"{taken} is no run: take another folder for the runs")
    assert "holds another training, epochs is 2 there and 3 here: take another" in events[other.name].why
    assert (taken / "mine.txt").read_text() == "mine"
    failed = {name: event.why for name, event in events.items() if event.why}
    rows = {row["run"]: row for row in sweep.write(points, tmp_path / "copy", failed)}
    assert rows[other.name]["state"] == "failed" and rows[other.name]["why"] == failed[other.name]
    assert rows[other.name]["clean_accuracy"] is None, "a row has no figures of another training"
    before = [row["state"] for row in sweep.rows([points[0], longer, points[2]], tmp_path / "copy")]
    assert before == ["blocked", "blocked", "done"], "without training anything"


@pytest.mark.parametrize("name", [checkpoint.CONFIG, checkpoint.METRICS])
def test_a_damaged_run_is_told_beside_the_others(
    points: list[sweep.Point], folder: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / points[1].key / name).write_text("{")
    events = done(points, tmp_path / "copy")
    assert [event.state for event in events.values()].count("failed") == 1 and name in events[points[1].key].why
    assert [row["state"] for row in sweep.rows(points, tmp_path / "copy")] == ["done", "blocked", "done", "done"]


def test_a_table_of_others_is_not_overwritten(points: list[sweep.Point], folder: Path, tmp_path: Path) -> None:
    (tmp_path / sweep.CSV).write_text("my,own")
    for act in (lambda: list(sweep.run(points, tmp_path)), lambda: sweep.write(points, tmp_path)):
        with pytest.raises(FileExistsError, match="is no table of a sweep, and would be lost"):
            act()
    assert (tmp_path / sweep.CSV).read_text() == "my,own" and len(list(tmp_path.iterdir())) == 1


def test_other_data_are_another_training(
    points: list[sweep.Point], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    whole = data.load(points[0].data)
    fewer = replace(whole, train=data.Split(whole.train.images[1:], whole.train.labels[1:]))
    monkeypatch.setattr(data, "load", lambda name, data_dir: fewer)
    (event,) = sweep.run(points[:1], tmp_path / "copy")
    assert event.state == "failed" and "train" in event.why and "in the run" in event.why


def test_the_table_says_what_the_library_says(points: list[sweep.Point], folder: Path) -> None:
    rows = sweep.write(points, folder)
    network, test = Classifier.load(folder / points[2].key), data.load(points[0].data).test
    assert rows[2]["clean_accuracy"] == attacks.accuracy(network.with_sigma(0), test.images, test.labels).mean
    assert rows[2]["noisy_accuracy"] == attacks.accuracy(network, test.images, test.labels, 1, 0).mean
    with (folder / sweep.CSV).open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["run"], row["sigma"], row["seed"], row["state"]) for row in table][2] == (
        *(points[2].key, "0.6", "0", "done"),
    )
    assert [float(row["clean_accuracy"]) for row in table] == [row["clean_accuracy"] for row in rows]
    assert all(int(row["epochs_done"]) == 2 and float(row["seconds"]) > 0 for row in table)


def test_a_defence_is_trained_by_its_recipe(images: str, tmp_path: Path) -> None:
    points = sweep.grid(recipe=["pgd-training", "a2snn-m1"], model="lenet5", epochs=1, limit=16, dataset=images)
    assert {event.why for event in done(points, tmp_path).values()} == {""}
    assert all(event.earlier for event in done(points, tmp_path).values())
    assert Classifier.load(tmp_path / "recipe-a2snn-m1").random


def test_a_missing_data_set_is_said_before_anything_is_trained(images: str, tmp_path: Path) -> None:
    points = sweep.grid(dataset=[images, "mnist"])
    with pytest.raises(FileNotFoundError, match="mnist"):
        list(sweep.run(points, tmp_path / "new", data_dir=tmp_path, workers=Serial()))
    assert not (tmp_path / "new").exists()
