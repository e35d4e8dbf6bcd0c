"""Arrays of users in the form that the engine computes with: images and labels are converted once, here."""

from typing import Any

import numpy as np
import numpy.typing as npt

ROUNDING = 1e-6
"""Pixels outside [0, 1] by no more than this are rounding, and clipped."""


def as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """A plain array of `values`; ValueError for lists of unequal length and for masked entries."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{what} must be plain numbers, got masked ones; take filled()")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} must form an array, got {type(values).__name__}: {error}") from error


def as_float(images: npt.NDArray[np.uint8], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """The pixels as floats in [0, 1]: value / 255, so that 255 becomes exactly 1.

    images: uint8 (N, C, H, W), or any other shape; the result has the same shape.
    dtype: of the result.
    Raises ValueError for pixels that are not uint8, or a dtype that is no floating type.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {images.dtype}")
    if not np.issubdtype(np.dtype(dtype), np.floating):
        raise ValueError(f"dtype must be a floating type, got {np.dtype(dtype)}")
    scaled: npt.NDArray[Any] = images.astype(dtype)
    scaled /= 255
    return scaled


def as_images(x: Any, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """The images as floats in [0, 1]: contiguous (N, C, H, W), float64 if they are doubles or longer, else float32.

    x: an array or nested lists; floats of any size, byte order and memory layout, or 8-bit, which are divided by 255.
        Pixels outside [0, 1] by no more than 1e-6 are clipped.
    shape: (C, H, W) of an image, where it is known.
    Raises ValueError for another shape, a NaN, an infinity or a pixel farther outside, TypeError for another dtype.
    """
    x = as_array(x, "images")
    if x.ndim != 4 or (shape is not None and x.shape[1:] != shape):
        expected = "C, H, W" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"images must have the shape (N, {expected}), got {x.shape}")
    if x.dtype == np.uint8:
        return as_float(np.ascontiguousarray(x))
    if x.dtype.kind != "f":
        hint = "; divide 8-bit values by 255" if x.dtype.kind in "iu" else ""
        raise TypeError(f"images must be floats in [0, 1] or uint8, got {x.dtype}{hint}")
    with np.errstate(over="ignore"):  # what is beyond the range of a double is refused as infinite
        floats = np.ascontiguousarray(x, np.float32 if x.dtype.itemsize <= 4 else np.float64)
    if not floats.size:
        return floats
    least, most = floats.min(), floats.max()
    if np.isnan(least):
        raise ValueError("images must be finite and in [0, 1], got a NaN")
    if not (float(least) >= -ROUNDING and float(most) <= 1 + ROUNDING):
        raise ValueError(f"images must be finite and in [0, 1], got values from {least!s} to {most!s}")
    return floats if least >= 0 and most <= 1 else floats.clip(0, 1)


def as_labels(labels: Any, examples: int, classes: int | None = None) -> npt.NDArray[np.int64]:
    """The labels as int64 (N,).

    labels: integers of any dtype, as an array or a list.
    examples: N, the number of images.
    classes: labels must be below it; None where it is not known.
    Raises ValueError for anything else; bools, floats and one-hot vectors are no labels.
    """
    labels = as_array(labels, "labels")
    if labels.shape != (examples,) or (labels.size and labels.dtype.kind not in "iu"):
        hint = ""
        if labels.ndim == 2 and len(labels) == examples and labels.shape[1] == 1:
            hint = "; flatten them by ravel()"
        elif labels.ndim == 2 and len(labels) == examples:
            hint = "; of one-hot vectors take argmax(axis=1)"
        elif labels.shape == (examples,) and labels.dtype.kind == "f":
            hint = "; convert them by astype(int)"
        raise ValueError(f"labels must be {examples} integers, got {labels.dtype} of the shape {labels.shape}{hint}")
    if labels.size and not (labels.min() >= 0 and (classes is None or labels.max() < classes)):
        known = "at least 0" if classes is None else f"in 0 ... {classes - 1}"
        raise ValueError(f"labels must be {known}, got {labels.min()} to {labels.max()}")
    whole: npt.NDArray[np.int64] = labels.astype(np.int64, copy=False)
    return whole
