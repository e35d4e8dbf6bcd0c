import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn.data import AUGMENTATIONS, augment
from npsnn.streams import Stream
from npsnn.workers.base import micro_batches
from npsnn.workers.threads import Threads

STREAM = Stream(4).at("augment", 1)


def pictures(n, c=3, h=32, w=32):
    """Random images without a black pixel, so that the frame can be told from the picture."""
    return np.random.default_rng(n).integers(1, 256, (n, c, h, w), np.uint8)


def framed_crop(image, top, left, mirrored):
    """One image (C, H, W) by plain loops: pixel (i, j) is that of the framed picture at (top + i, left + j)."""
    h, w = image.shape[1:]
    out = np.zeros_like(image)
    for i in range(h):
        for j in range(w):
            y, x = top + i - 4, left + (w - 1 - j if mirrored else j) - 4
            if 0 <= y < h and 0 <= x < w:
                out[:, i, j] = image[:, y, x]
    return out


def places(image):
    """All 162 ways to change an image, by what they make of it."""
    ways = ((top, left, m) for top in range(9) for left in range(9) for m in (False, True))
    return {framed_crop(image, *way).tobytes(): way for way in ways}


@given(c=st.integers(1, 3), h=st.integers(1, 12), w=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_result_is_a_framed_crop(c, h, w, seed):
    images = pictures(3, c, h, w)
    changed = augment(images, Stream(seed))
    assert changed.shape == images.shape and changed.dtype == np.uint8
    for image, result in zip(images, changed, strict=True):
        assert result.tobytes() in places(image)


def test_all_places_are_equally_likely():
    image = pictures(1, 1, 9, 9)[0]
    known = places(image)
    n = 162 * 60
    changed = augment(np.broadcast_to(image, (n, *image.shape)), STREAM)
    ways = [known[result.tobytes()] for result in changed]
    counts = np.unique(ways, axis=0, return_counts=True)[1]
    # The sum of squares follows a chi-squared distribution with 161 degrees: 161 + 5 standard deviations of 17.9.
    assert len(counts) == 162 and np.sum((counts - 60) ** 2 / 60) < 161 + 5 * np.sqrt(2 * 161)


def test_draws_are_those_of_the_stream_in_one_order():
    images = pictures(5)
    u = STREAM.uniform(np.empty((3, 5)))
    for n, result in enumerate(augment(images, STREAM)):
        expected = framed_crop(images[n], int(9 * u[0, n]), int(9 * u[1, n]), u[2, n] < 0.5)
        np.testing.assert_array_equal(result, expected)


@given(size=st.integers(1, 40), threads=st.integers(1, 3))
def test_batches_and_threads_have_no_effect(size, threads):
    images = pictures(30, 1, 8, 8)
    whole = augment(images, STREAM)
    batches, parts = micro_batches(30, size), []

    def one(i):
        return augment(images[batches[i]], STREAM.from_sample(batches[i].start))

    with Threads(threads) as workers:
        workers.reduce(one, lambda i: (i,), len(batches), parts.append)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_images_epochs_and_seeds_differ_and_calls_do_not():
    images = np.broadcast_to(pictures(1), (20, 3, 32, 32))
    first = augment(images, STREAM)
    np.testing.assert_array_equal(augment(images, STREAM), first)
    assert len(np.unique(first.reshape(20, -1), axis=0)) > 10
    for other in (Stream(4).at("augment", 2), Stream(5).at("augment", 1)):
        assert np.mean([np.array_equal(a, b) for a, b in zip(augment(images, other), first, strict=True)]) < 0.3


def test_the_argument_is_not_written_to():
    images = pictures(4)
    images.flags.writeable = False
    before = images.copy()
    changed = augment(images, STREAM)
    assert changed.flags.writeable and not np.shares_memory(changed, images)
    np.testing.assert_array_equal(images, before)


def test_no_images():
    assert augment(np.zeros((0, 3, 32, 32), np.uint8), STREAM).shape == (0, 3, 32, 32)


def test_the_ways_by_name():
    images = pictures(3)
    assert list(AUGMENTATIONS) == ["none", "crop-flip"]
    np.testing.assert_array_equal(AUGMENTATIONS["none"](images, STREAM), images)
    np.testing.assert_array_equal(AUGMENTATIONS["crop-flip"](images, STREAM), augment(images, STREAM))


@pytest.mark.parametrize("change", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_other_types_and_shapes(change):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, C, H, W\), got float64 \(2, 3, 4, 4\)"):
        change(np.zeros((2, 3, 4, 4)), STREAM)
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, C, H, W\), got uint8 \(3, 4, 4\)"):
        change(np.zeros((3, 4, 4), np.uint8), STREAM)
    with pytest.raises(TypeError, match="images must be a NumPy array, got list"):
        change([[1]], STREAM)
