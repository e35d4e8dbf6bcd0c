"""Archives that are read are those that are written; all others are refused before their content is read."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from npsnn.files.npz import read_npz, write_npz

MB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.npz"


def refused(path: Path, said: str, limit: int = 64 * MB) -> None:
    """Reading ends with one line of error that names the file, and takes no more than 32 MB of memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said) as caught:
            read_npz(path, "cache", limit)
        assert tracemalloc.get_traced_memory()[1] < 32 * MB
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


ARRAYS = {
    "number": np.array(0.5, np.float32),
    "text": np.array("über"),
    "no text": np.array(""),
    "none": np.zeros((3, 0)),
    "columns": np.asfortranarray(np.arange(60, dtype=np.int64).reshape(3, 4, 5)),
    "every other": np.arange(12.0).reshape(3, 4)[::2],
    "bits": np.array([True, False]),
    "a/b.json": np.arange(3, dtype=np.uint8),
    "long": np.arange(3 * MB // 4, dtype=np.float64),
}


def test_what_is_written_is_read_in_the_same_order_of_bytes(path: Path) -> None:
    with path.open("wb") as file:
        write_npz(file, **ARRAYS)
    found = read_npz(path, "cache", path.stat().st_size)
    with np.load(path) as expected:
        assert found.keys() == ARRAYS.keys()
        for name, array in found.items():
            other = expected[name]
            assert array.dtype == other.dtype and array.shape == other.shape and array.strides == other.strides
            assert array.tobytes() == other.tobytes() and array.flags.writeable
    some = read_npz(path, "cache", path.stat().st_size, lambda name: name == "text")
    assert list(some) == ["text"] and some["text"].item() == "über"


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def store(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)


def compressed(path: Path) -> None:
    np.savez_compressed(path, x=np.zeros(100 * MB // 8))


def no_npy(path: Path) -> None:
    store(path, readme_txt=b"hello")


def named_so_but_no_npy(path: Path) -> None:
    store(path, x_npy=b"hello")


def twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(np.ones(3)))
        archive.writestr("x.npy", npy(np.ones(3)))


def of_length(content: bytes, length: int) -> bytes:
    """A .npy file of one dimension that claims another length."""
    start, claimed = content.index(b"("), b"(%d,), }" % length
    return content[:start] + claimed + content[start + len(claimed) :]


def larger_in_its_header(path: Path) -> None:
    store(path, x_npy=of_length(npy(np.ones(3)), 3_000_000_000))


def overlapping(path: Path) -> None:
    """A hundred members that are the same ten megabytes."""
    store(path, x00_npy=npy(np.zeros(10 * MB // 8)))
    raw = path.read_bytes()
    start = raw.index(b"PK\x01\x02")
    entry, end = raw[start : raw.index(b"PK\x05\x06")], bytearray(raw[raw.index(b"PK\x05\x06") :])
    entries = [entry.replace(b"x00", b"x%02d" % i) for i in range(100)]
    struct.pack_into("<HHL", end, 8, 100, 100, len(entry) * 100)
    path.write_bytes(raw[:start] + b"".join(entries) + end)


def larger_by_zip64(path: Path) -> None:
    store(path, x_npy=npy(np.ones(3)))
    raw = path.read_bytes()
    start, size = raw.index(b"PK\x01\x02"), len(npy(np.ones(3)))
    end = bytearray(raw[raw.index(b"PK\x05\x06") :])
    entry = bytearray(raw[start : -len(end)]).replace(struct.pack("<LL", size, size), b"\xff" * 8)
    entry[30:32] = struct.pack("<H", 20)
    entry += struct.pack("<HHQQ", 1, 16, 1 << 40, 1 << 40)
    struct.pack_into("<L", end, 12, len(entry))
    path.write_bytes(raw[:start] + entry + end)


def outside(path: Path) -> None:
    store(path, x_npy=npy(np.ones(3)))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<L", raw, raw.index(b"PK\x01\x02") + 42, 0xFFFFFF)
    path.write_bytes(raw)


def sparse(path: Path) -> None:
    store(path, x_npy=npy(np.ones(3)))
    with path.open("r+b") as file:
        file.truncate(5 << 30)


def objects(path: Path) -> None:
    np.savez(path, x=np.array([None]))


def records(path: Path) -> None:
    np.savez(path, x=np.zeros(3, [("a", "f4")]))


def no_width(path: Path) -> None:
    """A text of no letters takes no bytes in the file, and NumPy gives each four."""
    store(path, x_npy=of_length(npy(np.array([], "U1")).replace(b"<U1", b"<U0"), 500_000_000))


def evaluated(path: Path) -> None:
    store(path, x_npy=npy(np.ones(3)).replace(b"(3,)", b"(-3)"))


KINDS: dict[Callable[[Path], None], str] = {
    compressed: "'x.npy' is compressed",
    no_npy: "'readme.txt' is no .npy file",
    named_so_but_no_npy: "'x.npy' is no .npy file of version 1",
    twice: "there are two of the name",
    larger_in_its_header: r"must have float64 \(3000000000,\), got",
    overlapping: "its members claim 1,0..,...,... bytes",
    larger_by_zip64: "its members claim 1,099,511,627,776 bytes",
    outside: "lies outside of the file",
    sparse: "must have at most 67,108,864 bytes, got 5,368,709,120",
    objects: "holds no array of numbers or text",
    records: "holds no array of numbers or text",
    no_width: "holds no array of numbers or text",
    evaluated: "holds no array of numbers or text",
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", KINDS, ids=lambda f: f.__name__)
def test_another_archive_is_refused_at_no_cost(path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(path)
    refused(path, KINDS[spoil])
