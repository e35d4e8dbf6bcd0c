"""Random changes of training images that keep their class: for a network to learn from, never to test it with."""

from collections.abc import Callable

import numpy as np

from npsnn.data.dataset import Images
from npsnn.foreign import asked_for
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.tables import Table

PAD = 4  # pixels, as is usual for CIFAR-10 since He et al., "Deep residual learning", 2016, Sec. 4.2

Augmentation = Callable[[Images, Stream], Images]


def _check(images: Images) -> None:
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images must be a NumPy array, got {type(images).__name__}")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 (N, C, H, W), got {images.dtype} {images.shape}")


AUGMENTATIONS: Table[Augmentation] = Table(
    "augmentation", "from npsnn.data.augment import augmentation", asked_for(__call__="images, stream")
)
"""The ways to augment by name: `@augmentation("name")` above a function (images, stream) -> images enters it."""
augmentation = AUGMENTATIONS.enter


@augmentation("none")
def unchanged(images: Images, stream: Stream) -> Images:
    """The images as they are: uint8 (N, C, H, W); TypeError or ValueError for anything else."""
    _check(images)
    return images


@augmentation("crop-flip")
def crop_flip(images: Images, stream: Randomness) -> Images:
    """Each image, framed by 4 black pixels, cropped to its size at a random place and mirrored with probability 1/2.

    The 9 x 9 places are equally likely. A2SNN does not say how it augments (Sec. 4.1); this is the usual way.

    images: uint8 (N, C, H, W); the result is a new array of the same shape.
    stream: image n is changed as sample `stream.first + n` says, so that the cut into batches has no effect on it.
    Raises TypeError or ValueError for images of another type or shape.
    """
    _check(images)
    stream = as_stream(stream)
    n, h, w = len(images), *images.shape[2:]
    draws = stream.uniform(np.empty((3, n)))
    top, left = (draws[:2] * (2 * PAD + 1)).astype(np.intp)
    framed = np.pad(images, ((0, 0), (0, 0), (PAD, PAD), (PAD, PAD)))
    # (N, C, 9, 9, H, W): all crops as views; the one taken of each image is copied
    crops = np.lib.stride_tricks.sliding_window_view(framed, (h, w), axis=(2, 3))[np.arange(n), :, top, left]
    mirrored = draws[2] < 0.5
    return np.where(mirrored[:, None, None, None], crops[..., ::-1], crops)


augment = crop_flip
