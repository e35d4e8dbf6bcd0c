"""Blocks that are whole whatever happens: a kill, a full disk, a damaged file, and two processes at once."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn.files import blocks
from npsnn.files.blocks import MARK, Blocks, TakenError

ARRAYS = [np.arange(12.0).reshape(3, 4), np.array([True, False]), np.arange(5, dtype=np.float32)[::2]]


def written(path: Path, count: int = 3) -> list[int]:
    """A file of so many blocks; where each ends."""
    file, ends = Blocks(path), [0]
    for i in range(count):
        file.append({"i": i, "text": "ä\n"}, [array + i if array.dtype != bool else array for array in ARRAYS])
        ends.append(path.stat().st_size)
    file.close()
    return ends


def test_what_was_written_is_read_bit_by_bit(tmp_path: Path) -> None:
    written(tmp_path / "f")
    file = Blocks(tmp_path / "f")
    assert [(head["i"], head["text"]) for head in file.heads] == [(0, "ä\n"), (1, "ä\n"), (2, "ä\n")]
    for i in (2, 0, 1):
        for found, array in zip(file.arrays(i), ARRAYS, strict=True):
            expected = array if array.dtype == bool else array + i
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    file.append({"i": 3})
    assert file.arrays(3) == []
    file.close()
    again = Blocks(tmp_path / "f")
    assert [head["i"] for head in again.heads] == [0, 1, 2, 3]
    again.close()


def test_a_block_whose_writer_was_killed_is_cut_off(tmp_path: Path) -> None:
    ends = written(tmp_path / "f")
    content = (tmp_path / "f").read_bytes()
    for length in range(len(content) + 1):
        (tmp_path / "torn").write_bytes(content[:length])
        file = Blocks(tmp_path / "torn")
        whole = sum(end <= length for end in ends[1:])
        assert len(file.heads) == whole
        assert (tmp_path / "torn").stat().st_size == ends[whole], "what is torn could come to life behind a new block"
        file.append({"i": "new"}, ARRAYS)
        file.close()
        again = Blocks(tmp_path / "torn")
        assert [head["i"] for head in again.heads] == [*range(whole), "new"]
        np.testing.assert_array_equal(again.arrays(whole)[0], ARRAYS[0])
        again.close()


def test_a_byte_that_was_changed_is_noticed(tmp_path: Path) -> None:
    ends = written(tmp_path / "f")
    content = (tmp_path / "f").read_bytes()
    for place in range(0, len(content), 3):
        (tmp_path / "f").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            file = Blocks(tmp_path / "f")
        except ValueError as error:
            assert place < len(MARK) and "is damaged, or no file of blocks" in str(error)
            continue
        assert len(file.heads) == sum(end <= place for end in ends[1:])
        file.close()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_blocks_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    written(tmp_path / "f")
    before, write, calls = (tmp_path / "f").read_bytes(), os.write, list[int]()

    def full(descriptor: int, content: bytes = b"") -> int:
        calls.append(1)
        if call == "write" and len(calls) == 1:
            return write(descriptor, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    file = Blocks(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=r"cannot write .*f \(No space left on device\)"):
            file.append({"i": 9}, ARRAYS, to_disk=True)
    assert (tmp_path / "f").read_bytes() == before and len(file.heads) == 3
    file.append({"i": 3}, ARRAYS)
    file.close()
    again = Blocks(tmp_path / "f")
    assert [head["i"] for head in again.heads] == [0, 1, 2, 3]
    again.close()


def test_an_interrupt_comes_after_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = signal.signal(signal.SIGINT, signal.default_int_handler), os.write

    def interrupted(descriptor: int, content: bytes) -> int:
        signal.raise_signal(signal.SIGINT)
        return write(descriptor, content[:3])

    file = Blocks(tmp_path / "f")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                file.append({"i": 0}, ARRAYS)
    finally:
        signal.signal(signal.SIGINT, before)
    file.close()
    again = Blocks(tmp_path / "f")
    assert [head["i"] for head in again.heads] == [0]
    again.close()


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_a_file_is_one_process_s_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from npsnn.files.blocks import Blocks\n"
        "file = Blocks(Path(sys.argv[1])); print('there', flush=True); input()\n"
    )
    pipe = subprocess.PIPE
    program = [sys.executable, "-c", code, str(tmp_path / "f")]
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "there\n"
        with pytest.raises(TakenError, match=r"f is in use, by another process"):
            Blocks(tmp_path / "f")
        other.kill()
    file = Blocks(tmp_path / "f")
    with pytest.raises(TakenError):
        Blocks(tmp_path / "f")
    file.remove()
    assert not (tmp_path / "f").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_what_is_no_file_of_blocks_is_refused_and_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a plain file"):
        Blocks(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*folder"):
        Blocks(tmp_path / "folder")
    (tmp_path / "text").write_text("a letter")
    with pytest.raises(ValueError, match=r"text is damaged, or no file of blocks"):
        Blocks(tmp_path / "text")
    assert (tmp_path / "text").read_text() == "a letter"


@pytest.mark.parametrize(
    ("form", "packed"),
    [
        (["<f8", 3], zlib.compress(bytes(16))),
        (["<f8", 1], zlib.compress(bytes(1 << 20))),
        (["<f8", 1 << 40], zlib.compress(bytes(16))),
        (["|O", 1], zlib.compress(bytes(8))),
        (["<f8", -1], zlib.compress(b"")),
        (["no type", 1], zlib.compress(b"")),
        ([], b""),
        ({"a": 1}, b""),
        (["<f8", 1], b"no zlib"),
    ],
)
def test_arrays_that_are_not_as_the_block_says_are_refused(tmp_path: Path, form: Any, packed: bytes) -> None:
    head = json.dumps({"arrays": [form]}).encode()
    digest = blocks._digest(head + packed)
    (tmp_path / "f").write_bytes(struct.pack("<4sIQ16s", MARK, len(head), len(packed), digest) + head + packed)
    file = Blocks(tmp_path / "f")
    with pytest.raises(ValueError, match=r"f, block 0, is damaged: "):
        file.arrays(0)
    file.close()
