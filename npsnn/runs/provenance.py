"""Which data and which network a number is about, by digests of the arrays themselves, whatever files and users say."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.backend import to_host
from npsnn.data import Dataset, Split
from npsnn.layers.base import Params
from npsnn.layers.params import flatten

HEX = 64
"""The hexadecimal digits of a SHA-256."""
SHOWN = 12
"""The hexadecimal digits of a SHA-256 that a message shows."""


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) of named arrays: of each name, dtype, shape and content, in the order of the names."""
    found = sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def of_network(params: Params) -> str:
    """The digest of a network's parameters: the same in last.npz, in best.npz and in memory, on any device."""
    return digest({name: to_host(p) for name, p in flatten(params).items()})


@cache
def of_code() -> str:
    """The digest of the files of npsnn: another one may compute other numbers, whatever the version says."""
    found, folder = sha256(), Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        found.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return found.hexdigest()


def check_dataset(value: Any) -> None:
    """Raise TypeError for what is no data set, such as its name."""
    if not isinstance(value, Dataset):
        raise TypeError(f"dataset must be a Dataset, as data.load(NAME) gives, got {value!r:.80}")


def of_data(dataset: Dataset) -> dict[str, Any]:
    """The classes of a data set, and of each split the number, shape and digest of its images, and of its labels."""
    check_dataset(dataset)
    return {"classes": dataset.classes, "train": _of_split(dataset.train), "test": _of_split(dataset.test)}


def entries(dataset: Dataset) -> dict[str, Any]:
    """What config.json says of a data set beside its name."""
    return {
        "data": dataset.digests,
        **({"class_names": list(dataset.class_names)} if dataset.class_names else {}),
        **({"division": dataset.division} if dataset.division else {}),
        "arrays": of_data(dataset),
    }


def _of_split(split: Split) -> dict[str, Any]:
    return {
        "count": len(split),
        "shape": list(split.images.shape[1:]),
        "images": digest({"images": split.images}),
        "labels": digest({"labels": split.labels}),
    }


def difference(about: Mapping[str, Any], dataset: Dataset) -> str:
    """Name what tells `dataset` from the data of a run; empty where both are the same.

    about: the run's config.json. A run of a version without digests of the arrays has those of the files alone.
    """
    check_dataset(dataset)
    recorded = about.get("arrays")
    if recorded is None:
        return "" if about.get("data") == dataset.digests else "the digests of the files"
    was, now = _flat(recorded), _flat(of_data(dataset))
    if (names := about.get("class_names")) and dataset.class_names:
        was |= {f"name of class {label}": name for label, name in enumerate(names)}
        now |= {f"name of class {label}": name for label, name in enumerate(dataset.class_names)}
    odd = [name for name in now if was.get(name) != now[name]]
    # other labels or images follow from another number or shape of them
    odd = [name for name in odd if name.endswith(("classes", "count", "shape"))] or odd
    return ", ".join(f"{name} ({_short(was.get(name))} in the run, {_short(now[name])} here)" for name in odd)


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, dict):
        return {prefix: document}
    pairs = (_flat(value, f"{prefix} {name}".strip()).items() for name, value in document.items())
    return {name: value for items in pairs for name, value in items}


def _short(value: Any) -> str:
    return value[:SHOWN] if isinstance(value, str) and len(value) == HEX else str(value)
