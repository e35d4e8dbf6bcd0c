"""A small trained run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from npsnn.cli.main import main


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all commands, so that the digits are drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The tests see neither the user's data nor the user's options."""
    monkeypatch.delenv("NPSNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="session")
def data_dir(cache: Path) -> Path:
    """The data folder of the cache, for commands that run without the variables of these tests."""
    (cache / "npsnn").mkdir(exist_ok=True)  # a command may have been there
    return cache / "npsnn"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A runs folder with a LeNet-5 "small" and a CNN5 "other"; not to be changed."""
    runs = tmp_path_factory.mktemp("runs")
    common = ["--runs-dir", str(runs), "--data-dir", str(data_dir), "--epochs", "1", "--threads", "2"]
    for model, name, limit in (("lenet5", "small", "600"), ("cnn5", "other", "64")):
        with pytest.raises(SystemExit) as end:
            main(["train", "--model", model, "--name", name, "--limit", limit, *common])
        assert not end.value.code
    return runs


@pytest.fixture(autouse=True)
def _unchanged(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves anything in the trained runs."""
    yield
    if "trained" in request.fixturenames:
        trained = request.getfixturevalue("trained")
        left = [path for path in trained.glob("*/*") if path.name in ("attacks.jsonl", "checklist.jsonl", "attacks")]
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert not left, f"the test writes to the trained runs: {left}"


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained runs, to be changed at will."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"
