"""Missing and corrupt data at the command line: one line that names the file, and nothing is begun."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from calling import Npsnn
from cifar_files import COUNT, binary, small_records

from npsnn import data
from npsnn.data import cifar

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def truncated(small: SimpleNamespace) -> None:
    path = small.raw / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-200])


def no_gzip(small: SimpleNamespace) -> None:
    (small.raw / f"{IMAGES}.gz").write_bytes(b"<html>not found</html>")


def wrong_magic(small: SimpleNamespace) -> None:
    (small.raw / f"{IMAGES}.gz").write_bytes(gzip.compress(b"\x00\x00\x0d" + small.contents[IMAGES][3:]))


def count_mismatch(small: SimpleNamespace) -> None:
    (small.raw / f"{LABELS}.gz").write_bytes(gzip.compress(small.contents[LABELS][:-3]))


def wrong_digest(small: SimpleNamespace) -> None:
    content = bytearray(small.contents[IMAGES])
    content[-1] ^= 1
    (small.raw / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(content)))


def missing(small: SimpleNamespace) -> None:
    (small.raw / f"{LABELS}.gz").unlink()


DAMAGE = {
    truncated: (IMAGES, "truncated"),
    no_gzip: (IMAGES, "gzip"),
    wrong_magic: (IMAGES, "magic"),
    count_mismatch: (LABELS, "bytes"),
    wrong_digest: (IMAGES, "SHA-256"),
    missing: (LABELS, "npsnn data fetch mnist"),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damaged_data(npsnn: Npsnn, small: SimpleNamespace, tmp_path: Path, damage: object) -> None:
    damage(small)  # type: ignore[operator]
    file, said = DAMAGE[damage]  # type: ignore[index]
    where = ("--data-dir", small.folder)
    line = npsnn("train", "--dataset", "mnist", *where, "--runs-dir", tmp_path / "runs").error_line(1)
    assert file in line and said in line, line
    assert not (tmp_path / "runs").exists()
    assert file in npsnn("data", "verify", "mnist", *where).error_line(1)


def test_sound_data(npsnn: Npsnn, small: SimpleNamespace) -> None:
    outcome = npsnn("data", "verify", "mnist", "--data-dir", small.folder)
    assert outcome.code == 0
    assert {line.split("/")[1] for line in outcome.out.splitlines()} == set(small.contents)


def test_files_of_unknown_content(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are verified only where they are named, as far as that goes, which is said; and never fetched."""
    where = ("--data-dir", tmp_path)
    for name, spec in cifar.SETS.items():
        monkeypatch.setitem(cifar.SETS, name, replace(spec, count=COUNT))
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, (labels, pixels) in small_records().items():
        (folder / f"{name}.bin").write_bytes(binary(labels, pixels))
    outcome = npsnn("data", "verify", "cifar10-unverified", *where)
    digest = hashlib.sha256((folder / "test_batch.bin").read_bytes()).hexdigest()
    assert outcome.code == 0 and outcome.out.splitlines()[-1] == f"{digest}  cifar10-unverified/test_batch"
    assert outcome.err.startswith("warning: cifar10-unverified: only the sizes") and outcome.err.count("\n") == 1
    line = npsnn("data", "verify", "cifar10", *where).error_line(1)
    assert "data_batch_1.bin has the wrong content" in line and "cifar10-unverified" in line
    assert "nothing to fetch" in npsnn("data", "fetch", "cifar10-unverified", *where).error_line(1)
    (folder / "test_batch.bin").unlink()
    assert "no test_batch.bin" in npsnn("data", "verify", "cifar10", *where).error_line(1)


def test_verify_without_names_leaves_unknown_content_out(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "status", lambda name, data_dir: "present")
    monkeypatch.setattr(data, "verify", lambda name, data_dir: {"file": "0" * 64})
    outcome = npsnn("data", "verify")
    assert [line.split()[1] for line in outcome.out.splitlines()] == [
        f"{name}/file" for name in data.NAMES if name not in data.UNVERIFIED
    ]
    assert outcome.err == ""


def test_list_has_a_line_for_each_set(npsnn: Npsnn, tmp_path: Path) -> None:
    lines = npsnn("data", "list", "--data-dir", tmp_path).out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(data.NAMES)
    starts = {line.index(data.describe(name)) for name, line in zip(data.NAMES, lines[1:], strict=True)}
    assert len(starts) == 1
