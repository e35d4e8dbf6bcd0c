"""Data sets of a user's own: a path of a file or folder, or a name that a loader was registered under."""

import os
from collections.abc import Callable, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

from npsnn.data import images
from npsnn.data.arrays import SPELLINGS, from_arrays
from npsnn.data.dataset import Dataset
from npsnn.files import reading
from npsnn.files.npz import read_npz
from npsnn.files.paths import user_path
from npsnn.foreign import BlamedOn, check_takes
from npsnn.tables import WORD

Loader = Callable[[Path], Any]
"""From the data folder to a `Dataset`, or to its four arrays by name."""
LOADERS: dict[str, Loader] = {}
"""What users registered, by name."""
SUFFIX = ".npz"
LIMIT = 1 << 33
"""The bytes that an .npz file, and the arrays in it, may have."""


def register(name: str, loader: Loader) -> None:
    """Give a data set of one's own a name, which `data.load`, `--dataset` and a run's commands then know.

    name: a word of letters, digits and hyphens; a name given before gets the new loader.
    loader: called with the data folder (a Path); returns a `Dataset`, or a mapping with the four arrays that an .npz
        file has.
    Raises ValueError for another name and for one of npsnn's own, TypeError for what cannot be called so.
    """
    from npsnn.data import NAMES

    if not isinstance(name, str) or not WORD.fullmatch(name):
        word = "a word of letters, digits and hyphens that begins with a letter"
        raise ValueError(f"the name of a data set must be {word}, got {name!r:.80}")
    if name in NAMES:
        raise ValueError(f"there is another data set {name}: rename yours")
    if not callable(loader):
        raise TypeError(f"loader must be a function of the data folder, got {loader!r:.80}")
    check_takes(loader, "folder", f"the loader of {name}")
    LOADERS[name] = loader


def registered(name: str, folder: Path) -> Dataset:
    """The data set of a user's loader; raises what the loader raises, and ValueError for arrays that are none."""
    with BlamedOn("data set", name, "arrays"):
        found = LOADERS[name](folder)
    if isinstance(found, Dataset):
        return Dataset(name, found.train, found.test, found.classes, found.digests, found.class_names, found.division)
    if not isinstance(found, Mapping):
        kinds = "a Dataset or a mapping of four arrays"
        raise TypeError(f"the loader of {name} must return {kinds}, got {type(found).__name__}")
    return from_arrays(name, found)


def is_path(name: str) -> bool:
    """Whether a name of a data set is a path: it has a separator, ends in .npz, begins with ~, or is there."""
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return (
        any(separator in name for separator in separators)
        or name.lower().endswith(SUFFIX)
        or name.startswith(("~", "."))
        or (bool(name) and "\0" not in name and os.path.lexists(name))
    )


def short(name: str) -> str:
    """A data set's name for folders and tables: of a path the last part, without .npz."""
    if not is_path(name):
        return name
    last = Path(name).name
    return last[: -len(SUFFIX)] if last.lower().endswith(SUFFIX) else last


def located(name: str, data_dir: Path | str | None) -> str:
    """The path of a run's data: in the data folder that is named, where it has a file of that name; else as recorded.

    name: of the set as a run records it; one that is no whole path stays as it is.
    """
    if data_dir is None or not Path(name).is_absolute():
        return name
    beside = user_path(data_dir) / Path(name).name
    return str(beside.absolute()) if beside.exists() else name


def load(name: str) -> Dataset:
    """The data set at a path: an .npz file or a folder of images. Its name is the whole path.

    Raises FileNotFoundError, saying what to do, where nothing is there; ValueError for what is no data set.
    """
    if "\0" in name:
        raise ValueError(f"the path of a data set must not hold a null character, got {name!r:.80}")
    path = user_path(name).absolute()
    if path.is_dir():
        return images.load(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no data set {path}: name an {SUFFIX} file or a folder of images; for a run whose data have "
            "moved, pass --data-dir with the folder that they are in"
        )
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{path} is no data set: it must be an {SUFFIX} file or a folder of images")
    return _npz(path)


def _npz(path: Path) -> Dataset:
    others: dict[str, Any] = {}

    def wanted(name: str) -> bool:
        others[name] = None
        return any(name.lower() in names for names in SPELLINGS)

    arrays = read_npz(path, "data set (an .npz file of arrays)", LIMIT, wanted, packed=True)
    with reading(path, LIMIT) as file:
        digest = file_digest(file, "sha256").hexdigest()
    return from_arrays(str(path), others | arrays, {path.name: digest})
