"""A run goes on only by the files and options it had, and says where numbers are rounded in another way."""

import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn import train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.runs import checkpoint
from npsnn.runs.checkpoint import BEST, CONFIG, LAST, METRICS, load_arrays
from npsnn.train import continuity
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, Trainer
from npsnn.train.flat import training_of

LABELS = np.arange(60) % 10
IMAGES = digits.draw(LABELS, np.random.default_rng(0))
DATA = Dataset("digits", Split(IMAGES, LABELS), Split(IMAGES[:20], LABELS[:20]), 10, {})
SHORT = Config(epochs=2, batch_size=30)


def finished(run: Iterator[Any]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    finished(train.fit(SHORT, DATA, folder, threads=1))
    return folder


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """The same run, stopped in its second epoch."""
    folder = tmp_path / "half"
    run = train.fit(SHORT, DATA, folder, threads=1)
    for record in run:
        if isinstance(record, Epoch):
            break
    del run
    return folder


def edit_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads((folder / CONFIG).read_text())
    change(document)
    (folder / CONFIG).write_text(json.dumps(document))


@pytest.mark.parametrize("option", ["micro_batch", "momentum"])
def test_a_run_of_a_version_with_fewer_options_goes_on(whole: Path, half: Path, option: str) -> None:
    """An option that config.json lacks has its default."""
    edit_config(half, lambda document: document["train"].pop(option))
    assert [epoch.epoch for epoch in finished(train.resume(half, DATA, threads=1))] == [2]
    for name in (LAST, BEST):
        assert (half / name).read_bytes() == (whole / name).read_bytes()


def test_a_micro_batch_is_recorded_and_gone_on_with(tmp_path: Path) -> None:
    """It decides on the order of all sums, and stays the network's."""
    config, folder = Config(epochs=2, batch_size=30, micro_batch=10), tmp_path / "run"
    run = train.fit(config, DATA, folder, threads=1)
    while not isinstance(next(run), Epoch):
        pass
    run.close()  # type: ignore[attr-defined]
    about = json.loads((folder / CONFIG).read_text())
    assert about["train"]["micro_batch"] == about["spec"]["micro_batch"] == 10
    finished(train.resume(folder, DATA, threads=1))
    for name, other in (("alike", config), ("other", Config(epochs=2, batch_size=30))):
        finished(train.fit(other, DATA, tmp_path / name, threads=1))
    last = {name: load_arrays(tmp_path / name / LAST)[0] for name in ("run", "alike", "other")}
    same, others = ([np.array_equal(a, last[name][k]) for k, a in last["run"].items()] for name in ("alike", "other"))
    assert all(same) and not all(others)
    assert Classifier.load(folder).micro_batch == 10


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_bytes_of_a_whole_one(whole: Path, half: Path) -> None:
    assert len(finished(train.resume(half, DATA, threads=1))) == 1
    for name in (LAST, BEST):
        assert (half / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lr", 0.5, r"lr is 0.5 and was 0.001"),
        ("seed", 3, r"seed is 3 and was 0"),
        ("batch_size", 20, r"batch_size is 20 and was 30"),
        ("schedule", "cosine", r"schedule is 'cosine' and was 'constant'"),
        ("limit", 50, r"limit is 50 and was None"),
    ],
)
def test_edited_options_are_refused(half: Path, name: str, value: Any, said: str) -> None:
    edit_config(half, lambda document: document["train"].update({name: value}))
    before = {p.name: p.read_bytes() for p in half.iterdir()}
    with pytest.raises(ValueError, match=f"config.json was changed in the midst of the training: {said}; put the orig"):
        train.resume(half, DATA, threads=1)
    assert {p.name: p.read_bytes() for p in half.iterdir()} == before


def test_another_micro_batch_is_refused(half: Path) -> None:
    """It is in the spec alone, and sums are rounded by it."""
    edit_config(half, lambda document: document["spec"].update(micro_batch=7))
    with pytest.raises(ValueError, match=r"config.json was changed .* the spec of its network is another"):
        train.resume(half, DATA, threads=1)


def test_a_longer_run_may_be_asked_for(half: Path) -> None:
    edit_config(half, lambda document: document["train"].update(epochs=3))
    assert [e.epoch for e in finished(train.resume(half, DATA, threads=1))] == [2, 3]


def drop(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def change_loss(path: Path) -> None:
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"loss": record["loss"] + 1e-9}) + "\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (drop, "has 0 of the 1 epochs that last.npz has had"),
        (empty, "has 0 of the 1 epochs that last.npz has had"),
        (change_loss, "was changed in the midst of the training"),
    ],
)
def test_missing_and_edited_metrics_are_refused(half: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(half / METRICS)
    with pytest.raises(ValueError, match=f"{METRICS} {said}"):
        train.resume(half, DATA, threads=1)


def test_the_time_an_epoch_took_is_nothing_to_hold_on_to(half: Path, whole: Path) -> None:
    record = json.loads((half / METRICS).read_text())
    (half / METRICS).write_text(json.dumps(record | {"seconds": 1e9}) + "\n")
    finished(train.resume(half, DATA, threads=1))
    assert (half / LAST).read_bytes() == (whole / LAST).read_bytes()


def test_a_checkpoint_of_an_older_version_goes_on_with_a_warning(half: Path, whole: Path) -> None:
    arrays, about = load_arrays(half / LAST)
    checkpoint.save_arrays(half / LAST, arrays, {k: about[k] for k in ("epoch", "steps", "best")})
    edit_config(half, lambda document: document.pop("canary"))
    with pytest.warns(UserWarning, match="trained by an older version"):
        finished(train.resume(half, DATA, threads=1))
    assert load_arrays(half / LAST)[1] == load_arrays(whole / LAST)[1]


def test_other_rounding_is_said_and_recorded(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = json.loads((half / CONFIG).read_text())["canary"]
    edit_config(half, lambda document: document.update(canary="0" * 64))
    with pytest.warns(UserWarning, match="rounds otherwise than the one that .*half was trained on: its bytes will"):
        run = train.resume(half, DATA, threads=1)
    (move,) = json.loads((half / CONFIG).read_text())["moved"]
    assert move["after_epoch"] == 1 and move["canary"] == here and "blas" in move["environment"]
    finished(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(train.resume(half, DATA, threads=1)) == [], "it has been here since"
    monkeypatch.setattr(continuity, "canary", lambda *args: "back where it began")
    with pytest.warns(UserWarning, match="rounds otherwise"):
        train.resume(half, DATA, threads=1)


@pytest.mark.parametrize(
    "options",
    [
        {"propagation": "sampled", "loss": "cross-entropy", "adversarial": "pgd", "augmentation": "crop-flip"},
        {"noise": "features", "loss": "expected-cross-entropy", "propagation": "exact", "learn_sigma": True},
        {"model": "lenetpp", "noise": "features", "loss": "cross-entropy", "propagation": "sampled"},
    ],
    ids=str,
)
def test_the_canary_is_the_same_again_and_feels_the_last_bit(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(**options)
    training = training_of(config, DATA.image_shape, DATA.classes)
    first = continuity.canary(training, "cpu")
    assert continuity.canary(training, "cpu") == first
    called = continuity.PartGradient.__call__

    def rounded_otherwise(self: Any, params: dict[str, Any], *args: Any) -> Any:
        name = min(name for name in params if name.endswith(".w"))
        return called(self, params | {name: np.nextafter(params[name], np.float32(9))}, *args)

    monkeypatch.setattr(continuity.PartGradient, "__call__", rounded_otherwise)
    assert continuity.canary(training, "cpu") != first


def test_training_noise_alone_is_not_begun_on_a_network_that_was_never_trained(half: Path) -> None:
    """A kill before the first checkpoint leaves config.json alone, which does not hold the network to start from."""
    edit_config(half, lambda document: document.update(start={"parameters": "0" * 64}))
    for name in (LAST, BEST, METRICS):
        (half / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=r"another network to start from but no last.npz"):
        train.resume(half, DATA, threads=1)


def test_a_training_that_never_began_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "initial", lambda self: (_ for _ in ()).throw(MemoryError("too large")))
    with pytest.raises(MemoryError):
        list(train.fit(SHORT, DATA, tmp_path / "run", threads=1))
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_removed_is_missed_at_once(tmp_path: Path) -> None:
    run = train.fit(SHORT, DATA, tmp_path / "run", threads=1)
    next(run)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"run was removed, or its config.json was"):
        finished(run)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_checkpoint_before(half: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (half / LAST).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"cannot write .*half/\S+ \(No space left on device\)"):
            finished(train.resume(half, DATA, threads=1))
    assert (half / LAST).read_bytes() == before
    assert {p.name for p in half.iterdir()} <= {CONFIG, METRICS, LAST, BEST}
    finished(train.resume(half, DATA, threads=1))
    assert (half / LAST).read_bytes() == (whole / LAST).read_bytes()
