"""What a data set is: images and labels of a train and a test split, and the digests of what was read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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

    images: uint8 (N, C, H, W); labels: int64 (N,), >= 0.
    Raises ValueError for another type or shape.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {images.dtype} {images.shape}")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "labels", _read_only(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Split of {len(self)} images, {'x'.join(map(str, self.images.shape[1:]))}>"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set with labels 0 .. classes - 1.

    digests: SHA-256 (hex) of the uncompressed content of every file read, or of the arrays that were drawn here.
    Raises ValueError where a label is out of range or the two splits differ in image shape.
    """

    name: str
    train: Split
    test: Split
    classes: int
    digests: dict[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            shapes = f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}"
            raise ValueError(f"train and test images must have one shape, got {shapes}")
        for split in (self.train, self.test):
            if len(split) and (split.labels.min() < 0 or split.labels.max() >= self.classes):
                span = f"{split.labels.min()} to {split.labels.max()}"
                raise ValueError(f"labels must lie in 0 to {self.classes - 1}, got {span}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.train.images.shape
        return c, h, w


def as_float(images: Images, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """The pixels as floats in [0, 1]: value / 255, so that 255 becomes exactly 1.

    images: uint8 (N, C, H, W), or any other shape; the result has the same shape.
    Raises ValueError for pixels that are not uint8, or a dtype that is no floating type.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {images.dtype}")
    if not np.issubdtype(np.dtype(dtype), np.floating):
        raise ValueError(f"dtype must be a floating type, got {np.dtype(dtype)}")
    scaled: npt.NDArray[Any] = images.astype(dtype)
    scaled /= 255
    return scaled
