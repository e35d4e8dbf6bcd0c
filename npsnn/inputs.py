"""Arrays of users in the form that the engine computes with: images and labels are converted once, here."""

from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.backend import Array, namespace, on_gpu, to_host

ROUNDING = 1e-6
"""Pixels outside [0, 1] by no more than this are rounding, and clipped."""


def is_on_gpu(values: Any) -> bool:
    """Whether the values are an array of a GPU."""
    try:
        return on_gpu(values)
    except TypeError:  # no array of a library that the engine computes with
        return False


def in_kind(answer: Array, asked: Array) -> Array:
    """The answer on the host where what was asked about is NumPy's, else where it is."""
    return to_host(answer) if isinstance(asked, np.ndarray) else answer


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


def as_images(x: Any, shape: tuple[int, ...] | None = None) -> Array:
    """The images as floats in [0, 1]: contiguous (N, C, H, W), float64 if they are doubles or longer, else float32.

    x: an array or nested lists; floats of any size, byte order and memory layout, or 8-bit, which are divided by 255.
        Pixels outside [0, 1] by no more than 1e-6 are clipped.
    shape: (C, H, W) of an image, where it is known.
    Raises ValueError for another shape, a NaN, an infinity or a pixel farther outside, TypeError for another dtype. An
    array of a GPU stays there, and its values are not looked at, since the host would wait for them.
    """
    there = is_on_gpu(x)
    x = x if there else as_array(x, "images")
    if x.ndim != 4 or (shape is not None and x.shape[1:] != shape):
        expected = "C, H, W" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"images must have the shape (N, {expected}), got {x.shape}")
    if x.dtype == np.uint8:
        return as_float(namespace(x).ascontiguousarray(x))
    if x.dtype.kind != "f":
        hint = "; divide 8-bit values by 255" if x.dtype.kind in "iu" else ""
        raise TypeError(f"images must be floats in [0, 1] or uint8, got {x.dtype}{hint}")
    dtype = np.float32 if x.dtype.itemsize <= 4 else np.float64
    if there:
        return x.astype(dtype, copy=False)
    with np.errstate(over="ignore"):  # what is beyond the range of a double is refused as infinite
        floats = np.ascontiguousarray(x, dtype)
    if not floats.size:
        return floats
    least, most = floats.min(), floats.max()
    if np.isnan(least):
        raise ValueError("images must be finite and in [0, 1], got a NaN")
    if not (float(least) >= -ROUNDING and float(most) <= 1 + ROUNDING):
        raise ValueError(f"images must be finite and in [0, 1], got values from {least!s} to {most!s}")
    return floats if least >= 0 and most <= 1 else floats.clip(0, 1)


def as_labels(labels: Any, examples: int, classes: int | None = None) -> Array:
    """The labels as int64 (N,).

    labels: integers of any dtype, as an array or a list.
    examples: N, the number of images.
    classes: labels must be below it; None where it is not known.
    Raises ValueError for anything else; bools, floats and one-hot vectors are no labels. An array of a GPU stays there,
    and its values are not looked at.
    """
    there = is_on_gpu(labels)
    labels = labels if there else as_array(labels, "labels")
    if labels.shape != (examples,) or (labels.size and labels.dtype.kind not in "iu"):
        hint = ""
        if labels.ndim == 2 and len(labels) == examples and labels.shape[1] == 1:
            hint = "; flatten them by ravel()"
        elif labels.ndim == 2 and len(labels) == examples:
            hint = "; of one-hot vectors take argmax(axis=1)"
        elif labels.shape == (examples,) and labels.dtype.kind == "f":
            hint = "; convert them by astype(int)"
        raise ValueError(f"labels must be {examples} integers, got {labels.dtype} of the shape {labels.shape}{hint}")
    if labels.size and not there and not (labels.min() >= 0 and (classes is None or labels.max() < classes)):
        known = "at least 0" if classes is None else f"in 0 ... {classes - 1}"
        raise ValueError(f"labels must be {known}, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64, copy=False)
