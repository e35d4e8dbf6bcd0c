from pathlib import Path

import pytest

from npsnn import data
from npsnn.data import digits
from npsnn.data.folder import data_folder


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


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local"), ("freebsd14", ".cache")],
)
def test_the_default_is_the_platforms_cache_folder(monkeypatch, tmp_path, platform, folder):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NPSNN_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    assert data_folder() == tmp_path / folder / "npsnn"
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "mine"))
    assert data_folder() == tmp_path / ("mine" if platform == "win32" else folder) / "npsnn"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home directory, as in some containers."""
    for name in ("NPSNN_DATA", "XDG_CACHE_HOME", "HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.usefixtures("homeless")
def test_digits_need_no_home(monkeypatch):
    monkeypatch.setattr(digits, "SIZES", {"train": 60, "test": 20})
    assert len(data.load("digits").train) == 60
    assert len(data.verify("digits")) == 4
    assert data.status("digits") == "built in" and data.status("mnist") == "missing"


@pytest.mark.usefixtures("homeless")
def test_other_sets_say_what_they_need(tmp_path, npsnn):
    for read in (data.load, data.fetch, data.verify):
        with pytest.raises(ValueError, match=r"no home directory .* pass --data-dir or set NPSNN_DATA"):
            read("mnist")
    with pytest.raises(ValueError, match="no home directory"):
        data_folder("~/mine")
    with pytest.raises(FileNotFoundError, match="run 'npsnn data fetch mnist'"):
        data.load("mnist", tmp_path)
    for command in (("data", "list"), ("info",)):
        outcome = npsnn(*command)
        assert outcome.code == 0 and "no home directory" in outcome.out + outcome.err
