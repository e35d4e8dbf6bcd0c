"""A leading ~ is a home directory, for the commands and for the library."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from calling import Npsnn

from npsnn import Classifier, data, train
from npsnn.data import Dataset, Split
from npsnn.files.paths import user_path

RUN = train.Config(epochs=1, batch_size=16)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (24, 1, 28, 28), np.uint8), rng.integers(0, 10, 24))
    return Dataset("digits", split, split, 10, {})


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The home directory, and another folder to be in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


@pytest.fixture
def homeless(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where HOME is not set and the user has no entry in /etc/passwd."""

    def unknown(path: object) -> str:
        return str(path)

    monkeypatch.setattr("os.path.expanduser", unknown)


def test_the_library_takes_home_directories(home: Path, digits: Dataset) -> None:
    list(train.fit(RUN, digits, "~/runs/mine", threads=1))
    assert {p.name for p in (home / "runs" / "mine").iterdir()} >= {"config.json", "last.npz"}
    assert list(train.resume("~/runs/mine", digits, threads=1)) == []
    for network in (Classifier.load("~/runs/mine"), Classifier.load("mine", runs_dir="~/runs")):
        assert network.sigma == RUN.sigma
    with pytest.raises(FileNotFoundError, match="data fetch mnist"):
        data.load("mnist", "~/sets")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_every_option_with_a_path_takes_home_directories(npsnn: Npsnn, home: Path, digits: Dataset) -> None:
    list(train.fit(RUN, digits, home / "runs" / "mine", threads=1))
    (home / "options.toml").write_text("[evaluate]\nruns-dir = '~/runs'\n")
    evaluate = ("evaluate", "--limit", 2, "--other-data", "--data-dir", "~/sets")
    for where in (("mine", "--runs-dir", "~/runs"), ("~/runs/mine",), ("--config", "~/options.toml")):
        outcome = npsnn(*evaluate, *where)
        assert outcome.code == 0 and str(home / "runs" / "mine") in outcome.out, outcome
    outcome = npsnn(
        "attack",
        "~/runs/mine",
        "--fgsm",
        "--limit",
        2,
        "--other-data",
        "--data-dir",
        "~/sets",
        "--save",
        "~/images.npz",
    )
    assert outcome.code == 0, outcome
    assert npsnn("audit", "N20", "--markdown", "~/report.md").code == 0
    assert (home / "images.npz").exists() and (home / "report.md").exists() and (home / "sets" / "digits").is_dir()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_variables_of_the_environment_take_them_too(
    npsnn: Npsnn, home: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train.fit(RUN, digits, home / "runs" / "mine", threads=1))
    monkeypatch.setenv("NPSNN_EVALUATE_RUNS_DIR", "~/runs")
    monkeypatch.setenv("NPSNN_DATA", "~/sets")
    outcome = npsnn("evaluate", "--limit", 2, "--other-data")
    assert outcome.code == 0 and str(home / "runs" / "mine") in outcome.out
    assert (home / "sets" / "digits").is_dir()


@pytest.mark.slow
def test_a_run_may_be_called_so(home: Path, digits: Dataset, npsnn: Npsnn) -> None:
    list(train.fit(RUN, digits, home / "runs" / "mine", threads=1))
    shutil.move(home / "runs" / "mine", home / "runs" / "~nobody-of-this-name")
    assert npsnn("evaluate", "~nobody-of-this-name", "--runs-dir", "~/runs", "--limit", 2, "--other-data").code == 0
    assert user_path("a/~") == Path("a/~")


@pytest.mark.usefixtures("homeless")
def test_an_unknown_home_directory_is_named(npsnn: Npsnn, digits: Dataset) -> None:
    for path in ("~/x", "~nobody/x"):
        with pytest.raises(ValueError, match=rf"there is no home directory for {path}: set HOME, or write the whole"):
            train.fit(RUN, digits, path)
        for option in ("--runs-dir", "--data-dir", "--config"):
            line = npsnn("evaluate", option, path).error_line(2)
            assert f"no home directory for {path}" in line and option in line
        assert f"no home directory for {path}" in npsnn("evaluate", path).error_line(1)
