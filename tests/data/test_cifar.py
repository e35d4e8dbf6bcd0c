import hashlib
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cifar_files import ARCHIVES, COUNT, FOLDERS, NAMES, archive, binary, python2, small_records

from npsnn import data
from npsnn.data import cifar, load


@pytest.mark.parametrize("name", ["cifar10", "cifar10-unverified"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("kind", ["py", "bin"])
def test_every_form_gives_the_same_arrays_and_digests(cifar_small, kind, packed, name):
    target = cifar_small.put(kind, packed)
    loaded = load(name, cifar_small.folder)
    assert (loaded.name, loaded.classes, loaded.image_shape) == (name, 10, (3, 32, 32))
    labels, pixels = (np.concatenate([cifar_small.records[n][i] for n in NAMES]) for i in (0, 1))
    images = pixels.reshape(-1, 3, 32, 32)
    for split, rows in ((loaded.train, slice(100)), (loaded.test, slice(100, 120))):
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.images, images[rows])
        np.testing.assert_array_equal(split.labels, labels[rows])
    assert loaded.digests == cifar_small.digests and list(loaded.digests) == NAMES
    assert (
        data.verify(name, cifar_small.folder) == cifar_small.digests
        and data.status(name, cifar_small.folder) == "present"
    )
    left = [p for p in cifar_small.folder.rglob("*") if p.is_file()]
    assert left == [target] if packed else len(left) == 6  # nothing was unpacked to the disk


def test_planes_are_red_green_blue_row_by_row(cifar_small):
    pixels = cifar_small.records["data_batch_1"][1].copy()
    pixels[4, 2 * 1024 + 5 * 32 + 7] = 200
    cifar_small.put("bin", data_batch_1_bin=binary(cifar_small.records["data_batch_1"][0], pixels))
    assert load("cifar10-unverified", cifar_small.folder).train.images[4, 2, 5, 7] == 200


def test_folders_go_before_archives_and_python_before_binary(cifar_small):
    order = [("py", False), ("bin", False), ("py", True), ("bin", True)]
    for kind, packed in order:
        cifar_small.put(kind, packed)
    for kind, packed in order:
        (best, *_) = cifar.sources(cifar.SETS["cifar10"], cifar_small.folder)
        assert best.path == cifar_small.folder / (ARCHIVES[kind] if packed else FOLDERS[kind])
        if packed:
            best.path.unlink()
        else:
            (best.path / next(iter(cifar_small.contents[kind]))).unlink()
    assert data.status("cifar10", cifar_small.folder) == "incomplete"


def test_a_whole_source_goes_before_an_incomplete_one(cifar_small):
    (cifar_small.put("py") / "test_batch").unlink()
    cifar_small.put("bin", packed=True)
    assert load("cifar10", cifar_small.folder).digests == cifar_small.digests


def test_missing_set_says_what_to_do(cifar_small):
    for name in cifar.SETS:
        with pytest.raises(FileNotFoundError) as caught:
            load(name, cifar_small.folder)
        way = ": run 'npsnn data fetch cifar10', or" if name == "cifar10" else ", and npsnn does not fetch this set:"
        assert str(caught.value) == (
            f"{name} is not in {cifar_small.folder}{way} pass --data-dir or set "
            "NPSNN_DATA to a folder that holds cifar-10-batches-py/, cifar-10-batches-bin/, cifar-10-python.tar.gz or "
            "cifar-10-binary.tar.gz"
        )
        assert data.status(name, cifar_small.folder) == "missing"
    assert not cifar_small.folder.exists()


@pytest.mark.parametrize(("kind", "file"), [("py", "test_batch"), ("bin", "test_batch.bin")])
def test_incomplete_set_names_the_missing_files(cifar_small, kind, file):
    folder = cifar_small.put(kind)
    (folder / file).unlink()
    cifar_small.refused(f"cifar10 is incomplete in {cifar_small.folder} (no {file}): run", error=FileNotFoundError)
    assert data.status("cifar10", cifar_small.folder) == "incomplete"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "algorithm"), [("py", "MD5"), ("bin", "SHA-256")])
def test_another_content_is_refused_unless_asked_for(cifar_small, kind, algorithm, name):
    labels, pixels = cifar_small.records[name]
    pixels = pixels ^ 1
    content = python2(labels, pixels) if kind == "py" else binary(labels, pixels)
    folder = cifar_small.put(kind, **{f"{name}_bin" if kind == "bin" else name: content})
    path = folder / (f"{name}.bin" if kind == "bin" else name)
    cifar_small.refused(f"{path} has the wrong content: expected {algorithm} ", "npsnn data fetch cifar10'")
    cifar_small.refused("or name the set cifar10-unverified to use it as is")
    changed = hashlib.sha256(binary(labels, pixels)).hexdigest()
    assert load("cifar10-unverified", cifar_small.folder).digests == cifar_small.digests | {name: changed}


@pytest.mark.parametrize("name", ["cifar10", "cifar10-unverified"])
@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"\0", lambda c: c[:-3073], lambda c: b""])
def test_files_of_another_length(cifar_small, name, change):
    content = change(cifar_small.contents["bin"]["data_batch_3.bin"])
    folder = cifar_small.put("bin", data_batch_3_bin=content)
    wanted = f"must have 61460 bytes, 20 records of 3073, got {len(content)}"
    cifar_small.refused(f"{folder / 'data_batch_3.bin'} {wanted}", name=name)


@pytest.mark.parametrize("name", ["cifar10", "cifar10-unverified"])
def test_labels_out_of_range(cifar_small, name):
    labels, pixels = cifar_small.records["test_batch"]
    folder = cifar_small.put("bin", test_batch_bin=binary([10, *labels[1:]], pixels))
    cifar_small.refused(f"{folder / 'test_batch.bin'} must hold labels 0 to 9, got 10", name=name)
    folder = cifar_small.put("py", test_batch=python2([255, *labels[1:]], pixels))
    cifar_small.refused(f"{folder / 'test_batch'} must hold labels 0 to 9, got 255", name=name)


def test_unbalanced_classes(cifar_small):
    labels, pixels = cifar_small.records["data_batch_1"]
    path = cifar_small.put("bin", data_batch_1_bin=binary(np.where(labels == 3, 4, labels), pixels))
    wanted = f"{path} must hold 10 training images of each class, got {10 - np.sum(labels == 3)} of class 3"
    cifar_small.refused(wanted, name="cifar10-unverified")
    path = cifar_small.put("bin", test_batch_bin=binary(np.zeros(COUNT, int), pixels))
    cifar_small.refused("2 test images of each class, got 20 of class 0", name="cifar10-unverified")


def test_the_real_digests_have_the_right_form():
    for spec in cifar.SETS.values():
        assert [version.folder for version in spec.versions] == list(FOLDERS.values())
        assert [version.archive for version in spec.versions] == list(ARCHIVES.values())
        for version, length in zip(spec.versions, (32, 64), strict=True):
            assert list(version.digests) == NAMES and len(version.sha256) == 64
            assert {len(digest) for digest in version.digests.values()} == {length}
            assert len(set(version.digests.values())) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "packed", "files"), [("bin", False, 2.5), ("bin", True, 3.5), ("py", False, 6)])
def test_memory_stays_near_that_of_the_arrays(tmp_path, kind, packed, files):
    """The arrays take what the six files do; beside them, one file at a time is in work, in a few copies."""
    count, write = 1000, {"bin": binary, "py": python2}[kind]
    names = {name: f"{name}.bin" if kind == "bin" else name for name in NAMES}
    contents = {names[name]: write(*batch) for name, batch in small_records(count).items()}
    if packed:
        (tmp_path / ARCHIVES[kind]).write_bytes(archive(FOLDERS[kind], contents))
    else:
        (tmp_path / FOLDERS[kind]).mkdir()
        for name, content in contents.items():
            (tmp_path / FOLDERS[kind] / name).write_bytes(content)
    spec = replace(cifar.SETS["cifar10-unverified"], count=count)
    tracemalloc.start()
    cifar.load(spec, tmp_path)
    peak = tracemalloc.get_traced_memory()[1] / (count * 3073)
    tracemalloc.stop()
    assert 6 <= peak < 6 + files, peak


def test_the_real_files():
    """Official ones, or such as were decoded from JPEG, of which the content is not known but near."""
    if not os.environ.get("NPSNN_DATA"):
        pytest.skip("NPSNN_DATA is not set: no real CIFAR-10 to read")
    folder = Path(os.environ["NPSNN_DATA"])
    if data.status("cifar10", folder) != "present":
        pytest.skip(f"cifar10 is not in NPSNN_DATA ({folder})")
    loaded = load("cifar10-unverified", folder)
    assert loaded.train.images.shape == (50_000, 3, 32, 32) and loaded.test.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(loaded.train.labels).tolist() == [5000] * 10
    assert np.bincount(loaded.test.labels).tolist() == [1000] * 10
    # Published figures of the official pixels; JPEG's colours spread a little less.
    mean, spread = (f(loaded.train.images, axis=(0, 2, 3)) / 255 for f in (np.mean, np.std))
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=1e-3)
    np.testing.assert_allclose(spread, [0.2470, 0.2435, 0.2616], atol=2.5e-3)
    if loaded.digests == cifar.SETS["cifar10"].versions[1].digests:
        assert data.verify("cifar10", folder) == loaded.digests
    else:
        with pytest.raises(ValueError, match="has the wrong content"):
            load("cifar10", folder)
