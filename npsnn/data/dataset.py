"""A data set: images and labels of a training and a test split, and the digests of what was read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.inputs import as_array, as_labels
from npsnn.validate import check_count

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of the array that cannot be written to; the caller's own array keeps its flags."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images with their labels, as read-only arrays that threads can share.

    images: uint8 (N, C, H, W).
    labels: (N,) integers, which become int64.
    Raises ValueError for another type or shape.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        images = as_array(self.images, "images")
        if images.dtype != np.uint8 or images.ndim != 4:
            hint = "; from floats in [0, 1] take (255 * images).round().astype(np.uint8)" * (images.dtype.kind == "f")
            raise ValueError(f"images must be uint8 (N, C, H, W), got {images.dtype} {images.shape}{hint}")
        labels = as_labels(self.labels, len(images))
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "labels", _read_only(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Split of {len(self)} images, {'x'.join(map(str, self.images.shape[1:]))}>"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named data set with labels 0 .. classes - 1.

    name: as `npsnn train --dataset` takes it, or any name for arrays of one's own.
    train: the images to learn from.
    test: the images to measure on.
    classes: the number of classes, >= 2.
    digests: SHA-256 (hex) of the uncompressed content of every file read, or of the arrays that were drawn here.
    class_names: the names of the classes in the order of their labels; none where they are not known.
    division: the rule by which npsnn divided the images in two, "" where they came divided.
    Raises ValueError where a label is out of range or the two splits differ in image shape.
    """

    name: str
    train: Split
    test: Split
    classes: int
    digests: dict[str, str]
    class_names: tuple[str, ...] = ()
    division: str = ""

    def __post_init__(self) -> None:
        check_count("classes", self.classes, 2)
        for what, split in (("train", self.train), ("test", self.test)):
            if not isinstance(split, Split):
                raise TypeError(f"{what} must be a Split, got {split!r}")
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            shapes = f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}"
            raise ValueError(f"train and test images must have one shape, got {shapes}")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"class_names must be {self.classes}, got {len(self.class_names)}")
        for split in (self.train, self.test):
            if len(split) and (split.labels.min() < 0 or split.labels.max() >= self.classes):
                span = f"{split.labels.min()} to {split.labels.max()}"
                raise ValueError(f"labels must lie in 0 to {self.classes - 1}, got {span}")

    def __repr__(self) -> str:
        shape, classes = "x".join(map(str, self.image_shape)), f"{self.classes} classes"
        return f"<Dataset {self.name}, {classes}, {shape} images, {len(self.train)} train, {len(self.test)} test>"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.train.images.shape
        return c, h, w
