"""CIFAR-10 straight from its archives, whatever these hold, and the fetching of them."""

import gzip
import tarfile
from dataclasses import replace

import pytest
from cifar_files import ARCHIVES, archive

from npsnn import data
from npsnn.data import cifar, load


@pytest.mark.parametrize("kind", ["py", "bin"])
def test_another_archive_is_refused_unless_asked_for(cifar_small, kind):
    path = cifar_small.put(kind, packed=True, other=b"one more file")
    cifar_small.refused(f"{path} has the wrong content: expected SHA-256 ")
    assert load("cifar10-unverified", cifar_small.folder).digests == cifar_small.digests


@pytest.mark.parametrize("kind", ["py", "bin"])
def test_the_digest_of_an_archive_vouches_for_its_files(cifar_small, monkeypatch, kind):
    spec = cifar.SETS["cifar10"]
    versions = tuple(replace(version, digests=dict.fromkeys(version.digests, "0")) for version in spec.versions)
    monkeypatch.setitem(cifar.SETS, "cifar10", replace(spec, versions=versions))
    cifar_small.put(kind, packed=True)
    assert load("cifar10", cifar_small.folder).digests == cifar_small.digests
    cifar_small.put(kind)
    cifar_small.refused("has the wrong content")


@pytest.mark.parametrize("name", ["cifar10", "cifar10-unverified"])
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_pickles_are_named(cifar_small, tmp_path, name, packed):
    command = f"touch {tmp_path / 'done'}".encode()
    hostile = b"\x80\x02}U\x04datacos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85Rs."
    path = cifar_small.put("py", packed, data_batch_5=hostile)
    if packed and name == "cifar10":
        cifar_small.refused(f"{path} has the wrong content")  # not even opened
    else:
        cifar_small.refused(f"{path}", "data_batch_5 asks for 'os.system'", "hostile", name=name)
    assert not (tmp_path / "done").exists()


def packed_as(cifar_small, content):
    cifar_small.folder.mkdir()
    (cifar_small.folder / ARCHIVES["bin"]).write_bytes(content)


@pytest.mark.parametrize("cut", [0, 1, 9, 15, 200, 5000, 300_000, -1, -9])
def test_truncated_archives(cifar_small, cut):
    packed_as(cifar_small, (cifar_small.source / ARCHIVES["bin"]).read_bytes()[:cut])
    cifar_small.refused("has the wrong content")
    cifar_small.refused(ARCHIVES["bin"], name="cifar10-unverified")


@pytest.mark.parametrize("cut", [1, 700, 2000, 100_000, -30_000])
def test_truncated_tar_in_a_sound_gzip_file(cifar_small, cut):
    tar = gzip.decompress((cifar_small.source / ARCHIVES["bin"]).read_bytes())
    packed_as(cifar_small, gzip.compress(tar[:cut]))
    cifar_small.refused(f"{ARCHIVES['bin']} is no sound archive of CIFAR-10", name="cifar10-unverified")


@pytest.mark.parametrize("where", [3000, -6])
def test_damaged_archives(cifar_small, where):
    content = bytearray((cifar_small.source / ARCHIVES["bin"]).read_bytes())
    content[where] ^= 255
    packed_as(cifar_small, content)
    cifar_small.refused(ARCHIVES["bin"], name="cifar10-unverified")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"<html>not found</html>",
            "is no sound archive of CIFAR-10: Error -3",
        ),
        (gzip.compress(b"<html>not found</html>" * 50, mtime=0), "is no sound archive of CIFAR-10"),
        (gzip.compress(bytes(50_000), mtime=0), "it holds no cifar-10-batches-bin/data_batch_1.bin"),
        (gzip.compress(bytes(5_000_000), mtime=0), "it unpacks to more than it may"),
        (archive("cifar-10-batches-bin", {}), "it holds no cifar-10-batches-bin/data_batch_1.bin, "),
    ],
)
def test_files_that_are_no_archives(cifar_small, content, said):
    packed_as(cifar_small, content)
    cifar_small.refused(ARCHIVES["bin"], said, name="cifar10-unverified")


def link(name, target="/etc/hostname"):
    entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry, b""


def sized(name, size, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry, bytes(size)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (link("data_batch_1.bin"), "data_batch_1.bin is no plain file of at most 61460 bytes"),
        (sized("cifar-10-batches-bin/data_batch_1.bin", 61461), "no plain file of at most 61460 bytes"),
        (sized("cifar-10-batches-bin/data_batch_1.bin", 61459), "data_batch_1.bin must have 61460 bytes"),
        (sized("another", 5_000_000), "unpacks to more than it may"),
        (sized("long", 5_000_000, tarfile.GNUTYPE_LONGNAME), "unpacks to more than it may"),
        (sized("long", 5_000_000, tarfile.XHDTYPE), "unpacks to more than it may"),
    ],
    ids=["link", "too long", "too short", "large other member", "large name", "large header"],
)
def test_odd_members(cifar_small, member, said):
    entry, content = member
    padded = content + bytes(-len(content) % 512 + 10240)
    packed_as(cifar_small, gzip.compress(entry.tobuf(tarfile.USTAR_FORMAT) + padded))
    cifar_small.refused(said, name="cifar10-unverified")


def test_members_of_other_folders_are_not_read(cifar_small):
    packed_as(cifar_small, archive("elsewhere/cifar-10-batches-bin", cifar_small.contents["bin"]))
    cifar_small.refused("it holds no cifar-10-batches-bin/data_batch_1.bin", name="cifar10-unverified")


def test_fetch_gets_the_binary_archive_once(cifar_small):
    calls = []
    for _ in range(2):
        assert data.fetch("cifar10", cifar_small.folder, lambda *call: calls.append(call)) == cifar_small.folder
    size = (cifar_small.source / ARCHIVES["bin"]).stat().st_size
    assert calls[-1] == (size, size) and len([c for c in calls if c[0] == size]) == 1
    assert [p.name for p in cifar_small.folder.iterdir()] == [ARCHIVES["bin"]]
    assert load("cifar10", cifar_small.folder).digests == cifar_small.digests


@pytest.mark.parametrize("kind", ["py", "bin"])
def test_fetch_replaces_a_wrong_archive_and_keeps_a_sound_folder(cifar_small, kind):
    path = cifar_small.put(kind, packed=True)
    path.write_bytes(path.read_bytes()[:-5])
    data.fetch("cifar10", cifar_small.folder)
    assert path.read_bytes() == (cifar_small.source / ARCHIVES[kind]).read_bytes()
    path.unlink()
    folder = cifar_small.put(kind)
    assert data.fetch("cifar10", cifar_small.folder) == folder
    assert not path.exists()


def test_fetch_leaves_a_wrong_unpacked_file_to_the_user(cifar_small):
    path = cifar_small.put("bin") / "test_batch.bin"
    path.write_bytes(cifar_small.contents["bin"]["data_batch_1.bin"])
    with pytest.raises(
        ValueError, match=r"test_batch\.bin has the wrong content.*: delete it and run 'npsnn data fetch"
    ):
        data.fetch("cifar10", cifar_small.folder)
    path.unlink()
    assert data.fetch("cifar10", cifar_small.folder) == cifar_small.folder
    assert load("cifar10", cifar_small.folder).digests == cifar_small.digests


def test_fetch_of_another_archive_leaves_nothing(cifar_small):
    (cifar_small.source / ARCHIVES["bin"]).write_bytes(archive("cifar-10-batches-bin", {}))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz has the wrong content"):
        data.fetch("cifar10", cifar_small.folder)
    assert list(cifar_small.folder.iterdir()) == []


def test_unverified_files_cannot_be_fetched(cifar_small):
    with pytest.raises(ValueError, match=r"cifar10-unverified is what you put into .* nothing to fetch"):
        data.fetch("cifar10-unverified", cifar_small.folder)
    assert not cifar_small.folder.exists()


def test_a_sparse_archive_is_not_read_to_its_end(cifar_small):
    packed_as(cifar_small, (cifar_small.source / ARCHIVES["bin"]).read_bytes())
    with (cifar_small.folder / ARCHIVES["bin"]).open("r+b") as file:
        file.truncate(1 << 40)
    cifar_small.refused("must have at most", "got 1,099,511,627,776", name="cifar10-unverified")
    cifar_small.refused("must have at most 268,435,456 bytes", name="cifar10")
