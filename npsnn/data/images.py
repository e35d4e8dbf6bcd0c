"""Folders of images, one folder for each class, decoded by Pillow (the extra `images`)."""

import importlib
import os
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.data.arrays import NAMES, from_arrays
from npsnn.data.dataset import Dataset, Images
from npsnn.files import read_bytes

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
CLUTTER = ("desktop.ini", "thumbs.db", "__macosx")
"""What systems put into folders, beside names that begin with a dot."""
LIMIT = 1 << 28
"""The bytes that the file of one image may have."""
PIXELS = 1 << 24
"""The pixels that one image may have."""
TOTAL = 1 << 35
"""The bytes that the pixels of a set may have."""
TRAIN, TEST = "train", "test"
VALIDATION = ("val", "valid", "validation")
PART = 6
"""One image in so many becomes a test image where a folder has no such parts."""
DIVISION = f"of each class the 1/{PART} of the images whose files have the least SHA-256 are test images"
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
"""The modes of Pillow that are read, and what they become."""
NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""The kinds of letters, by Unicode, that a class's name may not have: controls, bytes of no text, ends of lines."""
COLOURS = {"L": "grey", "RGB": "colour"}


@dataclass
class _Part:
    """The images of one part of a set as they are read.

    digests: the name of each file within the part and its SHA-256, in the order of the images.
    """

    pixels: list[Images] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    digests: list[tuple[bytes, str]] = field(default_factory=list)

    def mixed(self) -> list[int]:
        """The images in the order of their SHA-256, which mixes the classes: --limit takes the first ones."""
        return sorted(range(len(self.labels)), key=lambda i: self.digests[i][::-1])

    def digest(self) -> str:
        """SHA-256 (hex) of the names and contents of all files."""
        found = sha256()
        for name, digest in sorted(self.digests):
            found.update(name + b"\0" + digest.encode() + b"\n")
        return found.hexdigest()


@dataclass
class _Form:
    """The size and the mode that all images must have: those of the first one."""

    path: Path | None = None
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    total: int = 0

    def check(self, path: Path, size: tuple[int, int], mode: str) -> None:
        if self.path is None:
            self.path, self.size, self.mode = path, size, mode
        if size != self.size:
            was, now = (f"{width} x {height}" for width, height in (self.size, size))
            raise ValueError(f"{path} has {now} pixels, {self.path} has {was}: resize all images to one size")
        if mode != self.mode:
            was, now = COLOURS[self.mode], COLOURS[mode]
            raise ValueError(f"{path} is {now}, {self.path} is {was}: convert all images to one of the two")
        self.total += size[0] * size[1] * len(mode)
        if self.total > TOTAL:
            raise ValueError(f"{path}: the images have more than {TOTAL:,} bytes of pixels: take fewer or smaller ones")


def load(folder: Path) -> Dataset:
    """The images of a folder: of train/CLASS/ and test/CLASS/, or of CLASS/, which are then divided by `DIVISION`.

    Classes are numbered in the order of their names; images stand in the order of the SHA-256 of their files. Hidden
    files are passed over.
    Raises ValueError without Pillow and, naming the file or the folder, for whatever cannot be read, for images of
    several sizes or kinds, and for a class without images.
    """
    pillow()
    parts = _parts(folder)
    form = _Form()
    if parts is None:
        names = _classes(folder)
        read = _divided(_read(folder, names, form), names, folder)
    else:
        names = _classes(parts[TRAIN])
        _check_test(parts, names)
        read = {part: _read(where, names if part == TRAIN else _classes(where), form) for part, where in parts.items()}
        _relabel(read[TEST], _classes(parts[TEST]), names)
    _warn_of_numbers(names)
    arrays = {}
    for part, found in read.items():
        order = found.mixed()
        arrays[f"{part}_images"] = np.stack([found.pixels[i] for i in order])
        arrays[f"{part}_labels"] = np.array([found.labels[i] for i in order])
    digests = {f"{part}/": found.digest() for part, found in read.items()}
    assert tuple(arrays) == NAMES
    return from_arrays(str(folder), arrays, digests, class_names=names, division="" if parts else DIVISION)


def pillow() -> Any:
    """Pillow's module of images; raises ValueError, which says how to install it, where it is missing."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        extra = "install npsnn with its extra, pip install 'npsnn[images]'"
        raise ValueError(f"a folder of images needs Pillow: {extra}") from None


def _name(path: Path) -> str:
    """The name of a file or folder, the same on every system and under every locale."""
    text = os.fsencode(path.name).decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", text)


def _listed(folder: Path) -> list[Path]:
    """What is in a folder in the order of the names, without hidden files and what systems put there."""
    visible = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in CLUTTER)
    return sorted(visible, key=_name)


def _parts(folder: Path) -> dict[str, Path] | None:
    """The folders train/ and test/; None where the folder holds its classes itself."""
    folders = [path for path in _listed(folder) if path.is_dir()]
    there = {path.name.lower(): path for path in folders}
    if TRAIN not in there and TEST not in there:
        return None
    validation = [name for name in VALIDATION if name in there]
    for part, other in ((TRAIN, TEST), (TEST, TRAIN)):
        if part not in there:
            hint = f" (rename {validation[0]}/ to {TEST}/ to test on it)" if part == TEST and validation else ""
            must = f"it must hold both, or a folder for each class{hint}"
            raise ValueError(f"{folder} has {other}/ but no {part}/: {must}")
    if validation:
        why = "npsnn holds out a twelfth of the training images itself"
        warnings.warn(f"{there[validation[0]]} is not read: {why}", stacklevel=2)
    read = {TRAIN: there[TRAIN], TEST: there[TEST]}
    passed = [*read.values(), *(there[name] for name in validation)]
    if others := [path for path in folders if path not in passed]:
        raise ValueError(f"{folder} has {others[0].name}/ beside train/ and test/: it must hold these two alone")
    _check_no_image(folder, "train/cat")
    return read


def _check_no_image(folder: Path, example: str) -> None:
    """Images lie in class folders, and not beside them."""
    for path in _listed(folder):
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            wanted = f"images must lie in a folder for each class, as {folder}/{example}/"
            raise ValueError(f"{path} lies in no class: {wanted}")


def _classes(folder: Path) -> tuple[str, ...]:
    """The names of the class folders; ValueError for fewer than two, one twice, one that is no text, images beside."""
    _check_no_image(folder, "cat")
    names = tuple(_name(path) for path in _listed(folder) if path.is_dir())
    if len(names) < 2:
        holds = f"{names[0]} alone" if names else "none"
        raise ValueError(f"{folder} must hold a folder of images for each of two classes or more, got {holds}")
    if odd := [name for name in names if any(unicodedata.category(letter) in NO_TEXT for letter in name)]:
        raise ValueError(f"{folder} has a class whose name is no text, {odd[0]!a:.80}: rename its folder")
    if twice := [name for name, after in pairwise(names) if name == after]:
        raise ValueError(f"{folder} has two folders of the name {twice[0]}, whose bytes differ: merge them")
    return names


def _warn_of_numbers(names: tuple[str, ...]) -> None:
    """Say where a class whose name is a number gets another number as its label: 10 stands before 2."""
    if all(name.isdecimal() for name in names):
        odd = [f"{name} has the label {label}" for label, name in enumerate(names) if int(name) != label]
        if odd:
            rule = "classes are numbered from 0 on in the order of their names as text"
            warnings.warn(f"of the classes called by numbers, {odd[0]}: {rule}", stacklevel=2)


def _check_test(parts: dict[str, Path], names: tuple[str, ...]) -> None:
    """Every class of test/ must be one of train/; a warning names those that test/ lacks."""
    tested = _classes(parts[TEST])
    if odd := [name for name in tested if name not in names]:
        raise ValueError(f"{parts[TEST] / odd[0]} is a class that {parts[TRAIN]} lacks: it has {', '.join(names):.200}")
    if untested := [name for name in names if name not in tested]:
        warnings.warn(f"{parts[TEST]} has no class {', '.join(untested):.200}: nothing is measured on it", stacklevel=2)


def _read(folder: Path, names: tuple[str, ...], form: _Form) -> _Part:
    """The images of all classes of a folder, class by class, in the order of the names."""
    part, folders = _Part(), [path for path in _listed(folder) if path.is_dir()]
    for label, where in enumerate(folders):
        for path, content in _contents(where):
            part.pixels.append(decoded(content, path, form))
            part.labels.append(label)
            name = f"{names[label]}/{_name(path)}".encode("utf-8", "surrogateescape")
            part.digests.append((name, sha256(content).hexdigest()))
    return part


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each image file of a class with its content; raises ValueError for a folder in it, another file, or none."""
    listed = _listed(folder)
    if not listed:
        raise ValueError(f"{folder} holds no image: put one there, or remove the folder")
    for path in listed:
        if path.is_dir():
            raise ValueError(f"{path} is a folder: a class folder must hold its images themselves")
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{path} is no image that is read ({' '.join(SUFFIXES)}): move it elsewhere")
        yield path, read_bytes(path, LIMIT)


def decoded(content: bytes, path: Path, form: _Form) -> Images:
    """The pixels (C, H, W) of an image file, upright; raises ValueError, naming it, for what is not read."""
    image_module = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(BytesIO(content)) as image:
                mode, frames, clear = image.mode, getattr(image, "n_frames", 1), "transparency" in image.info
                if image.width * image.height > PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels, more than {PIXELS:,} in all")
                deep = _is_deep(image)
                upright = importlib.import_module("PIL.ImageOps").exif_transpose(image)
                upright.load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged image can raise nearly anything
        reason = "its format is not known" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        raise ValueError(f"{path} is no sound image: {reason or type(error).__name__}") from error
    if frames > 1:
        raise ValueError(f"{path} has {frames} frames: take an image of one")
    if clear or mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        raise ValueError(f"{path} has transparent pixels (an alpha channel): lay the images on a background first")
    if deep or mode not in MODES:
        kind = "16 bits a channel" if deep else f"the mode {mode}"
        raise ValueError(f"{path} has pixels of {kind}: convert the images to grey or RGB of 8 bits")
    form.check(path, upright.size, MODES[mode])
    pixels = np.array(upright.convert(MODES[mode]))
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_deep(image: Any) -> bool:
    """Whether the file holds more than 8 bits a channel, of which Pillow would cut the lower ones off in silence."""
    given = [tile[3] for tile in image.tile]
    of_pnm = [args[1] > 255 for args in given if image.format == "PPM" and isinstance(args, tuple)]
    return any(";16" in str(args) for args in given) or any(of_pnm)


def _divided(whole: _Part, names: tuple[str, ...], folder: Path) -> dict[str, _Part]:
    """The images in two parts by `DIVISION`; files of one content stay together."""
    parts, by_class = {TRAIN: _Part(), TEST: _Part()}, np.array(whole.labels)
    tested: set[int] = set()
    for label, name in enumerate(names):
        own = sorted(np.flatnonzero(by_class == label), key=lambda i: whole.digests[i][::-1])
        count = max(1, round(len(own) / PART))
        last = whole.digests[own[count - 1]][1]
        chosen = [int(i) for i in own if whole.digests[i][1] <= last]
        if len(chosen) == len(own):
            got = f"{len(own)} of one content" if len(own) > 1 else "one"
            raise ValueError(f"{folder / name} must hold two images that differ, to train and to test on, got {got}")
        tested.update(chosen)
    for i, label in enumerate(whole.labels):
        part = parts[TEST if i in tested else TRAIN]
        part.pixels.append(whole.pixels[i])
        part.labels.append(label)
        part.digests.append(whole.digests[i])
    return parts


def _relabel(part: _Part, own: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Number the classes of test/ as train/ does."""
    part.labels = [names.index(own[label]) for label in part.labels]
