"""The data sets by name: `digits` is drawn here, the others are read from files that a user fetches.

Data of a user's own have a path, an .npz file or a folder of images, or a name that `register` gives them.
"""

import importlib
import os
from pathlib import Path
from typing import Any

from npsnn.data import own
from npsnn.data.arrays import from_arrays
from npsnn.data.augment import AUGMENTATIONS, augment
from npsnn.data.dataset import Dataset, Split
from npsnn.data.folder import NoFolderError, Progress, data_folder
from npsnn.data.own import located, register, short
from npsnn.inputs import as_float
from npsnn.words import nearest

__all__ = [
    "AUGMENTATIONS",
    "NAMES",
    "Dataset",
    "Progress",
    "Split",
    "as_float",
    "augment",
    "caveat",
    "data_folder",
    "describe",
    "fetch",
    "from_arrays",
    "load",
    "located",
    "names",
    "register",
    "short",
    "status",
    "verify",
    "where",
]

READERS = {
    "digits": "digits",
    "mnist": "idx",
    "fashion-mnist": "idx",
    "cifar10": "cifar",
    "cifar10-unverified": "cifar",
    "svhn": "svhn",
    **dict.fromkeys(("kmnist", "emnist-letters", "emnist-balanced", "emnist-digits"), "idx"),
    **dict.fromkeys(("emnist-mnist", "emnist-bymerge", "emnist-byclass"), "idx"),
}
"""The module of each set, imported when the set is asked for: some of them import a web client."""

NAMES = tuple(READERS)
"""The sets that npsnn itself can read; `names` has those of users as well."""
UNVERIFIED = ("cifar10-unverified", *(name for name in NAMES if name.startswith(("kmnist", "emnist"))))
"""The sets of which nobody here knows the right content."""

DESCRIPTIONS = {
    "digits": "28x28 grey digits drawn by npsnn itself, 12000 train and 2000 test, 10 classes",
    "mnist": "28x28 grey handwritten digits, 60000 train and 10000 test, 10 classes",
    "fashion-mnist": "28x28 grey pictures of clothing, 60000 train and 10000 test, 10 classes",
    "cifar10": "32x32 colour photographs, 50000 train and 10000 test, 10 classes",
    "cifar10-unverified": "other files in the form of cifar10, such as a copy from JPEG; their content is not checked",
    "svhn": "32x32 colour house numbers, 73257 train and 26032 test, 10 classes of very different size",
    "kmnist": "28x28 grey cursive Japanese characters, 60000 train and 10000 test, 10 classes",
    "emnist-letters": "28x28 grey handwritten letters, 124800 train and 20800 test, 26 classes",
    "emnist-balanced": "28x28 grey handwritten letters and digits, 112800 train and 18800 test, 47 classes",
    "emnist-digits": "28x28 grey handwritten digits, 240000 train and 40000 test, 10 classes",
    "emnist-mnist": "28x28 grey handwritten digits, 60000 train and 10000 test, 10 classes",
    "emnist-bymerge": "28x28 grey handwritten letters and digits, 697932 train and 116323 test, 47 classes",
    "emnist-byclass": "28x28 grey handwritten letters and digits, 697932 train and 116323 test, 62 classes",
}

CAVEATS = {
    "cifar10-unverified": "only the sizes, the labels and the number of images of each class were checked: nothing "
    "says whether these are the official files of CIFAR-10",
    **dict.fromkeys(
        UNVERIFIED[1:], "only the sizes and the labels were checked: nothing says whether these are the official files"
    ),
}


def names() -> tuple[str, ...]:
    """The data sets by name: npsnn's own, and those that users have registered."""
    return (*NAMES, *own.LOADERS)


def _known(name: str) -> str:
    """The name of a data set that is no path; ValueError for an unknown one."""
    if name not in names():
        near = nearest(name, names())
        raise ValueError(f"data set must be one of {', '.join(names())}, or a path, got {name!r}{near}")
    return name


def _module(name: str) -> Any:
    """The module that draws or reads a set; ValueError for an unknown name."""
    return importlib.import_module(f"npsnn.data.{READERS[_known(name)]}")


def _reader(name: str) -> tuple[Any, Any]:
    """The module that reads a set from files, and what it is to know of the set."""
    module = _module(name)
    return module, module.SETS[name]


def _optional_folder(data_dir: Path | str | None) -> Path | None:
    """The data folder, or None where there can be none: the digits need no folder."""
    try:
        return data_folder(data_dir)
    except NoFolderError:
        return None


def where(data_dir: Path | str | None = None) -> str:
    """The data folder in words, or why there is none."""
    try:
        return str(data_folder(data_dir))
    except NoFolderError as error:
        return f"no folder: {error}"


def load(name: str | os.PathLike[str], data_dir: Path | str | None = None) -> Dataset:
    """The data set, every file of it verified; nothing is ever downloaded.

    Of the sets in `UNVERIFIED` the form of the files is checked, and not whether the files are the official ones. The
    name of a data set at a path is the whole path.

    name: one of `names`, or the path of an .npz file or of a folder of images.
    data_dir: as in `data_folder`.
    Raises ValueError for an unknown name or a wrong file, and FileNotFoundError, saying what to do, for a missing file.
    """
    dataset: Dataset
    name = os.fspath(name)
    if name not in names() and own.is_path(name):
        return own.load(name)
    if _known(name) in own.LOADERS:
        return own.registered(name, data_folder(data_dir))
    if name == "digits":
        dataset = _module(name).load(_optional_folder(data_dir))
    else:
        module, spec = _reader(name)
        dataset = module.load(spec, data_folder(data_dir))
    return dataset


def fetch(name: str, data_dir: Path | str | None = None, progress: Progress | None = None) -> Path:
    """Download the files that are missing or wrong, or draw the digits.

    Returns the folder that holds the set's files.

    name: one of `names`.
    data_dir: as in `data_folder`.
    progress: called for each file with the bytes so far and the bytes in all, or None where their number is unknown.
    Raises OSError where the network or the disk fails, ValueError for an unknown name, a wrong content or a set that
    npsnn does not fetch.
    """
    folder = data_folder(data_dir)
    if _known(name) in own.LOADERS:
        raise ValueError(f"{name} is a data set of your own: there is nothing to fetch")
    if name == "digits":
        digits = _module(name)
        digits.load(folder)
        kept: Path = digits.cache(folder)
        if not kept.is_file():
            raise OSError(f"digits were drawn, but could not be stored in {folder}: they are drawn anew when needed")
        return kept.parent
    module, spec = _reader(name)
    fetched: Path = module.fetch(spec, folder, progress)
    return fetched


def verify(name: str, data_dir: Path | str | None = None) -> dict[str, str]:
    """SHA-256 (hex) of each file's uncompressed content, by plain file name, all as expected.

    The digits are drawn afresh, and must be the same as those that are kept in the folder. Both versions of CIFAR-10
    have the digests of the binary version. Of a folder of images each part has one digest, of the names and contents of
    its files. `caveat` says what `verify` cannot know.

    name: as in `load`.
    data_dir: as in `data_folder`.
    Raises as `load`.
    """
    if name == "digits":
        drawn: Dataset = _module(name).verify(_optional_folder(data_dir))
        return drawn.digests
    return load(name, data_dir).digests


def caveat(name: str) -> str | None:
    """One line on what `load` and `verify` leave unchecked of the set, or None; ValueError for an unknown name."""
    return None if own.is_path(name) and name not in NAMES else CAVEATS.get(_known(name))


def status(name: str, data_dir: Path | str | None = None) -> str:
    """One of "built in", "yours", "present", "incomplete" and "missing", by the names of the files alone.

    name: one of `names`.
    data_dir: as in `data_folder`.
    Raises ValueError for an unknown name.
    """
    if _known(name) in own.LOADERS:
        return "yours"
    if name == "digits":
        return "built in"
    module, spec = _reader(name)
    folder = _optional_folder(data_dir)
    found: str = module.status(spec, folder) if folder else "missing"
    return found


def describe(name: str) -> str:
    """One line on what the set holds; ValueError for an unknown name."""
    return DESCRIPTIONS.get(_known(name), "a data set of your own, read by the loader that you registered")
