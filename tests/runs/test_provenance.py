"""A run says which data it was trained on, by the arrays, and which network it began with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_data import MINE, drawn, other, trained_on

from npsnn import Classifier
from npsnn.data import Dataset
from npsnn.runs import provenance
from npsnn.runs.checkpoint import CONFIG
from npsnn.train import resume
from npsnn.train.config import Config


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trained_on(tmp_path / "mine", MINE)
    return tmp_path / "mine"


@pytest.mark.parametrize("name", ["mnist", "mine"])
def test_a_run_records_the_data_that_it_was_given(name: str, tmp_path: Path) -> None:
    about = trained_on(tmp_path / "run", replace(MINE, name=name), Config(epochs=1))
    assert about["train"]["dataset"] == name
    recorded = about["arrays"]
    assert (recorded["classes"], recorded["train"]["count"], recorded["test"]["shape"]) == (10, 40, [1, 28, 28])


LABELS = np.roll(MINE.train.labels, 1)
OTHERS = {
    "classes": other(classes=11),
    "train count": other(train=drawn(41)),
    "train images": other(train=drawn(seed=5)),
    "train labels": other(train=replace(MINE.train, labels=LABELS)),
    "test images": other(test=drawn(20, 2)),
    "test labels": other(test=replace(MINE.test, labels=LABELS[:20])),
    "train shape (": other(train=drawn(size=27), test=drawn(20, 1, size=27)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_arrays_are_other_data_whatever_their_digests_say(what: str, run: Path) -> None:
    """The user gave no digests, so that those of files would all be the same."""
    with pytest.raises(ValueError, match="was trained on other data") as caught:
        resume(run, OTHERS[what])
    assert what.split(" (")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_of_other_names_are_other_data() -> None:
    about = provenance.entries(other(class_names=tuple("abcdefghij")))
    renamed = other(class_names=tuple("abcdefghix"))
    assert provenance.difference(about, renamed) == "name of class 9 (j in the run, x here)"
    assert provenance.difference(about, MINE) == "", "the names are not known"


def test_the_same_arrays_are_the_same_data(run: Path) -> None:
    written = Dataset("mine", drawn(), drawn(20, 1), 10, {"anything": "at all"})
    assert list(resume(run, written)) == []


def test_a_digest_tells_names_types_shapes_and_contents_apart() -> None:
    zeros = np.zeros((2, 3), np.float32)
    arrays = [{"a": zeros}, {"b": zeros}, {"a": zeros.astype(np.int32)}, {"a": zeros.T}, {"a": zeros + 1}]
    arrays += [{"a": zeros, "b": zeros}, {"a": np.zeros((0, 3), np.float32)}, {"a": np.zeros((), np.float32)}]
    assert len({provenance.digest(a) for a in arrays}) == len(arrays)
    assert provenance.digest({"a": zeros, "b": zeros + 1}) == provenance.digest({"b": zeros + 1, "a": zeros[:, :]})
    assert provenance.digest({"a": np.asfortranarray(zeros + 1)}) == provenance.digest({"a": zeros + 1})


def test_a_run_of_an_earlier_version_is_known_by_its_files(run: Path) -> None:
    about = json.loads((run / CONFIG).read_text())
    del about["arrays"]
    (run / CONFIG).write_text(json.dumps(about))
    assert list(resume(run, MINE)) == []
    with pytest.raises(ValueError, match="they differ in the digests of the files"):
        resume(run, replace(MINE, digests={"images": "00"}))


def test_a_run_names_the_network_that_it_began_with(run: Path, tmp_path: Path) -> None:
    start = Classifier.load(run)
    config = Config(epochs=1, learn_sigma=True, noise_only=True)
    about = trained_on(tmp_path / "noise", MINE, config, start)
    assert about["start"] == {"parameters": provenance.of_network(start.params)}
    assert "start" not in json.loads((run / CONFIG).read_text())
