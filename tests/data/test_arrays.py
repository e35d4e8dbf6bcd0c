"""Arrays of a user's own: what is taken, and the one line that every wrong one gets."""

from typing import Any

import numpy as np
import pytest
from own_data import four

from npsnn import data
from npsnn.data.arrays import NAMES, SPELLINGS

RNG = np.random.default_rng(0)
IMAGES, LABELS = four()["train_images"], four()["train_labels"]


def test_sound_arrays_are_taken_as_they_are() -> None:
    arrays = four()
    made = data.from_arrays("mine", arrays, {"a": "0"})
    assert (made.classes, made.image_shape, made.digests, made.division) == (3, (3, 9, 8), {"a": "0"}, "")
    for part, split in (("train", made.train), ("test", made.test)):
        np.testing.assert_array_equal(split.images, arrays[f"{part}_images"])
        np.testing.assert_array_equal(split.labels, arrays[f"{part}_labels"])
    assert repr(made) == "<Dataset mine, 3 classes, 3x9x8 images, 6 train, 6 test>"


@pytest.mark.parametrize("names", SPELLINGS)
def test_the_spellings_of_files(names: tuple[str, ...]) -> None:
    arrays = four(test_labels=LABELS)
    spelt = {wanted.upper(): arrays[usual] for usual, wanted in zip(NAMES, names, strict=True)}
    made = data.from_arrays("mine", spelt | {"val_images": None})
    np.testing.assert_array_equal(made.train.images, arrays["train_images"])
    np.testing.assert_array_equal(made.test.labels, LABELS)


def test_channels_may_stand_last_or_be_left_out() -> None:
    arrays = four()
    first = data.from_arrays("mine", arrays).train.images
    images = {name: arrays[name].transpose(0, 2, 3, 1) for name in NAMES[::2]}
    np.testing.assert_array_equal(data.from_arrays("mine", arrays | images).train.images, first)
    grey = {name: arrays[name][:, 0] for name in NAMES[::2]}
    np.testing.assert_array_equal(data.from_arrays("mine", arrays | grey).train.images, first[:, :1])
    tiny = {name: arrays[name][:, :, :2, :2] for name in NAMES[::2]}  # three channels of 2 x 2, not two of 3 x 2
    assert data.from_arrays("mine", arrays | tiny).image_shape == (3, 2, 2)


def test_floats_of_8_bit_images_come_back_as_these() -> None:
    arrays = four()
    for dtype in (np.float32, np.float64):
        floats = {name: arrays[name].astype(dtype) / 255 for name in NAMES[::2]}
        made = data.from_arrays("mine", arrays | floats)
        np.testing.assert_array_equal(made.train.images, arrays["train_images"])
    columns = {name: arrays[name][:, None].astype(np.int32) for name in NAMES[1::2]}
    np.testing.assert_array_equal(data.from_arrays("mine", arrays | columns).train.labels, LABELS)


def test_what_is_taken_with_a_word_of_warning() -> None:
    floats = RNG.random((6, 3, 9, 8))
    with pytest.warns(UserWarning, match="test_images of mine are rounded to 256 levels, .* by up to 0.002"):
        data.from_arrays("mine", four(test_images=floats))
    with pytest.warns(UserWarning, match="test_images of mine have no pixel above 1 of 255"):
        data.from_arrays("mine", four(test_images=np.ones((6, 3, 9, 8), np.uint8)))
    with pytest.warns(UserWarning, match="train_images of mine have no pixel above 1 of 255: nearly black"):
        data.from_arrays("mine", four(train_images=(IMAGES > 99) / 255))
    with pytest.warns(UserWarning, match="2 of the 6 test images of mine are training images, too"):
        data.from_arrays("mine", four(test_images=np.concatenate([IMAGES[4:], four()["test_images"][2:]])))
    with pytest.warns(UserWarning, match="train images of mine are sorted by class"):
        images = np.concatenate([four()["train_images"]] * 5)
        data.from_arrays("mine", four(train_images=images, train_labels=np.arange(30) // 10))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"train_images": IMAGES[:0]}, "train_images of mine must hold an image, got the shape (0, 3, 9, 8)"),
    "two axes": ({"train_images": IMAGES[:, 0, 0]}, "must have the shape (N, H, W) or (N, C, H, W), got (6, 8)"),
    "no channels": ({"train_images": np.full((6, 9, 9, 9), 5, np.uint8)}, "with fewer channels C than rows"),
    "integers": ({"train_images": IMAGES.astype(int)}, "got int64; take images.astype(np.uint8)"),
    "integers beyond a byte": ({"train_images": IMAGES.astype(int) * 99}, "got int64 from 198 to 25245; divide by"),
    "a name in two cases": ({"Train_Images": IMAGES}, "holds both train_images and Train_Images: rename one of them"),
    "truth": ({"train_images": IMAGES > 100}, "got bool; take 255 * images.astype(np.uint8)"),
    "text": ({"train_images": IMAGES.astype(str)}, "must be uint8 or floats in [0, 1], got <U3"),
    "to 255": ({"train_images": IMAGES.astype(float)}, "; divide by 255"),
    "from -1": ({"train_images": IMAGES / 127.5 - 1}, "; take (images + 1) / 2"),
    "normalised": ({"train_images": (IMAGES - 128.0) / 40}, "; undo the normalisation, as images * std + mean"),
    "a NaN": ({"train_images": np.where(IMAGES > 99, np.nan, 0.5)}, "floats in [0, 1], got a NaN"),
    "an infinity": ({"train_images": np.where(IMAGES > 99, np.inf, 0.5)}, "got floats from 0.5 to inf"),
    "other sizes": ({"test_images": IMAGES[:, :, 1:]}, "images of one shape, got (3, 9, 8) and (3, 8, 8)"),
    "too few labels": ({"train_labels": LABELS[1:]}, "train_labels of mine must be 6 integers, one an image"),
    "floats": ({"test_labels": LABELS / 1.0}, "test_labels of mine must be 6 integers, one an image, got float64"),
    "one-hot": ({"train_labels": np.eye(3, dtype=int)[LABELS]}, "; of one-hot vectors take argmax(axis=1)"),
    "negative": ({"train_labels": LABELS - 1}, "train_labels of mine must be integers from 0 on, got -1 to 1"),
    "one class": ({"train_labels": LABELS * 0}, "two classes or more, got training images of class 0 alone"),
    "from one": (
        {"train_labels": LABELS + 1, "test_labels": LABELS + 1},
        "must have the labels 0 to 2, got 3 labels from 1 to 3, without 0; subtract 1 from all labels",
    ),
    "a gap": ({"train_labels": LABELS * 2, "test_labels": LABELS * 2}, "0 to 2, got 3 labels from 0 to 4, without 1"),
    "untrained": ({"test_labels": LABELS + 1}, "mine has test images of class 3, but no training image of it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_array_is_one_line(name: str) -> None:
    others, said = WRONG[name]
    with pytest.raises(ValueError) as caught:
        data.from_arrays("mine", four(**others))
    assert said in str(caught.value) and "mine" in str(caught.value) and "\n" not in str(caught.value)


def test_an_array_that_is_missing_is_named() -> None:
    arrays = four()
    del arrays["test_images"]
    with pytest.raises(ValueError) as caught:
        data.from_arrays("mine", arrays)
    assert str(caught.value) == (
        f"mine lacks test_images: it must hold {', '.join(NAMES)}, it holds train_images, train_labels, test_labels"
    )
