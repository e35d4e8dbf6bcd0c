import hashlib
import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from npsnn import data
from npsnn.data import load, svhn
from npsnn.data.svhn import TEST, TRAIN


def mat(x, y, **others):
    """The content of a compressed MATLAB 5 file, as the official ones are."""
    file = io.BytesIO()
    savemat(file, {"X": x, "y": y, **others}, do_compression=True)
    return file.getvalue()


def small_arrays(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
    return images, (rng.permutation(count) % 10).astype(np.uint8)


def as_in_matlab(images, labels):
    """X (32, 32, 3, N), and y (N, 1) where 0 is written as 10."""
    return np.moveaxis(images, (2, 3, 1, 0), (0, 1, 2, 3)), np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)


IMAGES, LABELS = small_arrays(12, 3)
SOUND = mat(*as_in_matlab(IMAGES, LABELS))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """svhn, replaced by 30 + 12 images; write(name, content, known) puts a file there and takes it for the official."""
    arrays = {TRAIN: small_arrays(30, 2), TEST: (IMAGES, LABELS)}
    folder, source, digests = tmp_path / "data", tmp_path / "source", {}
    folder.mkdir()
    source.mkdir()

    def write(name, content, known=True):
        (folder / name).write_bytes(content)
        if known:
            digests[name] = hashlib.sha256(content).hexdigest()

    for name, (images, labels) in arrays.items():
        write(name, mat(*as_in_matlab(images, labels)))
        (source / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setitem(svhn.SETS, "svhn", replace(svhn.SETS["svhn"], url=f"{source.as_uri()}/", digests=digests))
    return SimpleNamespace(folder=folder, source=source, arrays=arrays, digests=digests, write=write)


def refused(small, *said):
    with pytest.raises(ValueError) as caught:
        load("svhn", small.folder)
    text = str(caught.value)
    assert text.startswith(f"{small.folder / TEST} ") and "\n" not in text and all(s in text for s in said), text


def test_load_gives_the_arrays_and_digests(small):
    loaded = load("svhn", small.folder)
    assert (loaded.name, loaded.classes, loaded.image_shape) == ("svhn", 10, (3, 32, 32))
    for split, name in ((loaded.train, TRAIN), (loaded.test, TEST)):
        images, labels = small.arrays[name]
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64 and split.images.flags.c_contiguous
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(split.labels, labels)
    assert 0 in loaded.test.labels
    assert data.verify("svhn", small.folder) == loaded.digests == small.digests
    assert data.status("svhn", small.folder) == "present"


def test_labels_may_be_of_another_number_type(small):
    x, y = as_in_matlab(IMAGES, LABELS)
    small.write(TEST, mat(x, y.astype(float)))
    np.testing.assert_array_equal(load("svhn", small.folder).test.labels, LABELS)


def test_missing_set_and_missing_file(small):
    (small.folder / TEST).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"svhn is incomplete in .* \(no {TEST}\): run 'npsnn data fetch svhn'"
    ):
        load("svhn", small.folder)
    assert data.status("svhn", small.folder) == "incomplete"
    (small.folder / TRAIN).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load("svhn", small.folder)
    assert str(caught.value) == (
        f"svhn is not in {small.folder}: run 'npsnn data fetch svhn', or pass --data-dir or set NPSNN_DATA to a folder "
        "that holds train_32x32.mat and test_32x32.mat"
    )
    assert data.status("svhn", small.folder) == "missing"


@pytest.mark.parametrize(
    "content", [SOUND[:-1], mat(*as_in_matlab(IMAGES ^ 1, LABELS)), b"", b"<html>not found</html>"]
)
def test_unknown_content_never_reaches_scipy(small, monkeypatch, content):
    def unexpected(*args):
        raise AssertionError("parsed")

    small.write(TEST, content, known=False)
    load_parts = svhn.parse_mat
    monkeypatch.setattr(svhn, "parse_mat", lambda f, n: unexpected() if TEST in n else load_parts(f, n))
    refused(small, "has the wrong content: expected SHA-256", "delete it and run 'npsnn data fetch svhn'")


@pytest.mark.parametrize("cut", [0, 1, 60, 127, 128, 130, 140, 1000, -1, -40])
def test_truncated_files(small, cut):
    small.write(TEST, SOUND[:cut])
    refused(small, "")


@given(where=st.integers(0, len(SOUND) - 1), byte=st.integers(1, 255))
def test_a_changed_byte_is_read_or_one_line(where, byte):
    content = bytearray(SOUND)
    content[where] ^= byte
    try:
        images, labels = svhn.parse_mat(io.BytesIO(content), "the/file")
    except ValueError as error:
        assert str(error).startswith("the/file ") and "\n" not in str(error)
    else:
        assert len(images) == len(labels)


X, Y = as_in_matlab(IMAGES, LABELS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>not found</html>" * 20, "is no sound MATLAB file of version 5: "),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600), "is no sound MATLAB file of version 5: "),
        (mat(X, Y)[:200], "is no sound MATLAB file of version 5: "),
        (mat(X.astype(float), Y), "must hold X, uint8 (32, 32, 3, N), got float64 (32, 32, 3, 12)"),
        (mat(X[..., 0], Y), "must hold X, uint8 (32, 32, 3, N), got uint8 (32, 32, 3)"),
        (mat(X[:31], Y), "got uint8 (31, 32, 3, 12)"),
        (mat("text", Y), "must hold X"),
        (mat(X, Y[1:]), "must hold y, the labels of its 12 images, got uint8 (11, 1)"),
        (mat(X, Y.T), "must hold y, the labels of its 12 images, got uint8 (1, 12)"),
        (mat(X, np.hstack([Y, Y])), "must hold y, the labels of its 12 images, got uint8 (12, 2)"),
        (mat(X, Y.astype(object)), "must hold y, the labels of its 12 images, got object (12, 1)"),
        (mat(X, "text"), "must hold y, the labels of its 12 images"),
        (mat(X, np.where(Y == 3, 0, Y)), "must hold labels 1 to 10, got 0"),
        (mat(X, np.where(Y == 3, 11, Y)), "must hold labels 1 to 10, got 11"),
        (mat(X, np.where(Y == 3, 2.5, Y)), "must hold labels 1 to 10, got 2.5"),
        (mat(X, np.where(Y == 3, np.nan, Y)), "must hold labels 1 to 10, got nan"),
    ],
)
def test_wrong_files(small, content, said):
    small.write(TEST, content)
    refused(small, said)


def test_files_without_the_variables(small):
    file = io.BytesIO()
    savemat(file, {"y": Y})
    small.write(TEST, file.getvalue())
    refused(small, "must hold X, uint8 (32, 32, 3, N), got none")
    file = io.BytesIO()
    savemat(file, {"X": X})
    small.write(TEST, file.getvalue())
    refused(small, "must hold y, the labels of its 12 images, got none")


def test_fetch_gets_what_is_missing_or_wrong(small):
    (small.folder / TRAIN).unlink()
    small.write(TEST, SOUND[:-1], known=False)
    calls = []
    for _ in range(2):
        assert data.fetch("svhn", small.folder, lambda *call: calls.append(call)) == small.folder
    assert [done for done, total in calls if done == total] == [
        (small.source / n).stat().st_size for n in (TRAIN, TEST)
    ]
    assert load("svhn", small.folder).digests == small.digests


def test_fetch_of_another_content_leaves_what_was_there(small):
    (small.source / TEST).write_bytes(b"not it")
    small.write(TEST, b"before", known=False)
    with pytest.raises(ValueError, match=r"test_32x32\.mat has the wrong content"):
        data.fetch("svhn", small.folder)
    assert (small.folder / TEST).read_bytes() == b"before" and len(list(small.folder.iterdir())) == 2
