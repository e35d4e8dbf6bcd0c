"""Whole trainings of LeNet-5 on a few drawn digits: reproducible, resumable after a kill, and actually learning."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn import train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.runs.checkpoint import BEST, CONFIG, LAST, METRICS, load_arrays, save_arrays
from npsnn.seeing.listing import listed
from npsnn.train import fit, resume, split_validation
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, Step, Trainer, TrainingError


def split(count: int, seed: int) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


def dataset(count: int = 200) -> Dataset:
    return Dataset("few digits", split(count, 0), split(20, 1), 10, {"train": f"first {count}"})


DATA = dataset()
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 72, "limit": 160}
"""Three steps an epoch, of which the first two have two micro-batches."""


def finished(run: Iterator[Step | Epoch]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / LAST).read_bytes(), (folder / BEST).read_bytes()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on one thread."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    finished(fit(Config(**SHORT), DATA, folder, threads=1))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 3, None])
def test_checkpoints_are_bit_identical_for_any_threads(threads: int | None, reference: Path, tmp_path: Path) -> None:
    finished(fit(Config(**SHORT), DATA, tmp_path / "run", threads=threads))
    assert files(tmp_path / "run") == files(reference)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "cross-entropy", "propagation": "sampled", "augmentation": "crop-flip"},
        {"loss": "cross-entropy", "propagation": "sampled", "adversarial": "pgd"},
        {"loss": "mse", "propagation": "exact", "learn_sigma": True},
    ],
    ids=str,
)
def test_processes_compute_what_one_does(options: dict[str, Any], tmp_path: Path) -> None:
    config = Config(**SHORT | options | {"batch_size": 130})  # three micro-batches
    for threads in (1, 2, 3):
        finished(fit(config, DATA, tmp_path / str(threads), threads=threads))
    assert files(tmp_path / "1") == files(tmp_path / "2") == files(tmp_path / "3")


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"seed": 1}, {"sigma": 0.5}, {"lr": 2e-3}, {"batch_size": 63}, {"limit": 159}])
def test_other_options_give_another_network(change: dict[str, Any], reference: Path, tmp_path: Path) -> None:
    finished(fit(Config(**SHORT | change), DATA, tmp_path, threads=1))
    assert files(tmp_path)[0] != files(reference)[0]


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from test_loop import Config, DATA, SHORT, Step, fit
for record in fit(Config(**SHORT), DATA, {folder!r}, threads=2):
    if isinstance(record, Step) and (record.epoch, record.step) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = KILLED.format(paths=[str(Path(__file__).parents[i]) for i in (0, 1)], folder=str(folder))
    root = Path(train.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert load_arrays(folder / LAST)[1]["epoch"] == 1
    assert [e.epoch for e in finished(resume(folder, DATA, threads=3))] == [2]
    assert files(folder) == files(reference)


class Kill(BaseException):
    """Ends a run as a signal would: no handler of errors sees it."""


@pytest.mark.slow
@pytest.mark.parametrize("write", range(1, 9))
def test_a_kill_at_any_write_loses_nothing(
    write: int, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """config.json, last.npz, and after each of two epochs best.npz (if better), metrics.jsonl, last.npz."""
    left, rename = [write], Path.replace

    def replace(self: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise Kill
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        finished(fit(Config(**SHORT), DATA, tmp_path, threads=1))
    except Kill:
        left[0] = -1
    finally:
        monkeypatch.setattr(Path, "replace", rename)
    again = resume if (tmp_path / CONFIG).exists() else lambda *args, **kw: fit(Config(**SHORT), *reversed(args), **kw)
    finished(again(tmp_path, DATA, threads=1))
    assert files(tmp_path) == files(reference)
    assert [json.loads(x)["epoch"] for x in (tmp_path / METRICS).read_text().splitlines()] == [1, 2]


def test_a_finished_run_is_left_alone(reference: Path) -> None:
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in reference.iterdir()}
    assert list(resume(reference, DATA)) == []
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in reference.iterdir()} == before
    assert before.keys() == {CONFIG, METRICS, LAST, BEST}


def test_a_run_is_resumed_on_its_own_data_only(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was trained on other data") as caught:
        resume(reference, dataset(199))
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        resume(tmp_path, DATA)


def test_a_taken_folder_is_refused_and_left_alone(reference: Path) -> None:
    before = {p.name: p.read_bytes() for p in reference.iterdir()}
    with pytest.raises(FileExistsError, match="must be a new or empty folder"):
        fit(Config(**SHORT | {"seed": 5}), DATA, reference)
    assert {p.name: p.read_bytes() for p in reference.iterdir()} == before


def test_damaged_runs_are_refused(reference: Path, tmp_path: Path) -> None:
    for name in (CONFIG, LAST, METRICS):
        (tmp_path / name).write_bytes((reference / name).read_bytes())
    arrays, about = load_arrays(tmp_path / LAST)
    damages: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (arrays, {"epoch": 1}, "steps"),
        ({k: a for k, a in arrays.items() if k != "params/fc1.b"}, about, "fc1.b"),
        (arrays | {"params/fc1.b": np.zeros(3, np.float32)}, about, "fc1.b"),
        (arrays | {"params/fc1.b": np.full(200, np.nan, np.float32)}, about, "NaN"),
        ({k: a for k, a in arrays.items() if k != "optimizer/first/fc1.b"}, about | {"epoch": 1}, "first/fc1.b"),
    ]
    for changed, said, message in damages:
        save_arrays(tmp_path / LAST, changed, said)
        with pytest.raises(ValueError, match=message) as caught:
            finished(resume(tmp_path, DATA, threads=1))
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_diverging_run_says_where_and_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    config = Config(optimizer="sgd", lr=1e4, epochs=4, batch_size=128, limit=130)
    with pytest.raises(
        TrainingError, match=r"epoch \d, step 1 of 1: try a smaller --lr \(it was 10000\), or --opt"
    ) as e:
        finished(fit(config, DATA, tmp_path, threads=1))
    assert "\n" not in str(e.value)
    Classifier.load(tmp_path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_logits_that_overflow_after_the_last_step_are_no_accuracy(tmp_path: Path) -> None:
    """Parameters and losses are finite; without the question all images would have been read as class 0."""
    with pytest.raises(TrainingError, match="the logits overflowed in epoch 1, step 1 of 1: try a smaller --lr"):
        finished(fit(Config(lr=1e30, epochs=1, batch_size=128, limit=130), DATA, tmp_path, threads=1))
    assert np.isfinite(Classifier.load(tmp_path).predict(DATA.test.images[:2])).all()
    assert listed(tmp_path).state == "stopped"


def test_a_checkpoint_is_never_of_a_network_that_is_not_finite(tmp_path: Path) -> None:
    """A last step of an epoch that overflows must not replace the good checkpoint by one that cannot be read."""
    with pytest.raises(TrainingError), pytest.warns(RuntimeWarning):
        finished(fit(Config(optimizer="sgd", lr=1e39, epochs=2, batch_size=128, limit=130), DATA, tmp_path, threads=1))
    Classifier.load(tmp_path)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Epoch]]:
    """A run that learns, sigma too."""
    folder = tmp_path_factory.mktemp("learned")
    config = Config(epochs=8, batch_size=32, lr=2e-3, sigma=0.1, learn_sigma=True, sigma_reward=0.1, schedule="cosine")
    return folder, finished(fit(config, dataset(600), folder))


@pytest.mark.slow
def test_a_tiny_problem_is_learned(learned: tuple[Path, list[Epoch]]) -> None:
    records = learned[1]
    assert records[0].training_accuracy < 0.5 < 0.8 < records[-1].training_accuracy
    assert records[-1].validation_accuracy > 0.6
    assert records[-1].loss < records[0].loss


@pytest.mark.slow
def test_sigma_is_learned(learned: tuple[Path, list[Epoch]]) -> None:
    sigmas = [r.sigma for r in learned[1]]
    assert all(s > 0 for s in sigmas) and len(set(sigmas)) == len(sigmas)
    assert Classifier.load(learned[0]).sigma == sigmas[-1] != pytest.approx(0.1, rel=1e-3)


@pytest.mark.slow
def test_best_is_chosen_on_the_validation_part(learned: tuple[Path, list[Epoch]]) -> None:
    folder, records = learned
    accuracies = [r.validation_accuracy for r in records]
    best = load_arrays(folder / BEST)[1]
    assert best["epoch"] == 1 + int(np.argmax(accuracies)) and best["best"] == max(accuracies)
    validation = split_validation(dataset(600).train, 0, None)[1]
    for which, expected in (("best", max(accuracies)), ("last", accuracies[-1])):
        predicted = Classifier.load(folder, which).predict(validation.images / np.float32(255)).argmax(axis=1)
        assert (predicted == validation.labels).mean() == pytest.approx(expected)


def test_best_is_the_first_of_the_highest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = [0.5, 0.9, 0.7, 0.8, 0.9]

    def validated(trainer: Trainer, network: Classifier, draws: Any = None, graphs: Any = None) -> float:
        return accuracies.pop(0) if draws is None else 1.0

    monkeypatch.setattr(Trainer, "validated", validated)
    finished(fit(Config(epochs=3, limit=20), DATA, tmp_path, threads=1))
    about = json.loads((tmp_path / CONFIG).read_text())
    about["train"]["epochs"] = 5
    (tmp_path / CONFIG).write_text(json.dumps(about))
    finished(resume(tmp_path, DATA, threads=1))
    assert load_arrays(tmp_path / BEST)[1] == {"epoch": 2, "steps": 2, "best": 0.9}
    assert load_arrays(tmp_path / LAST)[1].items() >= {"epoch": 5, "steps": 5, "best": 0.9}.items()


def test_metrics_are_lines_of_json(learned: tuple[Path, list[Epoch]]) -> None:
    folder, records = learned
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert lines == [asdict(r) for r in records]
    assert all(line.keys() == {f.name for f in fields(Epoch)} for line in lines)
    assert [line["epoch"] for line in lines] == list(range(1, 9))


def test_the_config_is_written_whole(reference: Path) -> None:
    about = json.loads((reference / CONFIG).read_text())
    assert about["train"] == asdict(Config(**SHORT)) | {"dataset": "few digits"}
    assert about["data"] == DATA.digests
    assert about["spec"]["name"] == "lenet5" and about["environment"]["packages"]["numpy"] == np.__version__


def test_a_run_without_a_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(finished(fit(Config(epochs=1, limit=20), DATA, threads=1))) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "held"), [(None, 17), (120, 10), (2, 1), (5, 1), (1000, 17)])
def test_the_validation_part_is_kept_apart(limit: int | None, held: int) -> None:
    numbered = np.arange(200, dtype=np.uint8)
    everything = Split(np.broadcast_to(numbered[:, None, None, None], (200, 1, 1, 1)), numbered.astype(np.int64))
    parts = split_validation(everything, 0, limit)
    assert len(parts[1]) == held
    assert sorted(np.concatenate([p.labels for p in parts])) == list(range(min(limit or 200, 200)))
    assert all((p.images[:, 0, 0, 0] == p.labels).all() for p in parts)
    same, other = split_validation(everything, 0, limit), split_validation(everything, 1, limit)
    assert (same[1].labels == parts[1].labels).all()
    assert limit in (2, 5) or (other[1].labels != parts[1].labels).any()
