"""MNIST and the sets in its form: the IDX format, and the four files of each set in torchvision's layout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npsnn.data.dataset import Dataset, Split
from npsnn.data.download import download
from npsnn.data.folder import Progress, not_there, state
from npsnn.files import blamed, check_digest, read_content

UINT8 = 0x08  # the type code in an IDX file's third byte
SIDE = 28
LIMIT = 1 << 26  # bytes of a file, packed or not; 60,000 images have 47 million
EMNIST_LIMIT = 1 << 30  # of the largest set of EMNIST, which has 697,932 images


def files_of(train: str, test: str) -> dict[str, tuple[str, str]]:
    """The files of the images and of the labels of each split; train, test: what their names begin with."""
    parts = {"train": train, "test": test}
    return {part: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte") for part, name in parts.items()}


@dataclass(frozen=True)
class IdxSet:
    """A set of four IDX files.

    name: of the set.
    subfolder: of the data folder, which holds the files.
    url: the address in front of the file names, "" where npsnn does not fetch the set.
    digests: SHA-256 of each file's uncompressed content; none where they are not known, and the form alone is checked.
    files: of images and of labels by split.
    classes: the number of classes.
    first: the label of the first class in the files.
    transposed: whether the files hold each image column by column.
    limit: the bytes of a file.
    """

    name: str
    subfolder: str
    url: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str]] = field(default_factory=lambda: files_of("train", "t10k"))
    classes: int = 10
    first: int = 0
    transposed: bool = False
    limit: int = LIMIT

    @property
    def names(self) -> tuple[str, ...]:
        """The plain names of all files."""
        return tuple(name for part in self.files.values() for name in part)


def _emnist(split: str, classes: int, first: int = 0) -> IdxSet:
    files = files_of(f"emnist-{split}-train", f"emnist-{split}-test")
    return IdxSet(f"emnist-{split}", "EMNIST/raw", "", {}, files, classes, first, transposed=True, limit=EMNIST_LIMIT)


SETS = {
    "mnist": IdxSet(
        "mnist",
        "MNIST/raw",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": IdxSet(
        "fashion-mnist",
        "FashionMNIST/raw",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "kmnist": IdxSet("kmnist", "KMNIST/raw"),
    **{s.name: s for s in (_emnist("letters", 26, 1), _emnist("balanced", 47), _emnist("digits", 10))},
    **{s.name: s for s in (_emnist("mnist", 10), _emnist("bymerge", 47), _emnist("byclass", 62))},
}


def parse_idx(content: bytes, name: str, ndim: int | None = None) -> npt.NDArray[np.uint8]:
    """The array in an IDX file.

    content: of the file, uncompressed.
    name: of the file, for messages.
    ndim: the number of dimensions that the file must have; None takes any from 1 to 32.
    Raises ValueError, naming the file, where it is no IDX file of unsigned bytes, of another ndim or length.
    """
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != UINT8 or not 1 <= magic[3] <= 32:
        wanted, start = f"00 00 08 {ndim or 3:02x}", magic.hex(" ") or "nothing"
        raise ValueError(f"{name} is no IDX file of unsigned bytes: expected it to begin with {wanted}, got {start}")
    if ndim not in (None, magic[3]):
        raise ValueError(f"{name} must have {ndim} dimensions, got {magic[3]}")
    header = 4 + 4 * magic[3]
    if len(content) < header:
        raise ValueError(f"{name} ends inside its header: expected {header} bytes, got {len(content)}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    if len(content) != header + prod(shape):
        raise ValueError(f"{name} must have {header + prod(shape)} bytes for shape {shape}, got {len(content)}")
    with blamed(name):  # without an image, the other sizes may be beyond any array
        return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx(path: Path, ndim: int | None = None) -> npt.NDArray[np.uint8]:
    """The read-only uint8 array in an IDX file.

    path: of the file, which is compressed if the name ends in .gz.
    ndim: the number of dimensions that the file must have, or None.
    Raises OSError where the file cannot be read, ValueError where its content is not as expected.
    """
    return parse_idx(read_content(path, LIMIT), str(path), ndim)


def find(spec: IdxSet, folder: Path) -> dict[str, Path]:
    """The files of the set that are there, by plain name.

    The .gz goes first, because a fetch replaces it. Some archives call a file train-images.idx3-ubyte instead of
    train-images-idx3-ubyte.
    """
    raw, found = folder / spec.subfolder, {}
    for name in spec.names:
        dotted = name.replace("-idx", ".idx")
        paths = (raw / f"{spelling}{suffix}" for spelling in (name, dotted) for suffix in (".gz", ""))
        if path := next((p for p in paths if p.is_file()), None):
            found[name] = path
    return found


def status(spec: IdxSet, folder: Path) -> str:
    """ "present", "incomplete" or "missing", by the files' names."""
    return state(len(find(spec, folder)), len(spec.names))


def require(spec: IdxSet, folder: Path) -> dict[str, Path]:
    """All files of the set, by plain name; FileNotFoundError, saying how to get them, where one is missing."""
    paths = find(spec, folder)
    if missing := [name for name in spec.names if name not in paths]:
        raise not_there(spec.name, folder, missing, bool(paths), f"{spec.subfolder}/", fetched=bool(spec.url))
    return paths


def _checked(spec: IdxSet, name: str, content: bytes, path: Path) -> str:
    """The SHA-256 of a file's content, which must be the known one where one is known."""
    if name not in spec.digests:
        return sha256(content).hexdigest()
    remedy = f"delete it and run 'npsnn data fetch {spec.name}'"
    return check_digest(content, spec.digests[name], str(path), remedy)


def _is_sound(spec: IdxSet, name: str, path: Path) -> bool:
    try:
        _checked(spec, name, read_content(path, spec.limit), path)
    except ValueError:
        return False
    return True


def _read_split(spec: IdxSet, paths: Mapping[str, Path], split: str) -> tuple[Split, dict[str, str]]:
    """One split and the digests of its two files; the shapes go first, since their messages say more."""
    contents = {name: read_content(paths[name], spec.limit) for name in spec.files[split]}
    of_images, of_labels = spec.files[split]
    images = parse_idx(contents[of_images], str(paths[of_images]), 3)
    labels = parse_idx(contents[of_labels], str(paths[of_labels]), 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"{paths[of_images]} must hold images of (28, 28) pixels, got {images.shape[1:]}")
    if len(images) != len(labels):
        raise ValueError(f"{paths[of_labels]} must hold {len(images)} labels, one an image, got {len(labels)}")
    last = spec.first + spec.classes - 1
    if len(labels) and not (spec.first <= labels.min() and labels.max() <= last):
        got = labels.max() if labels.max() > last else labels.min()
        raise ValueError(f"{paths[of_labels]} must hold labels {spec.first} to {last}, got {got}")
    digests = {name: _checked(spec, name, content, paths[name]) for name, content in contents.items()}
    upright = np.ascontiguousarray(images.transpose(0, 2, 1)) if spec.transposed else images
    return Split(upright[:, None], labels.astype(np.int64) - spec.first), digests


def load(spec: IdxSet, folder: Path) -> Dataset:
    """The set in `folder`, all files checked; FileNotFoundError where one is missing, ValueError where one is wrong."""
    paths = require(spec, folder)
    train, train_digests = _read_split(spec, paths, "train")
    test, test_digests = _read_split(spec, paths, "test")
    return Dataset(spec.name, train, test, spec.classes, train_digests | test_digests)


def fetch(spec: IdxSet, folder: Path, progress: Progress | None = None) -> Path:
    """Download the files of the set that are missing or wrong.

    Returns the folder that holds the files.

    progress: as in `download`.
    Raises ValueError for a set that npsnn does not fetch; as `download`.
    """
    if not spec.url:
        raise ValueError(f"{spec.name} is not fetched by npsnn: put its four files into {folder / spec.subfolder}")
    raw = folder / spec.subfolder
    paths = find(spec, folder)
    for name, digest in spec.digests.items():
        if name not in paths or not _is_sound(spec, name, paths[name]):
            download(f"{spec.url}{name}.gz", raw / f"{name}.gz", digest, spec.limit, progress)
    return raw
