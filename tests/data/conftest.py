"""Small sets in the place of MNIST and CIFAR-10, so that every path through the reader runs in milliseconds."""

import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cifar_files import ARCHIVES, COUNT, FOLDERS, NAMES, archive, binary, python2, small_records

from npsnn import data
from npsnn.data import cifar, idx


def idx_bytes(array):
    """uint8 array -> the content of an IDX file, written independently of the reader."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def small_contents():
    rng = np.random.default_rng(5)
    arrays = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        arrays[f"{prefix}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    return arrays


@pytest.fixture
def small(monkeypatch, tmp_path):
    """mnist, replaced by 30 + 20 images whose .gz files lie in `folder`; `source` holds a copy to download."""
    arrays = small_contents()
    contents = {name: idx_bytes(array) for name, array in arrays.items()}
    folder, source = tmp_path / "data", tmp_path / "source"
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    source.mkdir()
    for name, content in contents.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        (source / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    spec = replace(idx.SETS["mnist"], url=f"{source.as_uri()}/", digests=digests)
    monkeypatch.setitem(idx.SETS, "mnist", spec)
    return SimpleNamespace(folder=folder, source=source, raw=raw, arrays=arrays, contents=contents, digests=digests)


@pytest.fixture
def write(small):
    """write(name, array or bytes): the file in the data folder now has this content, gzipped."""

    def put(name, content):
        content = content if isinstance(content, bytes) else idx_bytes(content)
        (small.raw / f"{name}.gz").write_bytes(gzip.compress(content))

    return put


@pytest.fixture
def encode():
    return idx_bytes


@pytest.fixture
def cifar_small(monkeypatch, tmp_path):
    """cifar10, replaced by 6 files of 20 images; put(kind, packed) writes them, `source` has the archives to fetch."""
    records, folder, source = small_records(), tmp_path / "data", tmp_path / "source"
    contents = {
        "py": {name: python2(*records[name]) for name in NAMES},
        "bin": {f"{name}.bin": binary(*records[name]) for name in NAMES},
    }
    archives = {kind: archive(FOLDERS[kind], files) for kind, files in contents.items()}
    source.mkdir()
    for kind, packed in archives.items():
        (source / ARCHIVES[kind]).write_bytes(packed)
    versions = []
    for kind, version in zip(("py", "bin"), cifar.SETS["cifar10"].versions, strict=True):
        digests = {n.removesuffix(".bin"): hashlib.new(version.algorithm, c) for n, c in contents[kind].items()}
        digests = {name: digest.hexdigest() for name, digest in digests.items()}
        sha256 = hashlib.sha256(archives[kind]).hexdigest()
        versions.append(replace(version, digests=digests, sha256=sha256))
    for name, spec in cifar.SETS.items():
        spec = replace(spec, url=f"{source.as_uri()}/", count=COUNT, versions=tuple(versions))
        monkeypatch.setitem(cifar.SETS, name, spec)

    def put(kind, packed=False, **others):
        target = folder / (ARCHIVES[kind] if packed else FOLDERS[kind])
        (folder if packed else target).mkdir(parents=True, exist_ok=True)
        files = contents[kind] | {name.replace("_bin", ".bin"): content for name, content in others.items()}
        if packed:
            target.write_bytes(archive(FOLDERS[kind], files) if others else archives[kind])
        else:
            for name, content in files.items():
                (target / name).write_bytes(content)
        return target

    def refused(*said, name="cifar10", error=ValueError):
        """Loading ends with one line of error in which all of this is said."""
        with pytest.raises(error) as caught:
            data.load(name, folder)
        text = str(caught.value)
        assert "\n" not in text and all(str(s) in text for s in said), text

    digests = {name: hashlib.sha256(contents["bin"][f"{name}.bin"]).hexdigest() for name in NAMES}
    return SimpleNamespace(
        folder=folder, source=source, records=records, contents=contents, put=put, digests=digests, refused=refused
    )


@pytest.fixture
def real_data():
    """The folder $NPSNN_DATA with the real data sets; the test is skipped where there is none."""
    if not os.environ.get("NPSNN_DATA"):
        pytest.skip("NPSNN_DATA is not set: no real MNIST to read")
    folder = Path(os.environ["NPSNN_DATA"])
    for spec in (idx.SETS[name] for name in ("mnist", "fashion-mnist")):
        if len(idx.find(spec, folder)) < 4:
            pytest.skip(f"{spec.name} is not in NPSNN_DATA ({folder})")
    return folder
