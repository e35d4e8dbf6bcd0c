"""KMNIST and EMNIST: the form of MNIST, with other names, classes and labels, and images column by column."""

import gzip
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn import data
from npsnn.data import idx

EMNIST = {"letters": 26, "balanced": 47, "digits": 10, "mnist": 10, "bymerge": 47, "byclass": 62}
RNG = np.random.default_rng(7)


def put(folder: Path, name: str, encode: Any) -> dict[str, np.ndarray]:
    """Small files of a set, each class once; the arrays in them by file."""
    spec = idx.SETS[name]
    labels = np.arange(spec.first, spec.first + spec.classes, dtype=np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for of_images, of_labels in spec.files.values():
        arrays |= {of_images: RNG.integers(0, 256, (len(labels), 28, 28), np.uint8), of_labels: RNG.permutation(labels)}
    (folder / spec.subfolder).mkdir(parents=True, exist_ok=True)
    for file, array in arrays.items():
        (folder / spec.subfolder / f"{file}.gz").write_bytes(gzip.compress(encode(array)))
    return arrays


@pytest.mark.parametrize("split", EMNIST)
def test_emnist_is_read_upright_and_its_labels_begin_at_0(tmp_path: Path, encode: Any, split: str) -> None:
    arrays = put(tmp_path, f"emnist-{split}", encode)
    found = data.load(f"emnist-{split}", tmp_path)
    first = 1 if split == "letters" else 0
    for part, images in (("train", found.train), ("test", found.test)):
        stored = arrays[f"emnist-{split}-{part}-images-idx3-ubyte"]
        np.testing.assert_array_equal(images.images[:, 0], stored.swapaxes(1, 2))
        np.testing.assert_array_equal(images.labels, arrays[f"emnist-{split}-{part}-labels-idx1-ubyte"] - first)
    assert found.classes == EMNIST[split] and found.image_shape == (1, 28, 28)
    assert found.digests == {name: sha256(encode(array)).hexdigest() for name, array in arrays.items()}


def test_kmnist_is_read_as_mnist_is(tmp_path: Path, encode: Any) -> None:
    arrays = put(tmp_path, "kmnist", encode)
    found = data.load("kmnist", tmp_path)
    np.testing.assert_array_equal(found.train.images[:, 0], arrays["train-images-idx3-ubyte"])
    assert found.classes == 10 and data.status("kmnist", tmp_path) == "present"


@pytest.mark.parametrize(("label", "got"), [(0, "got 0"), (27, "got 27")])
def test_a_label_of_no_letter_is_refused(tmp_path: Path, encode: Any, label: int, got: str) -> None:
    put(tmp_path, "emnist-letters", encode)
    labels = np.full(26, label, np.uint8)
    (tmp_path / "EMNIST/raw/emnist-letters-test-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode(labels)))
    with pytest.raises(ValueError, match=f"must hold labels 1 to 26, {got}$"):
        data.load("emnist-letters", tmp_path)


@pytest.mark.parametrize("name", data.UNVERIFIED)
def test_a_set_that_is_not_there_is_called_by_its_own_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, tmp_path)
    start = f"{name} is not in {tmp_path}, and npsnn does not fetch this set: pass --data-dir or set NPSNN_DATA"
    assert str(caught.value).startswith(start)
    with pytest.raises(ValueError, match=f"^{name} is "):
        data.fetch(name, tmp_path)
    assert data.caveat(name)


def test_files_of_a_known_content_stay_checked(tmp_path: Path, encode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "kmnist", encode)
    digests = dict.fromkeys(idx.SETS["kmnist"].names, "0" * 64)
    monkeypatch.setitem(idx.SETS, "kmnist", replace(idx.SETS["kmnist"], digests=digests))
    with pytest.raises(ValueError, match="has the wrong content"):
        data.load("kmnist", tmp_path)
