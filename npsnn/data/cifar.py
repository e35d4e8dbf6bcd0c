"""CIFAR-10 in torchvision's layout: the Python or the binary version, unpacked or in the archive it comes in."""

import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import Literal

import numpy as np

from npsnn.data.archive import members
from npsnn.data.cifar_records import CLASSES, PIXELS, RECORD, SIDE, Records, parse_pickle, parse_records
from npsnn.data.dataset import Dataset, Split
from npsnn.data.download import download
from npsnn.data.folder import Progress, not_there, state
from npsnn.files import check_digest, read_bytes, reading

TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"
FILES = (*TRAIN, TEST)
LIMIT = 1 << 28  # bytes of an archive; the larger official one has 170 million
SLACK = 1 << 22  # bytes that an archive may unpack to beyond the records: headers, file names and other members


@dataclass(frozen=True)
class Version:
    """One of the two forms that CIFAR-10 comes in.

    folder: that holds the unpacked files.
    suffix: of the files.
    archive: the name of the archive.
    sha256: of the archive.
    algorithm: of `digests`.
    digests: of the files in the archive.
    parse: from content, name and count to records.
    expansion: the bytes that a file may have for each byte of its records.
    """

    folder: str
    suffix: str
    archive: str
    sha256: str
    algorithm: Literal["md5", "sha256"]
    digests: Mapping[str, str]
    parse: Callable[[bytes, str, int], Records]
    expansion: int
    """How many bytes a file may have for each byte of its records: by protocol 0, a pixel may be written as \\xff."""

    def limit(self, count: int) -> int:
        """The bytes that a file of `count` images may have."""
        return self.expansion * count * RECORD + (SLACK if self.expansion > 1 else 0)


@dataclass(frozen=True)
class CifarSet:
    """CIFAR-10, or files in its form.

    name: of the set.
    url: the address in front of the archives' names.
    count: the number of images in a file.
    versions: the forms that the set comes in.
    verified: whether digests are checked.
    """

    name: str
    url: str
    count: int
    versions: tuple[Version, ...]
    verified: bool = True


# SHA-256 of the archives and MD5 of the Python files are widely published; SHA-256 of the binary files are those that
# torchvision for Ruby checks.
_PYTHON = Version(
    "cifar-10-batches-py",
    "",
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "md5",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    parse_pickle,
    expansion=4,
)
_BINARY = Version(
    "cifar-10-batches-bin",
    ".bin",
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "sha256",
    {
        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    parse_records,
    expansion=1,
)

_OFFICIAL = CifarSet("cifar10", "https://www.cs.toronto.edu/~kriz/", 10_000, (_PYTHON, _BINARY))
SETS = {"cifar10": _OFFICIAL, "cifar10-unverified": replace(_OFFICIAL, name="cifar10-unverified", verified=False)}
"""The second is whatever files of this form are there, such as CIFAR-10 from JPEG files: form checked, content not."""


@dataclass(frozen=True)
class Source:
    """A folder or an archive that holds files of the set.

    version: the form of the files.
    path: of the folder or the archive.
    packed: whether it is an archive.
    missing: the files that are not in it.
    """

    version: Version
    path: Path
    packed: bool
    missing: tuple[str, ...] = ()


def sources(spec: CifarSet, folder: Path) -> list[Source]:
    """The folders and archives that hold files of the set, the best first.

    A whole source is better than a part, a folder is better than an archive, the Python version better than the binary
    version.
    """
    found = []
    for version in spec.versions:
        path = folder / version.folder
        missing = tuple(n for n in FILES if not (path / f"{n}{version.suffix}").is_file())
        if len(missing) < len(FILES):
            found.append(Source(version, path, False, missing))
    found += [Source(v, folder / v.archive, True) for v in spec.versions if (folder / v.archive).is_file()]
    return sorted(found, key=lambda source: bool(source.missing))


def status(spec: CifarSet, folder: Path) -> str:
    """ "present", "incomplete" or "missing", by the files' names."""
    best = sources(spec, folder)[:1]
    return state(len(FILES) - len(best[0].missing) if best else 0, len(FILES))


def require(spec: CifarSet, folder: Path) -> Source:
    """The best source of the set; FileNotFoundError, saying how to get one, where none is whole."""
    best = sources(spec, folder)[:1]
    if best and not best[0].missing:
        return best[0]
    missing = [f"{n}{best[0].version.suffix}" for n in best[0].missing] if best else []
    *rest, last = [v.folder + "/" for v in spec.versions] + [v.archive for v in spec.versions]
    raise not_there(spec.name, folder, missing, bool(best), f"{', '.join(rest)} or {last}", fetched=spec.verified)


def _check(
    spec: CifarSet, content: bytes | BufferedReader, expected: str, name: str, algorithm: Literal["md5", "sha256"]
) -> None:
    remedy = f"delete it and run 'npsnn data fetch {spec.name}', or name the set {spec.name}-unverified to use it as is"
    check_digest(content, expected, name, remedy, algorithm)


def _packed(spec: CifarSet, source: Source) -> Iterator[tuple[str, str, bytes]]:
    """As `_contents`, of an archive, which is checked as a whole before it is opened."""
    if spec.verified:
        with reading(source.path, LIMIT) as file:
            _check(spec, file, source.version.sha256, str(source.path), "sha256")
    version, count = source.version, spec.count
    wanted = {f"{version.folder}/{name}{version.suffix}": name for name in FILES}
    try:
        for name, content in members(source.path, wanted, version.limit(count), len(FILES) * count * RECORD + SLACK):
            yield name, f"{source.path}: {name}{source.version.suffix}", content
    except EOFError:
        raise ValueError(f"{source.path} is a truncated gzip file") from None
    except (tarfile.TarError, zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"{source.path} is no sound archive of CIFAR-10: {error}") from None


def _contents(spec: CifarSet, source: Source) -> Iterator[tuple[str, str, bytes]]:
    """Plain name, name for messages and content of each file, one in memory at a time."""
    if source.packed:
        yield from _packed(spec, source)
        return
    for name in FILES:
        path = source.path / f"{name}{source.version.suffix}"
        yield name, str(path), read_bytes(path, source.version.limit(spec.count) + SLACK)


def load(spec: CifarSet, folder: Path) -> Dataset:
    """The set in `folder`; its digests are SHA-256 of each file as it is in the binary version, whichever was read.

    Raises FileNotFoundError where a file is missing, ValueError where a file is wrong.
    """
    source, digests = require(spec, folder), {}
    version, count = source.version, spec.count
    pixels = np.empty((len(FILES) * count, PIXELS), np.uint8)
    labels = np.empty(len(pixels), np.int64)
    for name, shown, content in _contents(spec, source):
        records = version.parse(content, shown, count)
        if spec.verified and not source.packed:
            _check(spec, content, version.digests[name], shown, version.algorithm)
        rows = slice((start := FILES.index(name) * count), start + count)
        labels[rows], pixels[rows] = records[:, 0], records[:, 1:]
        digests[name] = sha256(records.data).hexdigest()
    images = pixels.reshape(-1, 3, SIDE, SIDE)
    train, test = (Split(images[part], labels[part]) for part in (slice(-count), slice(-count, None)))
    _check_balance(source, train, test)
    return Dataset(spec.name, train, test, CLASSES, {name: digests[name] for name in FILES})


def _check_balance(source: Source, train: Split, test: Split) -> None:
    for split, what in ((train, "training"), (test, "test")):
        counts, expected = np.bincount(split.labels, minlength=CLASSES), len(split) // CLASSES
        if (odd := np.flatnonzero(counts != expected)).size:
            got = f"{counts[odd[0]]} of class {odd[0]}"
            raise ValueError(f"{source.path} must hold {expected} {what} images of each class, got {got}")


def _is_official(spec: CifarSet, source: Source) -> bool:
    try:
        with reading(source.path, LIMIT) as file:
            _check(spec, file, source.version.sha256, str(source.path), "sha256")
    except ValueError:
        return False
    return True


def fetch(spec: CifarSet, folder: Path, progress: Progress | None = None) -> Path:
    """Download the binary version's archive unless the set is there.

    Returns the folder that holds the set. An archive that is wrong is replaced. Unpacked files are never replaced.

    progress: as in `download`.
    Raises ValueError for an unpacked file that is wrong, naming it, and for a set without official files; as
    `download`.
    """
    if not spec.verified:
        raise ValueError(f"{spec.name} is what you put into {folder} yourself: there is nothing to fetch")
    best = [source for source in sources(spec, folder) if not source.missing][:1]
    if best and not best[0].packed:
        load(spec, folder)
        return best[0].path
    version = best[0].version if best else spec.versions[-1]
    if not best or not _is_official(spec, best[0]):
        download(f"{spec.url}{version.archive}", folder / version.archive, version.sha256, LIMIT, progress, as_is=True)
    return folder
