"""Missing and corrupt data at the command line: one line that names the file, and nothing is begun."""

import gzip
from pathlib import Path
from types import SimpleNamespace

import pytest
from calling import Npsnn

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
