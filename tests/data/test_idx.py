import gzip
import hashlib
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from npsnn import data
from npsnn.data import idx, load
from npsnn.data.idx import parse_idx, read_idx

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_round_trip(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    for ndim in (None, array.ndim):
        read = parse_idx(head + array.tobytes(), "f", ndim)
        assert read.dtype == np.uint8 and read.shape == array.shape
        np.testing.assert_array_equal(read, array)


@given(content=st.binary(max_size=24) | st.binary(max_size=20).map(lambda tail: b"\0\0\x08" + tail))
def test_any_bytes_are_an_array_or_one_line_that_names_the_file(content):
    try:
        read = parse_idx(content, "the/file")
    except ValueError as error:
        assert str(error).startswith("the/file ") and "\n" not in str(error)
    else:
        assert read.nbytes + 4 + 4 * read.ndim == len(content)


def test_plain_and_gzip_files(tmp_path, encode):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(encode(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(encode(array)))
    for name in ("a", "a.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name, 3), array)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_idx(tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x0d\x01\0\0\0\0", "unsigned bytes: expected it to begin with 00 00 08 01, got 00 00 0d 01"),
        (b"P5 28 28", "unsigned bytes: expected it to begin with 00 00 08 01, got 50 35 20 32"),
        (b"\0\0\x08\0", "unsigned bytes: expected it to begin with 00 00 08 01, got 00 00 08 00"),
        (b"\0\0\x08\x40", "unsigned bytes: expected it to begin with 00 00 08 01, got 00 00 08 40"),
        (b"\0\0", "unsigned bytes: expected it to begin with 00 00 08 01, got 00 00"),
        (b"\0\0\x08\x03" + bytes(12), "must have 1 dimensions, got 3"),
        (b"\0\0\x08\x01\0\0", "ends inside its header: expected 8 bytes, got 6"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"must have 11 bytes for shape \(3,\), got 10"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", r"must have 11 bytes for shape \(3,\), got 12"),
        (b"", "is empty"),
    ],
)
def test_wrong_content(tmp_path, content, message):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path, 1)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_unpacked_to_nothing(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ValueError, match=r"x\.gz is no IDX file .* got nothing"):
        read_idx(tmp_path / "x.gz")


def test_load_gives_the_arrays_and_digests_of_the_content(small):
    data = load("mnist", small.folder)
    assert (data.name, data.classes, data.image_shape) == ("mnist", 10, (1, 28, 28))
    assert (data.train.images.shape, data.test.images.shape) == ((30, 1, 28, 28), (20, 1, 28, 28))
    for split, prefix in ((data.train, "train"), (data.test, "t10k")):
        np.testing.assert_array_equal(split.images[:, 0], small.arrays[f"{prefix}-images-idx3-ubyte"])
        np.testing.assert_array_equal(split.labels, small.arrays[f"{prefix}-labels-idx1-ubyte"])
    assert data.digests == small.digests


def test_plain_files_serve_as_well_and_give_the_same_digests(small):
    for name, content in small.contents.items():
        (small.raw / f"{name}.gz").unlink()
        (small.raw / name).write_bytes(content)
    assert load("mnist", small.folder).digests == small.digests


def test_gzip_file_goes_before_the_plain_one(small):
    (small.raw / IMAGES).write_bytes(b"a plain file that a fetch would not replace")
    assert load("mnist", small.folder).digests == small.digests


def test_another_content_of_the_right_form_is_refused(small, write):
    images = small.arrays[IMAGES].copy()
    images[3, 4, 5] ^= 1
    write(IMAGES, images)
    with pytest.raises(ValueError) as caught:
        load("mnist", small.folder)
    text, content = str(caught.value), small.contents[IMAGES]
    changed = content[:16] + images.tobytes()
    assert text.startswith(f"{small.raw / IMAGES}.gz has the wrong content") and "\n" not in text
    assert small.digests[IMAGES][:12] in text and hashlib.sha256(changed).hexdigest()[:12] in text
    assert text.endswith("delete it and run 'npsnn data fetch mnist'")


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_every_file_is_verified(small, write, name):
    write(name, np.roll(small.arrays[name], 1, axis=0))
    with pytest.raises(ValueError, match=f"{name}.gz has the wrong content"):
        load("mnist", small.folder)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (LABELS, np.zeros(29, np.uint8), r"labels-idx1-ubyte\.gz must hold 30 labels, one an image, got 29"),
        (LABELS, np.full(30, 10, np.uint8), r"labels-idx1-ubyte\.gz must hold labels 0 to 9, got 10"),
        (LABELS, np.zeros((30, 28, 28), np.uint8), r"labels-idx1-ubyte\.gz must have 1 dimensions, got 3"),
        (IMAGES, np.zeros((30, 28), np.uint8), r"images-idx3-ubyte\.gz must have 3 dimensions, got 2"),
        (IMAGES, np.zeros((30, 28, 27), np.uint8), r"must hold images of \(28, 28\) pixels, got \(28, 27\)"),
    ],
)
def test_files_that_do_not_fit_together(small, write, name, array, message):
    write(name, array)
    with pytest.raises(ValueError, match=message):
        load("mnist", small.folder)


def test_missing_set_says_what_to_do(tmp_path):
    folder = tmp_path / "nothing"
    with pytest.raises(FileNotFoundError) as caught:
        load("mnist", folder)
    assert str(caught.value) == (
        f"mnist is not in {folder}: run 'npsnn data fetch mnist', "
        "or pass --data-dir or set NPSNN_DATA to a folder that holds MNIST/raw/"
    )
    assert not folder.exists()


def test_incomplete_set_names_the_missing_file(small):
    (small.raw / f"{LABELS}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"mnist is incomplete in .* \(no {LABELS}\): run 'npsnn data fetch"):
        load("mnist", small.folder)


# Published figures: MNIST 0.1307 and 0.3081 on a scale of 0 to 1, Fashion-MNIST 72.940 and 90.021 on 0 to 255.
@pytest.mark.parametrize(
    ("name", "mean", "spread", "first"),
    [
        ("mnist", 0.1307 * 255, 0.3081 * 255, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        ("fashion-mnist", 72.940, 90.021, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
    ],
    ids=["mnist", "fashion-mnist"],
)
def test_the_real_sets(real_data, name, mean, spread, first):
    data = load(name, real_data)
    assert (len(data.train), len(data.test), data.image_shape) == (60_000, 10_000, (1, 28, 28))
    assert data.digests == dict(idx.SETS[name].digests)
    assert abs(data.train.images.mean() - mean) < 0.02 and abs(data.train.images.std() - spread) < 0.02
    assert data.train.labels[:10].tolist() == first
    assert np.unique(data.test.labels).tolist() == list(range(10))


@pytest.mark.parametrize("name", ["train-images.idx3-ubyte", "train-images.idx3-ubyte.gz", "train-images-idx3-ubyte"])
def test_files_under_their_other_customary_names(small, name):
    path = small.raw / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.unlink()
    (small.raw / name).write_bytes(content if name.endswith(".gz") else gzip.decompress(content))
    assert data.status("mnist", small.folder) == "present"
    assert data.load("mnist", small.folder).digests == small.digests
    data.fetch("mnist", small.folder)
    assert not path.exists()


def peak(call):
    """The most memory that Python holds at a time, in MB, until the ValueError that `call` ends with."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call()
        return tracemalloc.get_traced_memory()[1] / 1e6, str(caught.value)
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_small_file_that_unpacks_to_much(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    zeros = zlib.compressobj(9, wbits=31)
    path.write_bytes(b"".join(zeros.compress(bytes(1 << 20)) for _ in range(100)) + zeros.flush())
    memory, said = peak(lambda: idx.read_idx(path))
    assert memory < 200 and said.startswith(f"{path} must hold at most 67,108,864 bytes")


def test_a_large_file_of_no_content(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    memory, said = peak(lambda: idx.read_idx(path))
    assert memory < 1 and said.startswith(f"{path} must have at most 67,108,864 bytes, got 5,368,709,120")


def test_sizes_beyond_any_array_are_told_with_the_files_name():
    with pytest.raises(ValueError, match=r"^huge: array is too big"):
        parse_idx(b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8, "huge")
