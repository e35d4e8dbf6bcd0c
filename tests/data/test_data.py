import pytest

from npsnn import data


@pytest.mark.parametrize("call", [data.load, data.fetch, data.verify, data.status, data.describe, data.caveat])
def test_unknown_name_lists_the_choices(call):
    with pytest.raises(ValueError) as caught:
        call("cifar")
    names = "digits, mnist, fashion-mnist, cifar10, cifar10-unverified, svhn, kmnist, emnist-letters, "
    names += "emnist-balanced, emnist-digits, emnist-mnist, emnist-bymerge, emnist-byclass"
    assert str(caught.value) == f"data set must be one of {names}, or a path, got 'cifar'; did you mean cifar10?"


def test_public_names_exist():
    assert data.NAMES[:6] == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar10-unverified", "svhn")
    assert all(hasattr(data, name) for name in data.__all__)


@pytest.mark.parametrize("name", data.NAMES)
def test_description_is_one_line(name):
    assert data.describe(name) and "\n" not in data.describe(name)


def test_only_files_of_unknown_content_have_a_caveat():
    assert [name for name in data.NAMES if data.caveat(name)] == list(data.UNVERIFIED)
    assert "nothing says whether these are the official files" in str(data.caveat("cifar10-unverified"))


def test_status(small):
    assert data.status("digits", small.folder) == "built in"
    assert data.status("mnist", small.folder) == "present"
    for name in data.NAMES[2:]:
        assert data.status(name, small.folder) == "missing"
    next(small.raw.iterdir()).unlink()
    assert data.status("mnist", small.folder) == "incomplete"


def test_verify_gives_the_digests_or_raises(small, write):
    assert data.verify("mnist", small.folder) == small.digests
    write("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x14" + bytes(20))
    with pytest.raises(ValueError, match="wrong content"):
        data.verify("mnist", small.folder)


def test_folder_comes_from_the_environment(small, monkeypatch):
    monkeypatch.setenv("NPSNN_DATA", str(small.folder))
    assert data.load("mnist").digests == small.digests
    assert data.status("mnist") == "present"
    assert data.fetch("mnist") == small.raw


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_verify_the_real_files(real_data, name):
    assert len(data.verify(name, real_data)) == 4 and data.status(name, real_data) == "present"
