"""Arrays in .npz files: equal contents give equal bytes."""

from typing import BinaryIO

import numpy as np


def write_npz(file: BinaryIO, **arrays: np.ndarray) -> None:
    """The arrays as an .npz file; an interrupt and a full disk stay what they are."""
    try:
        np.savez(file, allow_pickle=False, **arrays)
    except ValueError as error:
        # what zipfile says, in the place of the true error, where that came while it had a handle open
        if isinstance(error.__context__, KeyboardInterrupt | OSError | MemoryError):
            raise error.__context__ from None
        raise
