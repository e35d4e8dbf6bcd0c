"""Data sets from arrays of a user's own: every way in which they can be wrong has one line."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.data.dataset import Dataset, Images, Labels, Split
from npsnn.inputs import ROUNDING, as_array

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
"""The names of the four arrays."""
SPELLINGS = (NAMES, ("x_train", "y_train", "x_test", "y_test"), ("train_x", "train_y", "test_x", "test_y"))
"""The names that files have for them, in any case."""
LEVELS = 255
NOTABLE = 0.01 / LEVELS
"""How far a pixel moves when a float becomes one of 256 levels, from which a warning says so: rounding moves less."""


def from_arrays(
    name: str, arrays: Mapping[str, Any], digests: Mapping[str, str] | None = None, **about: Any
) -> Dataset:
    """The data set of four arrays, checked.

    name: of the set, for messages and records.
    arrays: train_images, train_labels, test_images and test_labels, also spelt x_train and so on. Images are
        (N, H, W), (N, C, H, W) or (N, H, W, C), of 8 bits or floats in [0, 1]; labels are (N,) or (N, 1) integers
        from 0 on, of which every one has a training image.
    digests: SHA-256 (hex) of the files that the arrays come from, by name.
    about: the fields class_names and division of a `Dataset`.
    Raises ValueError, naming the array, what was expected and what came. A warning says where floats between the 256
    levels of 8 bits are rounded, images are nearly black or sorted by class, and test images are training images.
    """
    found = _found(name, arrays)
    splits = {}
    for part in ("train", "test"):
        images = _as_bytes(found[f"{part}_images"], f"{part}_images of {name}")
        splits[part] = Split(images, _as_labels(found[f"{part}_labels"], len(images), f"{part}_labels of {name}"))
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = f"{train.images.shape[1:]} and {test.images.shape[1:]}"
        raise ValueError(f"train_images and test_images of {name} must be images of one shape, got {shapes}")
    classes = _classes(name, train.labels, test.labels)
    _warn_of_overlap(name, train.images, test.images)
    if odd := [part for part, split in splits.items() if _is_sorted(split.labels, classes)]:
        why = "a limit takes the first images, which are then of few classes; shuffle the images with their labels"
        warnings.warn(f"{' and '.join(odd)} images of {name} are sorted by class: {why}", stacklevel=2)
    return Dataset(name, train, test, classes, dict(digests or {}), **about)


def _found(name: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The four arrays by their usual names."""
    lower: dict[str, str] = {}
    for key in arrays:
        if (other := lower.setdefault(key.lower(), key)) != key:
            raise ValueError(f"{name} holds both {other} and {key}: rename one of them")
    nearest = max(SPELLINGS, key=lambda names: sum(wanted in lower for wanted in names))
    if missing := [wanted for wanted in nearest if wanted not in lower]:
        there = ", ".join(arrays) or "nothing"
        raise ValueError(f"{name} lacks {', '.join(missing)}: it must hold {', '.join(nearest)}, it holds {there:.200}")
    return {usual: arrays[lower[wanted]] for usual, wanted in zip(NAMES, nearest, strict=True)}


def _as_bytes(values: Any, what: str) -> Images:
    """The images as uint8 (N, C, H, W)."""
    images = as_array(values, what)
    if images.ndim not in (3, 4):
        raise ValueError(f"{what} must have the shape (N, H, W) or (N, C, H, W), got {images.shape}")
    if not images.size:
        raise ValueError(f"{what} must hold an image, got the shape {images.shape}")
    return _in_eight_bits(_channels_first(images, what), what)


def _channels_first(images: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    """The images as (N, C, H, W): channels are fewer than rows and columns."""
    if images.ndim == 3:
        return images[:, None]
    _, first, middle, last = images.shape
    if last < min(first, middle):
        return images.transpose(0, 3, 1, 2)
    if first < min(middle, last) or first in (1, 3):
        return images
    raise ValueError(
        f"{what} must have the shape (N, C, H, W) with fewer channels C than rows and columns, got {images.shape}"
    )


def _in_eight_bits(images: npt.NDArray[Any], what: str) -> Images:
    if images.dtype == np.uint8:
        _warn_of_black(images, what)
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise ValueError(f"{what} must be uint8 or floats in [0, 1], got {images.dtype}{_as_uint8(images)}")
    least, most = float(images.min()), float(images.max())
    if not (least >= -ROUNDING and most <= 1 + ROUNDING):
        raise ValueError(f"{what} must be uint8 or floats in [0, 1], {_outside(least, most)}")
    levels = np.rint(images.clip(0, 1) * LEVELS)
    if (moved := float(np.abs(levels - images * LEVELS).max()) / LEVELS) > max(NOTABLE, ROUNDING):
        warnings.warn(f"{what} are rounded to 256 levels, which moves pixels by up to {moved:.1g}", stacklevel=2)
    _warn_of_black(levels, what)
    return np.ascontiguousarray(levels.astype(np.uint8))


def _warn_of_black(levels: npt.NDArray[Any], what: str) -> None:
    if levels.max() <= 1:
        black = "nearly black; multiply by 255 if they were divided once too often"
        warnings.warn(f"{what} have no pixel above 1 of 255: {black}", stacklevel=3)


def _as_uint8(images: npt.NDArray[Any]) -> str:
    """What makes bytes of images of another type that is no float."""
    if images.dtype.kind == "b":
        return "; take 255 * images.astype(np.uint8)"
    if images.dtype.kind not in "iu":
        return ""
    least, most = images.min(), images.max()
    if least >= 0 and most <= LEVELS:
        return "; take images.astype(np.uint8)"
    return f" from {least} to {most}; divide by the value that is white, which makes floats in [0, 1]"


def _outside(least: float, most: float) -> str:
    """What came in the place of floats in [0, 1], and what mends it."""
    if np.isnan(least):
        return "got a NaN"
    hint = ""
    if least >= 0 and most <= LEVELS:
        hint = "; divide by 255"
    elif least >= -1 - ROUNDING and most <= 1 + ROUNDING:
        hint = "; take (images + 1) / 2"
    elif np.isfinite(least) and np.isfinite(most):
        hint = "; undo the normalisation, as images * std + mean"
    return f"got floats from {least:.4g} to {most:.4g}{hint}"


def _as_labels(values: Any, count: int, what: str) -> Labels:
    labels = as_array(values, what)
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        hint = "; of one-hot vectors take argmax(axis=1)" if labels.ndim == 2 and len(labels) == count else ""
        got = f"got {labels.dtype} of the shape {labels.shape}"
        raise ValueError(f"{what} must be {count} integers, one an image, {got}{hint}")
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{what} must be integers from 0 on, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


def _is_sorted(labels: Labels, classes: int) -> bool:
    """Whether all images of a class follow each other, and the classes have ten or more on average."""
    runs = np.count_nonzero(np.diff(labels)) + 1
    return len(labels) >= 10 * classes and 1 < runs == len(np.unique(labels))


def _warn_of_overlap(name: str, train: Images, test: Images) -> None:
    """Say how many test images a network has been trained on: accuracy on them says little."""
    seen = {hash(image.tobytes()) for image in train}
    if shared := sum(hash(image.tobytes()) in seen for image in test):
        those = f"{shared:,} of the {len(test):,} test images of {name} are training images, too"
        warnings.warn(f"{those}: what is measured on them says little about new images", stacklevel=3)


def _classes(name: str, train: Labels, test: Labels) -> int:
    """The number of classes, each of which must have a training image."""
    known = np.unique(train)
    if len(known) < 2:
        raise ValueError(f"{name} must have two classes or more, got training images of class {known[0]} alone")
    if (odd := np.setdiff1d(test, known)).size:
        raise ValueError(f"{name} has test images of class {odd[0]}, but no training image of it")
    if known[-1] != len(known) - 1:
        gap = np.setdiff1d(np.arange(len(known)), known)[0]
        hint = "; subtract 1 from all labels" if known[0] == 1 and known[-1] == len(known) else ""
        span = f"{len(known)} labels from {known[0]} to {known[-1]}, without {gap}"
        raise ValueError(f"{name} must have the labels 0 to {len(known) - 1}, got {span}{hint}")
    return len(known)
