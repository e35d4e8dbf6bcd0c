"""Data sets by a path or by a name that a user registered."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_data import four

from npsnn import data
from npsnn.data import own
from npsnn.data.arrays import NAMES


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LOADERS", {})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file(tmp_path: Path, save: Any) -> None:
    arrays, file = four(), tmp_path / "my own.npz"
    save(file, **arrays, val_images=np.array([None]))  # what is not asked for may be pickled
    found = data.load(file)
    assert found.name == str(file) and data.short(found.name) == "my own"
    assert found.digests == {"my own.npz": hashlib.sha256(file.read_bytes()).hexdigest()}
    np.testing.assert_array_equal(found.train.images, arrays["train_images"])
    assert data.verify(str(file)) == found.digests and data.caveat(str(file)) is None


def spoilt(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def packed_otherwise() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("train_images.npy", bytes(500))
    return content.getvalue()


SOUND = four()
WRONG = {
    "empty": (b"", "is damaged or no data set"),
    "no archive": (b"PK no archive", "is damaged or no data set (an .npz file of arrays): File is not a zip file"),
    "cut": (spoilt(**SOUND)[:-50], "is damaged or no data set"),
    "pickled": (spoilt(**SOUND | {"train_labels": np.array([None])}), "'train_labels.npy' holds no array of numbers"),
    "other names": (spoilt(a=1, b=2), f"lacks {', '.join(NAMES)}: it must hold {', '.join(NAMES)}, it holds a, b"),
    "another compression": (packed_otherwise(), "is compressed, in a way that NumPy never takes"),
    "wrong shape": (spoilt(**SOUND | {"test_images": np.ones(3)}), "must have the shape (N, H, W)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, said = WRONG[name]
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        data.load(file)
    assert str(file) in str(caught.value) and said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", train_images=np.zeros(100_000))
    monkeypatch.setattr(own, "LIMIT", 10_000)
    with pytest.raises(ValueError, match="its members claim 800,128 bytes, more than the 10,000 that it may have"):
        data.load(tmp_path / "a.npz")


def test_a_path_of_nothing_or_of_another_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no data set .*/a\.npz: name an \.npz file or a folder"):
        data.load(tmp_path / "a.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"a\.csv is no data set: it must be an \.npz file or a folder of images"):
        data.load(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="null character"):
        data.load("a/\0")
    with pytest.raises(ValueError, match=r"data set must be one of digits, .*, or a path, got 'a.csv'"):
        data.load("a.csv")


def test_a_name_goes_before_a_folder_that_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    with pytest.raises(FileNotFoundError, match="mnist is not in"):
        data.load("mnist", tmp_path / "none")
    with pytest.raises(ValueError, match="for each of two classes"):
        data.load("./mnist")


def test_data_that_have_moved_are_found_in_the_data_folder(tmp_path: Path) -> None:
    recorded = str(tmp_path / "old" / "a.npz")
    assert data.located(recorded, None) == data.located(recorded, tmp_path) == recorded
    (tmp_path / "a.npz").touch()
    assert data.located(recorded, tmp_path) == str(tmp_path / "a.npz")
    assert data.located("digits", tmp_path) == "digits"


def test_a_registered_loader_has_a_name(tmp_path: Path) -> None:
    asked = []

    def loader(folder: Path) -> dict[str, Any]:
        asked.append(folder)
        return four()

    data.register("mine", loader)
    found = data.load("mine", tmp_path)
    assert (found.name, found.classes, asked) == ("mine", 3, [tmp_path])
    assert data.names() == (*data.NAMES, "mine") and data.status("mine") == "yours" and data.describe("mine")
    with pytest.raises(ValueError, match="mine is a data set of your own: there is nothing to fetch"):
        data.fetch("mine", tmp_path)
    data.register("mine", lambda folder: data.from_arrays("otherwise", four(), {"a": "b"}, class_names=("x", "y", "z")))
    found = data.load("mine", tmp_path)  # a cell of a notebook that runs again
    assert (found.name, found.class_names, found.digests) == ("mine", ("x", "y", "z"), {"a": "b"})


@pytest.mark.parametrize(
    ("name", "loader", "said"),
    [
        ("mnist", lambda folder: None, "there is another data set mnist: rename yours"),
        ("a/b", lambda folder: None, "must be a word of letters, digits and hyphens"),
        ("mine", 3, "loader must be a function of the data folder, got 3"),
        ("mine", lambda: None, r"the loader of mine must take \(folder\), got \(\)"),
    ],
)
def test_a_loader_that_cannot_be_registered(name: str, loader: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        data.register(name, loader)
    assert not own.LOADERS


def test_a_loader_that_fails_is_named(tmp_path: Path) -> None:
    data.register("mine", lambda folder: [1, 2])
    with pytest.raises(TypeError, match="of mine must return a Dataset or a mapping of four arrays, got list"):
        data.load("mine", tmp_path)
    data.register("mine", lambda folder: {}["x"])
    with pytest.raises(KeyError) as caught:
        data.load("mine", tmp_path)
    assert caught.value.__notes__ == ["Raised by the data set mine"]


def test_names_of_other_encodings(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("names are text there")
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9e.npz"))
    np.savez(file, **four())
    assert data.load(file).digests.keys() == {file.name}
