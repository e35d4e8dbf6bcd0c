import errno
import gzip
import hashlib
import math
import os
import re
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from npsnn.files import TEMPORARY, check_digest, read_bytes, read_content, replacing, write_atomic
from npsnn.files.json_files import read_json, read_lines, write_json
from npsnn.files.npz import write_npz


def test_content_of_plain_and_gzip_files(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"content"))
    assert read_content(tmp_path / "a", 99) == read_content(tmp_path / "a.gz", 99) == b"content"


def damaged(packed):
    """The gzip file with one byte of its checksum changed."""
    return packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]


PACKED = gzip.compress(bytes(range(256)) * 40, mtime=0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\x08\x03", "is not a gzip file: expected it to begin with bytes 1f 8b, got 00 00"),
        (b"\x1f", "is not a gzip file: expected it to begin with bytes 1f 8b, got 1f"),
        (PACKED[:-9], f"is a truncated gzip file: its end is missing after {len(PACKED) - 9} bytes"),
        (PACKED[:5], "is a truncated gzip file"),
        (damaged(PACKED), "is a damaged gzip file: Error -3 while decompressing data: incorrect data check"),
        (PACKED[:30] + b"\xff" * 20 + PACKED[50:], "is a damaged gzip file"),
    ],
)
def test_bad_gzip_is_one_line_with_the_files_name(tmp_path, raw, message):
    path = tmp_path / "x.gz"
    path.write_bytes(raw)
    with pytest.raises(ValueError) as caught:
        read_content(path, 1 << 20)
    assert str(caught.value).startswith(f"{path} {message}") and "\n" not in str(caught.value)


def test_digest_returned_or_both_named():
    digest = sha256(b"good").hexdigest()
    assert check_digest(b"good", digest, "f", "r") == digest
    with pytest.raises(ValueError) as caught:
        check_digest(b"bad", digest, "the/file", "fetch again")
    text = str(caught.value)
    assert text.startswith("the/file has the wrong content") and text.endswith(": fetch again") and "\n" not in text
    assert digest[:12] in text and sha256(b"bad").hexdigest()[:12] in text and digest not in text


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_digest_of_an_open_file_is_that_of_its_rest(tmp_path, algorithm):
    (tmp_path / "f").write_bytes(b"skip" + b"good")
    digest = hashlib.new(algorithm, b"good").hexdigest()
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        assert check_digest(file, digest, "f", "r", algorithm) == digest
    assert check_digest(b"good", digest, "f", "r", algorithm) == digest
    kind = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
    with pytest.raises(ValueError, match=f"^f has the wrong content: expected {kind} {digest[:12]}"):
        check_digest(b"bad", digest, "f", "r", algorithm)


def test_replacing_makes_the_folder_and_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with replacing(tmp_path / "c" / "d" / "file") as file:
        file.write(b"x")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["file", "file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_and_no_other_on_failure(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(path) as file:
        file.write(b"new")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


def test_replacing_syncs_the_file_before_it_renames_and_the_folder_after(tmp_path, monkeypatch):
    path, seen, real = tmp_path / "file", [], os.fsync

    def fsync(descriptor):
        about = os.fstat(descriptor)
        seen.append((stat.S_ISDIR(about.st_mode), about.st_ino, path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as file:
        file.write(b"12345")
    assert seen == [(False, path.stat().st_ino, False), (True, tmp_path.stat().st_ino, True)]


def test_threads_write_one_file_without_an_error(tmp_path):
    path = tmp_path / "last.npz"
    contents = [bytes([i]) * 5000 for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: write_atomic(path, contents[i % 8]), range(200)))
    assert path.read_bytes() in contents and list(tmp_path.iterdir()) == [path]


def test_a_planted_link_is_neither_followed_nor_removed(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "runs" / "config.json"
    victim.write_bytes(b"mine")
    path.parent.mkdir()
    planted = [f".{path.name}.{os.getpid()}.tmp", ".npsnn-0123456789abcdef.tmp"]
    for name in planted:
        path.with_name(name).symlink_to(victim)
    write_atomic(path, b"new")
    assert victim.read_bytes() == b"mine" and path.read_bytes() == b"new"
    assert all(path.with_name(name).is_symlink() for name in planted)


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    """The writer of one file is killed, that of another is at work: only the first one's leavings go."""
    path, others = tmp_path / "best.npz", [".npsnn-notes.tmp", ".npsnn-0123456789abcdef.tmp.old"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    code = (
        "import os, sys; from pathlib import Path; from npsnn.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    (left,) = {p.name for p in tmp_path.iterdir()} - set(others)
    assert TEMPORARY.fullmatch(left)
    with replacing(path) as file:
        file.write(b"slow")
        write_atomic(tmp_path / "last.npz", b"quick")
        assert not (tmp_path / left).exists()
    assert path.read_bytes() == b"slow"
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "last.npz", *others}


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["fsync", "write", "arrays"])
def test_a_full_disk_is_told_with_the_files_name_and_the_way_on(tmp_path, monkeypatch, when):
    path = tmp_path / "file"
    with pytest.raises(OSError) as caught:
        if when == "arrays":
            monkeypatch.setattr(zipfile._ZipWriteFile, "write", full)
            with replacing(path) as file:
                write_npz(file, x=np.ones(3))
        elif when == "fsync":
            monkeypatch.setattr(os, "fsync", full)
            write_atomic(path, b"new")
        else:
            with replacing(path) as file:
                full(file)
    assert str(caught.value) == f"cannot write {path} (No space left on device): free some space there, or choose " + (
        "another folder"
    )
    assert caught.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
@pytest.mark.parametrize("writes", ["write_atomic(path, b'1' * 5000)", "append(path, {'x': '1' * 5000})"])
def test_a_file_that_may_not_grow_is_named(tmp_path, writes):
    code = (
        "import resource, sys; from pathlib import Path; from npsnn.files import write_atomic\n"
        "from npsnn.files.journal import append\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); path = Path(sys.argv[1])\n"
        f"try: {writes}\nexcept OSError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], check=True, capture_output=True, text=True)
    assert said.stdout.startswith(f"cannot write {tmp_path / 'f'} (File too large): free some space there")


def test_errors_of_the_block_stay_what_they_are(tmp_path):
    for error in (ConnectionError("the connection closed"), FileNotFoundError(2, "No such file", "other")):
        with pytest.raises(type(error)) as caught, replacing(tmp_path / "file"):
            raise error
        assert caught.value is error


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "config.json"
    with pytest.raises(OSError, match=f"cannot write {re.escape(str(path))}"):
        write_atomic(path, b"new")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_replacing_lets_others_read_as_the_umask_says(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "file") as file:
        file.write(b"x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")}
    assert len(modes) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    path = tmp_path / "metrics.jsonl"
    os.mkfifo(path)
    found = []

    def read():
        with pytest.raises(ValueError) as caught:
            read_lines(path)
        found.append(str(caught.value))

    reader = Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert found == [f"{path} must be a plain file, got a pipe"]


def test_a_pipe_is_read_where_a_shell_may_make_one(tmp_path):
    ours, theirs = os.pipe()
    os.write(theirs, b"x" * 50)
    os.close(theirs)
    try:
        assert read_bytes(Path(f"/dev/fd/{ours}"), 50, pipes=True) == b"x" * 50
    finally:
        os.close(ours)
    with pytest.raises(ValueError, match=r"/dev/zero must have at most 50 bytes, got more"):
        read_bytes(Path("/dev/zero"), 50, pipes=True)


def test_a_name_that_was_guessed_is_not_written_to(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    (tmp_path / f".npsnn-{'0' * 16}.tmp").symlink_to(victim)
    with pytest.raises(OSError, match="cannot write"):
        write_atomic(tmp_path / "config.json", b"new")
    assert victim.read_bytes() == b"mine" and not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("one", [b'{"a":', b"["])
def test_deep_documents_are_refused_at_once(tmp_path, one):
    """Where Python itself can still read them, whatever walks through them could not."""
    path, end = tmp_path / "config.json", {b'{"a":': b"}", b"[": b"]"}[one]
    for deep, fits in ((90, True), (110, False), (900, False)):
        path.write_bytes(b'{"x":' + one * deep + b"1" + end * deep + b"}")
        if fits:
            assert read_json(path)["x"]
        else:
            with pytest.raises(ValueError, match=r"config\.json must not hold .* more than 100 deep"):
                read_json(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"lr": 1e400}', "it holds 1e400"),
        ('{"data": [{"a": -1e999}]}', "it holds -1e999"),
        ('{"a": NaN}', "it holds NaN"),
        ('{"epochs": 1, "epochs": 3}', "it holds 'epochs' twice"),
        ('{"train": {"sigma": 1, "lr": 2, "sigma": 1}}', "it holds 'sigma' twice"),
    ],
)
def test_documents_that_would_come_back_as_others_are_refused(tmp_path, text, what):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"config.json is not JSON: {what}"):
        read_json(path)


@pytest.mark.parametrize("number", [math.nan, math.inf, np.float32(1)])
def test_what_could_not_be_read_is_not_written(tmp_path, number):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1e300})
    with pytest.raises(ValueError, match=r"config\.json must hold JSON: .*not JSON"):
        write_json(path, {"start": {"accuracy": number}})
    assert read_json(path) == {"a": 1e300}
