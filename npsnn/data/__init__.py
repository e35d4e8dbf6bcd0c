"""The data sets by name: `digits` is drawn here, `mnist` and `fashion-mnist` are read from files a user fetches."""

from pathlib import Path

from npsnn.data import digits, idx
from npsnn.data.dataset import Dataset, Split, as_float
from npsnn.data.download import Progress
from npsnn.data.files import data_folder

__all__ = [
    "NAMES",
    "Dataset",
    "Progress",
    "Split",
    "as_float",
    "data_folder",
    "describe",
    "fetch",
    "load",
    "status",
    "verify",
]

NAMES = ("digits", "mnist", "fashion-mnist")

DESCRIPTIONS = {
    "digits": "28x28 grey digits drawn by npsnn itself, 12000 train and 2000 test, 10 classes",
    "mnist": "28x28 grey handwritten digits, 60000 train and 10000 test, 10 classes",
    "fashion-mnist": "28x28 grey pictures of clothing, 60000 train and 10000 test, 10 classes",
}


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"data set must be one of {', '.join(NAMES)}, got {name!r}")
    return name


def load(name: str, data_dir: Path | str | None = None) -> Dataset:
    """The data set, every file verified; nothing is ever downloaded. `data_dir` as in `data_folder`.

    Raises ValueError for an unknown name or a wrong file, FileNotFoundError, saying what to do, for a missing one.
    """
    folder = data_folder(data_dir)
    return digits.load(folder) if _known(name) == "digits" else idx.load(idx.SETS[name], folder)


def fetch(name: str, data_dir: Path | str | None = None, progress: Progress | None = None) -> Path:
    """Download what is missing or wrong (or draw the digits) and give the folder the set's files are in.

    progress: called for each file with the bytes so far and the bytes in all, or None where that is unknown.
    Raises OSError where the network or the disk fails, ValueError for an unknown name or a wrong content.
    """
    folder = data_folder(data_dir)
    if _known(name) == "digits":
        digits.load(folder)
        if not (folder / "digits").is_dir():
            raise OSError(f"digits were drawn, but could not be stored in {folder}: they are drawn anew when needed")
        return folder / "digits"
    return idx.fetch(idx.SETS[name], folder, progress)


def verify(name: str, data_dir: Path | str | None = None) -> dict[str, str]:
    """SHA-256 (hex) of each file's uncompressed content, by plain file name, all as expected; raises as `load`."""
    return load(name, data_dir).digests


def status(name: str, data_dir: Path | str | None = None) -> str:
    """One of "built in", "present", "incomplete" and "missing"; looks at file names only. ValueError as `load`."""
    if _known(name) == "digits":
        return "built in"
    spec = idx.SETS[name]
    found = len(idx.find(spec, data_folder(data_dir)))
    return {0: "missing", len(spec.digests): "present"}.get(found, "incomplete")


def describe(name: str) -> str:
    """One line on what the set holds; ValueError for an unknown name."""
    return DESCRIPTIONS[_known(name)]
