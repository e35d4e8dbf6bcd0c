"""The files of CIFAR-10 as records: a label and an image each, from the binary or the Python version."""

from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.data.unpickle import as_uint8, loads

CLASSES = 10
SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 1 + PIXELS  # the label, then the red, the green and the blue plane, row by row

Records = npt.NDArray[np.uint8]


def parse_records(content: bytes, name: str, count: int) -> Records:
    """The records (count, 3073) of a file of the binary version.

    content: of the file.
    name: of the file, for messages.
    count: the number of images that the file must hold.
    Raises ValueError, naming the file, where it has another length or a label beyond 9.
    """
    if len(content) != count * RECORD:
        wanted = f"{count * RECORD} bytes, {count} records of {RECORD}"
        raise ValueError(f"{name} must have {wanted}, got {len(content)}")
    records = np.frombuffer(content, np.uint8).reshape(count, RECORD)
    if records[:, 0].max() >= CLASSES:
        raise ValueError(f"{name} must hold labels 0 to {CLASSES - 1}, got {records[:, 0].max()}")
    return records


def parse_pickle(content: bytes, name: str, count: int) -> Records:
    """The records (count, 3073) of a file of the Python version, a pickled dictionary with `data` and `labels`.

    Nothing in the pickle is run.

    content: of the file.
    name: of the file, for messages.
    count: the number of images that the file must hold.
    Raises ValueError, naming the file and what was refused, for anything else.
    """
    batch = loads(content, name)
    if type(batch) is not dict:
        raise ValueError(f"{name} must hold a dictionary, got {type(batch).__name__}")
    # Python 2 wrote bytes for keys, Python 3 writes text.
    named: dict[Any, Any] = {key.decode("latin-1") if isinstance(key, bytes) else key: batch[key] for key in batch}
    pixels, labels = as_uint8(named.get("data"), (count, PIXELS)), named.get("labels")
    if pixels is None:
        raise ValueError(f"{name} must hold data, a row-major uint8 array of shape ({count}, {PIXELS}): it has no such")
    if type(labels) is not list or len(labels) != count:
        got = f"{len(labels)} of them" if type(labels) is list else type(labels).__name__
        raise ValueError(f"{name} must hold labels, a list of {count} numbers, got {got}")
    for label in labels:
        if type(label) is not int or not 0 <= label < CLASSES:
            got = str(label) if type(label) is int else type(label).__name__
            raise ValueError(f"{name} must hold labels 0 to {CLASSES - 1}, got {got}")
    return np.column_stack([np.array(labels, np.uint8), pixels])
