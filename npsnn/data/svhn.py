"""SVHN, the house numbers of Street View: two MATLAB files in torchvision's layout.

Beware of accuracies on SVHN: its classes are not evenly spread, although A2SNN says so in Sec. 4.1 (audit A27). The
commonest class, 1, has 13 861 training images, three times the 4659 of the rarest, 9. Whoever always answers 1 is right
on 19.6 % of the test images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.data.dataset import Dataset, Images, Labels, Split
from npsnn.data.download import download
from npsnn.data.folder import Progress, not_there, state
from npsnn.files import check_digest, reading

SIDE = 32
CLASSES = 10
LIMIT = 1 << 28  # bytes of a file; the larger has 182 million
TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"


@dataclass(frozen=True)
class SvhnSet:
    """The two files of SVHN.

    name: of the set.
    url: the address in front of the file names.
    digests: SHA-256 of each file.
    """

    name: str
    url: str
    digests: Mapping[str, str]


SETS = {
    "svhn": SvhnSet(
        "svhn",
        "https://ufldl.stanford.edu/housenumbers/",
        {
            TRAIN: "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            TEST: "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
    )
}


def _variables(file: Any, name: str) -> Mapping[str, Any]:
    from scipy.io import loadmat  # here, since it takes longer to import than the other sets to be listed

    try:
        content: Mapping[str, Any] = loadmat(file, variable_names=["X", "y"])
    except Exception as error:  # a damaged file raises almost anything, of SciPy's and of others
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is no sound MATLAB file of version 5: {reason}") from None
    return content


def parse_mat(file: BufferedReader, name: str) -> tuple[Images, Labels]:
    """Images (N, 3, 32, 32) and labels (N,) of a MATLAB file, in which the label 0 is written as 10.

    file: open for reading.
    name: of the file, for messages.
    Raises ValueError, naming the file, where it is no MATLAB file with X (32, 32, 3, N) of uint8 and y (N, 1).
    """
    content = _variables(file, name)
    x, y = (np.asarray(content.get(key)) for key in ("X", "y"))
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (SIDE, SIDE, 3):
        raise ValueError(f"{name} must hold X, uint8 (32, 32, 3, N), got {_form(content, 'X')}")
    if y.dtype.kind not in "uif" or y.shape != (x.shape[3], 1):
        raise ValueError(f"{name} must hold y, the labels of its {x.shape[3]} images, got {_form(content, 'y')}")
    odd = y[~np.isin(y, np.arange(1, CLASSES + 1))]
    if len(odd):
        raise ValueError(f"{name} must hold labels 1 to 10, got {odd[0]}")
    # Each image lies whole in the file, column by column.
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y[:, 0].astype(np.int64) % CLASSES


def _form(content: Mapping[str, Any], key: str) -> str:
    if key not in content:
        return "none"
    return f"{np.asarray(content[key]).dtype} {np.shape(content[key])}"


def _check(spec: SvhnSet, file: BufferedReader, path: Path) -> str:
    remedy = f"delete it and run 'npsnn data fetch {spec.name}'"
    return check_digest(file, spec.digests[path.name], str(path), remedy)


def _is_sound(spec: SvhnSet, path: Path) -> bool:
    try:
        with reading(path, LIMIT) as file:
            _check(spec, file, path)
    except ValueError:
        return False
    return True


def _read(spec: SvhnSet, path: Path) -> tuple[Split, str]:
    """The split in a file, and its digest, which goes first: SciPy's reader is given no file that is not known."""
    with reading(path, LIMIT) as file:
        digest = _check(spec, file, path)
        file.seek(0)
        return Split(*parse_mat(file, str(path))), digest


def _missing(spec: SvhnSet, folder: Path) -> list[str]:
    return [name for name in spec.digests if not (folder / name).is_file()]


def status(spec: SvhnSet, folder: Path) -> str:
    """ "present", "incomplete" or "missing", by the files' names."""
    return state(len(spec.digests) - len(_missing(spec, folder)), len(spec.digests))


def load(spec: SvhnSet, folder: Path) -> Dataset:
    """The set in `folder`, both files checked; FileNotFoundError where one is missing, ValueError where it is wrong."""
    if missing := _missing(spec, folder):
        raise not_there(spec.name, folder, missing, len(missing) < len(spec.digests), f"{TRAIN} and {TEST}")
    train, train_digest = _read(spec, folder / TRAIN)
    test, test_digest = _read(spec, folder / TEST)
    return Dataset(spec.name, train, test, CLASSES, {TRAIN: train_digest, TEST: test_digest})


def fetch(spec: SvhnSet, folder: Path, progress: Progress | None = None) -> Path:
    """Download those files of the set that are missing or wrong, and give the folder they are in; as `download`."""
    missing = _missing(spec, folder)
    for name, digest in spec.digests.items():
        if name in missing or not _is_sound(spec, folder / name):
            download(f"{spec.url}{name}", folder / name, digest, LIMIT, progress)
    return folder
