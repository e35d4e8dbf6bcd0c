"""`npsnn --plugin`: a user's classes count in every command, in flags, records and other processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from calling import Npsnn
from plugin_files import MINE, forget

pytestmark = pytest.mark.usefixtures("no_plugins")

TRAIN = ("--model", "mine", "--noise", "features", "--limit", 60, "--epochs", 1, "--name", "mine")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.mark.slow
def test_a_plugin_counts_in_every_command(npsnn: Npsnn, mine: Path, tmp_path: Path, data_dir: Path) -> None:
    where = ("--runs-dir", tmp_path / "runs", "--data-dir", data_dir)
    assert "or mine. [default: lenet5]" in " ".join(npsnn("--plugin", mine, "train", "--help").out.split())
    forget()
    trained = npsnn("--plugin", mine, "train", *TRAIN, "--threads", 2, "--json", *where)
    assert trained.code == 0, trained.err
    (plugin,) = json.loads(trained.out)["plugins"]
    assert plugin["name"] == "mine" and len(plugin["sha256"]) == 64
    folder = tmp_path / "runs" / "mine"
    assert json.loads((folder / "config.json").read_text())["plugins"] == [plugin]
    forget()
    attack = ("attack", "mine", "--fgsm", "--eot", 1, "--draws", 1, "--eps", 0.1, "--limit", 4, *where)
    line = npsnn(*attack).error_line(1)
    assert "unknown layer 'Mine'" in line
    assert f"trained with the plugin mine (SHA-256 {plugin['sha256'][:12]}), which is not loaded" in line
    line = npsnn("train", "--resume", "mine", *where).error_line(1)
    assert "got 'mine'" in line and "trained with the plugin mine" in line
    assert npsnn("--plugin", mine, *attack).code == 0
    logged = [json.loads(line) for line in (folder / "attacks.jsonl").read_text().splitlines()]
    assert logged and all(entry["plugins"] == [plugin] for entry in logged)
    forget()
    assert npsnn("--plugin", mine, "train", "--resume", "mine", "--epochs", 2, "--threads", 2, *where).code == 0
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_model_with_noise_of_its_own_needs_no_other_option(npsnn: Npsnn, mine: Path, tmp_path: Path) -> None:
    where = ("--runs-dir", tmp_path / "runs", "--limit", 60, "--epochs", 1)
    assert npsnn("--plugin", mine, "train", "--model", "mine", "--name", "own", *where).code == 0
    spec = json.loads((tmp_path / "runs" / "own" / "config.json").read_text())["spec"]
    noise = {"name": "noise", "type": "PreactivationNoise", "sigma": 0.6, "scope": "scalar", "shared": False}
    assert noise in spec["layers"]
    mine.write_text(MINE.replace('("noise", PreactivationNoise(sigma)), ', ""))
    forget()
    line = npsnn("--plugin", mine, "train", "--model", "mine", "--name", "none", *where).error_line(2)
    assert "--noise must be features or none for mine, which has no noise layer, got preactivation" in line
    assert not (tmp_path / "runs" / "none").exists()


@pytest.mark.slow
def test_another_content_is_warned_of(npsnn: Npsnn, mine: Path, tmp_path: Path, data_dir: Path) -> None:
    where = ("--runs-dir", tmp_path / "runs", "--data-dir", data_dir)
    npsnn("--plugin", mine, "train", *TRAIN, *where)
    forget()
    assert "warning: plugin" not in npsnn("--plugin", mine, "evaluate", "mine", "--limit", 4, *where).err
    mine.write_text(MINE + "# another\n")
    err = npsnn("--plugin", mine, "evaluate", "mine", "--limit", 4, *where).err
    assert err.count("warning: plugin mine has SHA-256 ") == 1


def test_the_variable_names_plugins_as_well(
    npsnn: Npsnn, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "losses.py").write_text(TWICE)
    monkeypatch.setenv("NPSNN_PLUGIN", f"{mine}{os.pathsep}{tmp_path / 'losses.py'}")
    shown = npsnn("train", "--model", "mine", "--noise", "features", "--show")
    assert shown.code == 0 and shown.err == ""


def test_info_names_the_plugins(npsnn: Npsnn, mine: Path) -> None:
    assert "plugins" not in npsnn("info").out
    about = json.loads(npsnn("--plugin", mine, "info", "--json").out)
    (plugin,) = about["plugins"]
    assert plugin["name"] == "mine"
    assert f"mine (SHA-256 {plugin['sha256'][:12]})" in npsnn("--plugin", mine, "info").out


def test_the_help_says_what_a_plugin_becomes(npsnn: Npsnn) -> None:
    told = " ".join(npsnn("--help").out.split())
    assert "its layers, models, losses and attacks become flags and choices of the commands" in told


def test_one_that_enters_nothing_is_warned_of(npsnn: Npsnn, mine: Path) -> None:
    mine.write_text("x = 1\n")
    err = " ".join(npsnn("--plugin", mine, "info").err.split())
    assert err.startswith("warning: ") and "mine.py enters nothing in a table: put @attack" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = (\n", "mine.py, line 2: SyntaxError"),
        ("x = 1\n1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("from npsnn.models.base import model\nmodel('lenet5')(lambda: 0)\n", "line 2: ValueError: there is another"),
    ],
)
def test_a_plugin_that_fails_is_wrong_usage(npsnn: Npsnn, mine: Path, text: str, said: str) -> None:
    mine.write_text(text)
    line = npsnn("--plugin", mine, "train", "--show").error_line(2)
    assert "'--plugin'" in line and said in line


def test_a_misspelt_plugin_is_met_by_the_nearest(npsnn: Npsnn, mine: Path) -> None:
    line = npsnn("--plugin", mine.with_name("mien.py"), "train", "--show").error_line(2)
    assert line.endswith("mien.py; did you mean mine.py?")


def test_a_plugin_stands_before_the_command(npsnn: Npsnn, mine: Path) -> None:
    line = npsnn("train", "--plugin", mine).error_line(2)
    assert line == "Error: --plugin stands before the command: npsnn --plugin ... train"


TWICE = """
from dataclasses import dataclass

from npsnn.objectives import OBJECTIVES
from npsnn.train import loss
from npsnn.train.losses import total, view


@loss("twice")
@dataclass(frozen=True)
class Twice:
    objective: str = "mse"

    def gradient(self, network, images, labels, noise, stream):
        views = [view(network, images, n) for n in (noise, noise.at("second"))]
        found = [OBJECTIVES[self.objective](v.logits, labels) for v in views]
        return total(sum(values for values, _ in found), labels, *zip(views, [c for _, c in found], strict=True))
"""


@pytest.mark.slow
def test_a_loss_over_two_views_trains_in_processes_and_is_resumed(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "losses.py").write_text(TWICE)
    monkeypatch.setenv("NPSNN_PLUGIN", str(tmp_path / "losses.py"))
    where = ("--runs-dir", tmp_path, "--data-dir", data_dir)
    train = ("train", "--loss", "twice", "--propagation", "sampled", "--limit", 60, *where)
    arrays = {}
    for name, epochs, threads in (("one", 2, 1), ("two", 2, 2), ("resumed", 1, 1)):
        ended = npsnn(*train, "--name", name, "--epochs", epochs, "--threads", threads)
        assert ended.code == 0, ended.err
        arrays[name] = (tmp_path / name / "last.npz").read_bytes()
        forget()
    assert npsnn("train", "--resume", "resumed", "--epochs", 2, "--threads", 2, *where).code == 0
    assert arrays["one"] == arrays["two"] == (tmp_path / "resumed" / "last.npz").read_bytes() != arrays["resumed"]


INSTALLED = {"METADATA": "Metadata-Version: 2.1\nName: hers\nVersion: 1\n", "RECORD": ""}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "code"), [(MINE, 0), ("1 / 0\n", 2)])
def test_installed_packages_have_plugins(tmp_path: Path, text: str, code: int) -> None:
    """In a process of its own, which finds a package that is installed in a folder on its path."""
    (tmp_path / "hers.py").write_text(text)
    about = tmp_path / "hers-1.dist-info"
    about.mkdir()
    for name, content in (INSTALLED | {"entry_points.txt": "[npsnn.plugins]\nhers = hers\n"}).items():
        (about / name).write_text(content)
    command = [sys.executable, "-m", "npsnn.cli", "train", "--model", "mine", "--noise", "features", "--show"]
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    if code:
        assert f"installed plugin hers: {tmp_path / 'hers.py'}, line 1: ZeroDivisionError" in done.stderr
