import numpy as np
import pytest

from npsnn.data import Dataset, Split, as_float


def split(n=4, shape=(1, 3, 2)):
    return Split(np.zeros((n, *shape), np.uint8), np.arange(n, dtype=np.int64))


def test_length_and_shape():
    data = Dataset("x", split(5), split(3), 5, {})
    assert (len(data.train), len(data.test), data.image_shape) == (5, 3, (1, 3, 2))


def test_arrays_are_read_only_views_of_the_callers():
    images, labels = np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int64)
    made = Split(images, labels)
    for array in (made.images, made.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    images[0] = 7  # the caller's own array stays writable
    assert made.images[0, 0, 0, 0] == 7


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], np.arange(4, dtype=np.uint8), np.arange(4, dtype=">i2")])
def test_labels_are_integers_of_any_kind(labels):
    made = Split(np.zeros((4, 1, 3, 2), np.uint8), labels)
    assert made.labels.dtype == np.int64 and made.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 3, 3)), np.zeros(2, np.int64), r"images must be uint8 \(N, C, H, W\), got float64"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64), r"images must be uint8 .* got uint8 \(2, 3, 3\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2), r"labels must be 2 integers, got float64 .*astype\(int\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.eye(2), r"labels must be 2 integers, .*take argmax\(axis=1\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(3, np.int64), r"labels must be 2 integers, .* shape \(3,\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.array([0, -1]), "labels must be at least 0, got -1 to 0"),
        (None, None, r"images must be uint8 \(N, C, H, W\), got object"),
    ],
)
def test_split_refuses_other_types_and_shapes(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_dataset_refuses_labels_out_of_range_and_mixed_shapes():
    with pytest.raises(ValueError, match="labels must lie in 0 to 2, got 0 to 3"):
        Dataset("x", split(3), split(4), 3, {})
    with pytest.raises(ValueError, match=r"classes must be a whole number >= 2, got 3\.0"):
        Dataset("x", split(3), split(3), 3.0, {})
    with pytest.raises(TypeError, match="test must be a Split, got None"):
        Dataset("x", split(3), None, 3, {})
    with pytest.raises(ValueError, match="one shape"):
        Dataset("x", split(2), split(2, (3, 3, 2)), 3, {})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_as_float_spans_zero_to_one_exactly(dtype):
    values = as_float(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), dtype)
    assert values.dtype == dtype and values.shape == (1, 1, 16, 16)
    assert values.min() == 0 and values.max() == 1
    np.testing.assert_allclose(values.ravel(), np.arange(256) / 255, rtol=2 * np.finfo(dtype).eps)


def test_as_float_is_float32_by_default_and_refuses_other_input():
    assert as_float(np.zeros((1, 1, 2, 2), np.uint8)).dtype == np.float32
    with pytest.raises(ValueError, match="images must be uint8, got float64"):
        as_float(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match="dtype must be a floating type, got int32"):
        as_float(np.zeros((1, 1, 2, 2), np.uint8), np.int32)
