"""A folder of images: what it holds, and the one line that every wrong shape of such a folder gets."""

import importlib
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn import data
from npsnn.data import images

Image: Any = pytest.importorskip("PIL.Image", reason="a folder of images needs Pillow")
CLASSES = ("ant", "bée", "cat")


def draw(path: Path, seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> np.ndarray:
    """An image file of random pixels, width x height; its pixels as Pillow has them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels).convert(mode)
    image.save(path)
    return np.array(image)


def parted(folder: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                draw(folder / part / name / f"{i}.png", 100 * label + 10 * count + i)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return parted(tmp_path / "beasts")


def test_the_images_of_a_folder_in_two_parts(folder: Path) -> None:
    found = data.load(folder)
    assert (found.name, found.classes, found.image_shape, found.division) == (str(folder), 3, (3, 5, 6), "")
    assert found.class_names == CLASSES and found.digests.keys() == {"train/", "test/"}
    for part, split, count in (("train", found.train, 3), ("test", found.test, 2)):
        assert np.bincount(split.labels).tolist() == [count] * 3
        for image, label in zip(split.images, split.labels, strict=True):
            files = (folder / part / CLASSES[label]).iterdir()
            assert any(np.array_equal(np.array(Image.open(f)).transpose(2, 0, 1), image) for f in files)
    assert (np.diff(found.train.labels) < 0).any(), "a limit would take the first classes"


def test_hidden_files_and_the_order_of_files_change_nothing(folder: Path, tmp_path: Path) -> None:
    before = data.load(folder)
    for name in (".DS_Store", "train/.hidden/x.png", "train/ant/Thumbs.db", "__MACOSX/train/ant/._0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"clutter")
    (folder / "README.txt").write_text("what this is")
    after = data.load(shutil.copytree(folder, tmp_path / "copy"))
    assert after.digests == before.digests
    np.testing.assert_array_equal(after.train.images, before.train.images)
    (folder / "train" / "cat" / "0.png").rename(folder / "train" / "cat" / "9.png")
    assert data.load(folder).digests["train/"] != before.digests["train/"]


def test_a_folder_without_parts_is_divided_by_the_recorded_rule(tmp_path: Path) -> None:
    for label, name in enumerate(CLASSES):
        for i in range(12):
            draw(tmp_path / name / f"{i}.png", 100 * label + i)
    second = sorted((tmp_path / "ant").iterdir(), key=lambda path: sha256(path.read_bytes()).hexdigest())[1]
    shutil.copy(second, tmp_path / "ant" / "again.png")  # the last that is taken
    found = data.load(tmp_path)
    assert found.division == images.DIVISION and np.bincount(found.test.labels).tolist() == [3, 2, 2]
    trained = {image.tobytes() for image in found.train.images}
    assert not trained & {image.tobytes() for image in found.test.images}, "a copy is on the side of its original"
    again = data.load(tmp_path)
    np.testing.assert_array_equal(again.test.images, found.test.images)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("RGB", 3)])
def test_the_modes_that_are_read(folder: Path, mode: str, channels: int) -> None:
    for i, file in enumerate(folder.rglob("*.png")):
        draw(file, i, mode=mode)
    assert data.load(folder).image_shape == (channels, 5, 6)


def test_an_image_is_turned_as_its_camera_says(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        image, exif = Image.open(file), Image.Exif()
        exif[0x0112] = 6
        image.save(file, exif=exif)
    assert data.load(folder).image_shape == (3, 6, 5)


def remake(name: str, **settings: Any) -> Callable[[Path], object]:
    return lambda folder: draw(folder / name, 5, **settings)


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Callable[[Path], object]:
    return lambda folder: [shutil.rmtree(folder / name) for name in names]


def move(name: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).rename(folder / to)


def empty(folder: Path) -> None:
    for file in (folder / "train" / "cat").iterdir():
        file.unlink()


def cmyk() -> bytes:
    content = BytesIO()
    Image.new("CMYK", (6, 5)).save(content, "jpeg")
    return content.getvalue()


def animate(folder: Path) -> None:
    frames = [Image.fromarray(np.full((5, 6), i, np.uint8)) for i in (1, 200)]
    frames[0].save(folder / "train" / "cat" / "0.gif", save_all=True, append_images=frames[1:])


def png_of_16_bits() -> bytes:
    """A PNG of 6 x 5 pixels of three channels of 16 bits, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(range(i, i + 36)) for i in range(5))
    header = struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


TRUNCATED = b"\x89PNG\r\n\x1a\n" + bytes(40)
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty class": (empty, "train/cat holds no image: put one there, or remove the folder"),
    "one class alone": (remove("train/ant", "train/cat"), "for each of two classes or more, got bée alone"),
    "no class": (remove(*(f"train/{name}" for name in CLASSES)), "for each of two classes or more, got none"),
    "an unreadable file": (write("train/cat/0.png", b"no image"), "cat/0.png is no sound image: its format"),
    "a truncated file": (write("train/cat/0.png", TRUNCATED), "cat/0.png is no sound image: "),
    "an empty file": (write("train/cat/0.png", b""), "cat/0.png is no sound image: its format is not known"),
    "another size": (remake("train/cat/0.png", size=(7, 5)), "cat/0.png has 7 x 5 pixels, "),
    "another size in test": (remake("test/cat/0.png", size=(6, 6)), "test/cat/0.png has 6 x 6 pixels, "),
    "grey among colours": (remake("train/cat/0.png", mode="L"), "cat/0.png is grey, "),
    "alpha": (remake("train/cat/0.png", mode="RGBA"), "cat/0.png has transparent pixels (an alpha channel)"),
    "grey alpha": (remake("train/cat/0.png", mode="LA"), "cat/0.png has transparent pixels (an alpha channel)"),
    "16 bits": (remake("train/cat/0.png", mode="I;16"), "cat/0.png has pixels of 16 bits a channel: convert"),
    "16 bits in colour": (write("train/cat/0.png", png_of_16_bits()), "cat/0.png has pixels of 16 bits a channel: "),
    "16 bits of PNM": (write("train/cat/0.ppm", b"P6 6 5 999\n" + bytes(180)), "0.ppm has pixels of 16 bits a channel"),
    "other colours": (
        write("train/cat/0.jpg", cmyk()),
        "0.jpg has pixels of the mode CMYK: convert the images to grey",
    ),
    "a moving image": (animate, "cat/0.gif has 2 frames: take an image of one"),
    "another file": (write("train/cat/notes.txt", b"x"), "cat/notes.txt is no image that is read (.bmp "),
    "a nested folder": (remake("train/ant/more/0.png"), "train/ant/more is a folder: a class folder must hold"),
    "an image of no class": (remake("train/0.png"), "train/0.png lies in no class: images must lie in a folder"),
    "an image beside the parts": (remake("0.png"), "0.png lies in no class: images must lie in a folder"),
    "a class that train lacks": (move("test/cat", "test/dog"), "test/dog is a class that "),
    "no test": (remove("test"), "has train/ but no test/: it must hold both, or a folder for each class"),
    "no train": (remove("train"), "has test/ but no train/: it must hold both"),
    "val for test": (move("test", "val"), "(rename val/ to test/ to test on it)"),
    "a class beside the parts": (remake("cat/0.png"), "has cat/ beside train/ and test/"),
    "nothing": (remove("train", "test"), "must hold a folder of images for each of two classes or more, got none"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_one_line_that_names_the_place(folder: Path, name: str) -> None:
    spoil, said = WRONG[name]
    spoil(folder)
    with pytest.raises(ValueError) as caught:
        data.load(folder)
    assert said in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "copied", "said"),
    [
        ("train", "Train", " beside train/ and test/: it must hold these two alone"),
        ("train/bée", "train/be\u0301e", "train has two folders of the name bée, whose bytes differ: merge them"),
    ],
)
def test_two_folders_of_nearly_one_name_are_refused(folder: Path, name: str, copied: str, said: str) -> None:
    if (folder / copied).exists():
        pytest.skip("this file system takes the two names for one")
    shutil.copytree(folder / name, folder / copied)
    with pytest.raises(ValueError) as caught:
        data.load(folder)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"), [(b"a\nb", r"'a\nb'"), (b"c\xe9", r"'c\udce9'"), (b"\x1b[31m", r"'\x1b[31m'")]
)
def test_a_class_whose_name_no_page_can_show_is_refused(folder: Path, name: bytes, shown: str) -> None:
    try:
        (folder / "train" / "cat").rename(folder / "train" / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ValueError) as caught:
        data.load(folder)
    assert f"train has a class whose name is no text, {shown}: rename its folder" in str(caught.value)


def test_a_class_whose_name_is_another_label_is_said(tmp_path: Path) -> None:
    for label in range(11):
        for part in ("train", "test"):
            draw(tmp_path / part / str(label) / "0.png", 2 * label + (part == "test"))
    with pytest.warns(UserWarning, match="called by numbers, 10 has the label 2: classes are numbered from 0 on in"):
        found = data.load(tmp_path)
    assert found.class_names == ("0", "1", "10", *"23456789")
    for part in ("train", "test"):
        shutil.rmtree(tmp_path / part / "10")
    assert data.load(tmp_path).class_names == tuple("0123456789")


def test_test_images_that_are_trained_on_are_said(folder: Path) -> None:
    shutil.copy(folder / "train" / "ant" / "0.png", folder / "test" / "cat" / "copy.png")
    with pytest.warns(UserWarning, match="1 of the 7 test images of .*beasts are training images, too"):
        data.load(folder)


def test_a_class_that_cannot_be_divided_is_one_line(tmp_path: Path) -> None:
    draw(tmp_path / "ant" / "0.png", 0)
    draw(tmp_path / "bee" / "0.png", 1)
    with pytest.raises(ValueError, match=r"ant must hold two images that differ, .* got one$"):
        data.load(tmp_path)
    shutil.copy(tmp_path / "ant" / "0.png", tmp_path / "ant" / "1.png")
    with pytest.raises(ValueError, match=r"got 2 of one content$"):
        data.load(tmp_path)


def test_what_is_passed_over_is_said(folder: Path) -> None:
    shutil.copytree(folder / "test", folder / "val")
    with pytest.warns(UserWarning, match="val is not read: npsnn holds out a twelfth"):
        data.load(folder)
    shutil.rmtree(folder / "val")
    shutil.rmtree(folder / "test" / "cat")
    with pytest.warns(UserWarning, match="test has no class cat"):
        found = data.load(folder)
    assert found.classes == 3 and set(found.test.labels) == {0, 1}


def test_the_classes_of_a_part_are_numbered_as_those_of_the_other(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "ant")
    with pytest.warns(UserWarning, match="test has no class ant"):
        assert set(data.load(folder).test.labels) == {1, 2}


def test_a_large_image_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PIXELS", 20)
    with pytest.raises(ValueError, match=r"\.png is no sound image: it has 6 x 5 pixels, more than 20 in all"):
        data.load(folder)
    monkeypatch.setattr(images, "PIXELS", 30)
    monkeypatch.setattr(images, "TOTAL", 500)
    with pytest.raises(ValueError, match="more than 500 bytes of pixels"):
        data.load(folder)


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'npsnn\[images\]'"):
        images.load(folder)
