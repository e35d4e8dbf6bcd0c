import os
import re
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from npsnn import data
from npsnn.data import digits
from npsnn.data.dataset import Split


@pytest.fixture(scope="module")
def drawn():
    """Both splits."""
    return {name: digits.generate(name) for name in digits.SIZES}


@pytest.fixture
def few(monkeypatch):
    """60 + 20 images, and a list that grows with every split that is drawn."""
    monkeypatch.setattr(digits, "SIZES", {"train": 60, "test": 20})
    calls, real = [], digits.generate
    monkeypatch.setattr(digits, "generate", lambda split: (calls.append(split), real(split))[1])
    return calls


def same(a, b):
    return a.digests == b.digests and np.array_equal(a.train.images, b.train.images)


@pytest.mark.slow
def test_sizes_balance_and_order(drawn):
    for name, count in (("train", 12_000), ("test", 2_000)):
        split = drawn[name]
        assert split.images.shape == (count, 1, 28, 28) and split.images.dtype == np.uint8
        assert np.bincount(split.labels).tolist() == [count // 10] * 10
        # Shuffled: about a tenth of the neighbours agree, none would in a cycle and nearly all in a sorted list.
        assert 0.06 < np.mean(split.labels[1:] == split.labels[:-1]) < 0.14


@pytest.mark.slow
def test_images_are_light_on_dark_and_all_different(drawn):
    for split in drawn.values():
        flat = split.images.reshape(len(split), -1)
        assert flat.max(axis=1).min() >= 100 and np.median(flat, axis=1).max() <= 40
        assert len(np.unique(flat, axis=0)) == len(flat)
    train, test = (split.images.reshape(len(split), -1) for split in drawn.values())
    assert len(np.unique(np.vstack([train, test]), axis=0)) == 14_000


def test_drawing_is_deterministic_and_the_splits_differ(monkeypatch):
    monkeypatch.setattr(digits, "SIZES", {"train": 50, "test": 50})
    first, second, other = (digits.generate(name) for name in ("train", "train", "test"))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(first.images, other.images) and not np.array_equal(first.labels, other.labels)


def test_chunks_do_not_show(monkeypatch):
    labels = np.arange(30) % 10
    whole = digits.draw(labels, np.random.default_rng(1))
    monkeypatch.setattr(digits, "CHUNK", 7)
    np.testing.assert_array_equal(digits.draw(labels, np.random.default_rng(1)), whole)


def test_distances_against_a_plain_sum():
    rng = np.random.default_rng(2)
    segments = rng.uniform(0, 27, (2, 3, 2, 2)).astype(np.float32)
    segments[0, 2, 1] = segments[0, 2, 0]  # a segment of no length is a point
    found = digits._distances(segments).reshape(2, 28, 28)
    t = np.linspace(0, 1, 2001)[:, None]
    for image, strokes in enumerate(segments.astype(float)):
        points = np.concatenate([a + t * (b - a) for a, b in strokes])
        for row, column in ((0, 0), (3, 25), (14, 14), (27, 9)):
            expected = np.hypot(points[:, 0] - column, points[:, 1] - row).min()
            assert abs(found[image, row, column] - expected) < 0.02


def test_every_variant_of_a_figure_is_drawn():
    table, picks = digits._skeletons()
    assert sorted(set(picks.ravel())) == list(range(len(table))) == list(range(sum(map(len, digits.FIGURES))))
    for figure, row in enumerate(picks):
        counts = np.unique(row, return_counts=True)[1]
        assert len(counts) == len(digits.FIGURES[figure]) and len(set(counts)) == 1
    assert np.abs(table).max() <= 1.01


def logistic_regression(x, labels, decay):
    """Weights (D + 1, 10) that minimise the mean cross-entropy plus decay/2 times their squared norm."""
    x = np.hstack([x, np.ones((len(x), 1), x.dtype)])
    wanted = np.eye(10, dtype=x.dtype)[labels]

    def loss(flat):
        w = flat.reshape(-1, 10).astype(x.dtype)
        z = x @ w
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        value = np.mean(np.log(total[:, 0]) - (z * wanted).sum(axis=1)) + decay / 2 * np.sum(w * w)
        return float(value), (x.T @ ((p / total - wanted) / len(x)) + decay * w).ravel().astype(float)

    start = np.zeros(x.shape[1] * 10)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150}).x.reshape(-1, 10)


@pytest.mark.slow
def test_a_linear_classifier_stays_under_93_percent(drawn):
    train, test = drawn.values()
    x, x_test = (data.as_float(split.images).reshape(len(split), -1) for split in (train, test))
    # Near the decay that serves it best: measured 0.857 without, 0.909 at 1e-4, 0.907 at 3e-4, 0.887 at 4e-3.
    w = logistic_regression(x, train.labels, 3e-4)
    accuracy = np.mean((x_test @ w[:-1] + w[-1]).argmax(axis=1) == test.labels)
    assert 0.80 < accuracy < 0.93


@pytest.mark.slow
def test_neighbours_show_that_the_labels_fit(drawn):
    train, test = drawn.values()
    x, x_test = (data.as_float(split.images).reshape(len(split), -1) for split in (train, test))
    x, x_test = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, x_test))
    nearest = np.concatenate([(part @ x.T).argmax(axis=1) for part in np.split(x_test, 8)])
    assert np.mean(train.labels[nearest] == test.labels) > 0.9


def test_load_draws_once_and_reads_the_cache_after(few, tmp_path):
    first = data.load("digits", tmp_path)
    second = data.load("digits", tmp_path)
    assert few == ["train", "test"] and same(first, second)
    assert (first.name, first.classes, first.image_shape) == ("digits", 10, (1, 28, 28))
    assert [p.name for p in tmp_path.rglob("*")] == ["digits", "digits.npz"]
    assert data.fetch("digits", tmp_path) == tmp_path / "digits"
    assert data.verify("digits", tmp_path) == first.digests


@pytest.mark.usefixtures("few")
def test_digests_are_of_the_arrays(tmp_path):
    made = data.load("digits", tmp_path)
    assert sorted(made.digests) == ["test-images", "test-labels", "train-images", "train-labels"]
    assert made.digests["test-images"] == sha256(made.test.images.tobytes()).hexdigest()
    assert made.digests["train-labels"] == sha256(made.train.labels.astype("<i8").tobytes()).hexdigest()


def flip_a_byte(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def rewrite(path, **changes):
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})


def compressed(path):
    with np.load(path) as archive:
        np.savez_compressed(path, **dict(archive))


SPOILERS = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "flipped": flip_a_byte,
    "empty": lambda path: path.write_bytes(b""),
    "no zip": lambda path: path.write_bytes(b"not a zip file"),
    "another zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "npy": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "version": lambda path: rewrite(path, version=np.array(digits.VERSION + 1)),
    "versions": lambda path: rewrite(path, version=np.array([digits.VERSION, digits.VERSION])),
    "no version": lambda path: rewrite(path, version=None),
    "fewer": lambda path: rewrite(path, test_images=np.zeros((19, 1, 28, 28), np.uint8), test_labels=np.zeros(19, int)),
    "type": lambda path: rewrite(path, test_images=np.zeros((20, 1, 28, 28))),
    "shape": lambda path: rewrite(path, train_images=np.zeros((60, 1, 28, 27), np.uint8)),
    "labels": lambda path: rewrite(path, train_labels=(np.load(path)["train_labels"] + 1) % 10),
    "images": lambda path: rewrite(path, train_images=255 - np.load(path)["train_images"]),
    "label out of range": lambda path: rewrite(path, test_labels=np.full(20, 10)),
    "no digests": lambda path: rewrite(path, digests=None),
    "one more": lambda path: rewrite(path, more=np.zeros(3)),
    "compressed": compressed,
    "pickle": lambda path: rewrite(path, test_labels=np.array([None] * 20)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the spoilers' own open files
@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_a_bad_cache_is_replaced_in_silence(few, tmp_path, spoil):
    first = data.load("digits", tmp_path)
    path = tmp_path / "digits" / "digits.npz"
    spoil(path)
    assert same(data.load("digits", tmp_path), first) and len(few) == 4
    assert same(data.load("digits", tmp_path), first) and len(few) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_a_bad_cache_is_not_verified(tmp_path, spoil):
    data.load("digits", tmp_path)
    path = tmp_path / "digits" / "digits.npz"
    spoil(path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        data.verify("digits", tmp_path)
    path.unlink()
    assert data.verify("digits", tmp_path) == data.load("digits", tmp_path).digests


@pytest.mark.usefixtures("few")
def test_other_digits_with_digests_of_their_own_are_not_verified(tmp_path):
    splits = {name: digits.generate(name) for name in digits.SIZES}
    splits["train"] = Split(splits["train"].images, (splits["train"].labels + 1) % 10)
    digits._write_cache(tmp_path / "digits" / "digits.npz", splits)
    with pytest.raises(ValueError, match=r"other digits than are drawn here, they differ in train-labels: .* delete"):
        data.verify("digits", tmp_path)


class Planted:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("few")
def test_the_cache_is_never_unpickled(tmp_path):
    data.load("digits", tmp_path)
    sign = tmp_path / "unpickled"
    rewrite(tmp_path / "digits" / "digits.npz", test_labels=np.array([Planted(sign)] * 20))
    data.load("digits", tmp_path)
    assert not sign.exists()


@pytest.mark.usefixtures("few")
def test_a_new_version_draws_other_images(tmp_path, monkeypatch):
    first = data.load("digits", tmp_path)
    monkeypatch.setattr(digits, "VERSION", digits.VERSION + 1)
    assert not same(data.load("digits", tmp_path), first)


def test_read_only_folder_is_left_alone(few, tmp_path):
    tmp_path.chmod(0o555)
    try:
        for folder in (tmp_path, tmp_path / "deeper"):
            assert len(data.load("digits", folder).train) == 60
        assert list(tmp_path.iterdir()) == [] and len(few) == 4
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.usefixtures("few")
def test_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert len(data.load("digits", tmp_path / "file").train) == 60
    (tmp_path / "digits" / "digits.npz").mkdir(parents=True)
    assert len(data.load("digits", tmp_path).train) == 60
    assert list((tmp_path / "digits").iterdir()) == [tmp_path / "digits" / "digits.npz"]


@pytest.mark.usefixtures("few")
def test_full_disk_is_no_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(data.load("digits", tmp_path).train) == 60
    assert list((tmp_path / "digits").iterdir()) == []
