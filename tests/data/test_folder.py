from pathlib import Path

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
