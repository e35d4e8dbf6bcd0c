import gzip
import hashlib
import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from npsnn.data.files import check_digest, data_folder, read_content, replacing


def test_folder_precedence(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NPSNN_DATA", str(tmp_path / "env"))
    assert data_folder(tmp_path / "arg") == tmp_path / "arg"
    assert data_folder(Path("~/mine")) == tmp_path / "home/mine"
    assert data_folder() == tmp_path / "env"
    monkeypatch.setenv("NPSNN_DATA", "")
    assert data_folder() == tmp_path / "xdg/npsnn"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert data_folder() == tmp_path / "home/.cache/npsnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("NPSNN_DATA")
    assert data_folder() == tmp_path / "home/.cache/npsnn"


def test_content_of_plain_and_gzip_files(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"content"))
    assert read_content(tmp_path / "a") == read_content(tmp_path / "a.gz") == b"content"


def damaged(packed):
    """The gzip file with one byte of its checksum changed."""
    return packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]


PACKED = gzip.compress(bytes(range(256)) * 40)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\x08\x03", "is not a gzip file: expected it to begin with bytes 1f 8b, got 00 00"),
        (b"\x1f", "is not a gzip file: expected it to begin with bytes 1f 8b, got 1f"),
        (PACKED[:-9], f"is a truncated gzip file: its end is missing after {len(PACKED) - 9} bytes"),
        (PACKED[:5], "is a truncated gzip file"),
        (damaged(PACKED), "is a damaged gzip file: CRC check failed"),
        (PACKED[:30] + b"\xff" * 20 + PACKED[50:], "is a damaged gzip file"),
    ],
)
def test_bad_gzip_is_one_line_with_the_files_name(tmp_path, raw, message):
    path = tmp_path / "x.gz"
    path.write_bytes(raw)
    with pytest.raises(ValueError) as caught:
        read_content(path)
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


def test_replacing_syncs_before_it_renames(tmp_path, monkeypatch):
    path, seen, real = tmp_path / "file", [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append((os.fstat(fd).st_size, path.exists())), real(fd)))
    with replacing(path) as file:
        file.write(b"12345")
    assert seen == [(5, False)]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_replacing_lets_others_read_as_the_umask_says(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "file") as file:
        file.write(b"x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")}
    assert len(modes) == 1
