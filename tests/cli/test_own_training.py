"""Commands on the run of a training by values, which a plugin's module holds."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from calling import Npsnn

import npsnn as package
from npsnn import data, train

PLUGIN = Path(__file__).parents[1] / "own_training.py"
pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture
def runs(data_dir: Path, tmp_path: Path) -> Path:
    """A runs folder with the first of two epochs of the plugin's own training."""
    package.load_plugin(PLUGIN)
    training: Any = sys.modules["npsnn_plugin_own_training"].own_training(limit=60)
    records = train.fit(training, data.load("digits", data_dir), tmp_path / "runs" / "mine", threads=1)
    assert next(record for record in records if isinstance(record, train.Epoch)).epoch == 1
    del records
    return tmp_path / "runs"


@pytest.mark.slow
def test_it_goes_on_and_is_measured(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("--runs-dir", runs, "--data-dir", data_dir)
    resumed = npsnn("--plugin", PLUGIN, "train", "--resume", "mine", "--json", *where)
    assert resumed.code == 0 and "two-noises on digits, into" in resumed.err
    document = json.loads(resumed.out)
    assert document["training"]["loss"] == {"type": "Agreement", "beta": 2.0, "shift": 2} and document["epochs"] == 2
    assert document["sigma"].keys() == {"noise", "block.body.noise"} and document["model"] == "two-noises"
    (row,) = (line.split() for line in resumed.err.splitlines() if line.split()[:1] == ["2"])
    assert [cell.count("/") for cell in row if "/" in cell] == [1, 1, 1], "a figure for each noise layer"
    evaluated = json.loads(npsnn("--plugin", PLUGIN, "evaluate", "mine", "--limit", 20, "--json", *where).out)
    assert evaluated["dataset"] == "digits"
    assert npsnn("--plugin", PLUGIN, "attack", "mine", "--limit", 4, "--fgsm", "--eps", 0.1, *where).code == 0


def test_it_needs_its_plugin_and_its_values(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("--runs-dir", runs, "--data-dir", data_dir)
    refused = npsnn("--plugin", PLUGIN, "train", "--train-noise-only", "mine", *where)
    assert refused.code == 2 and "--train-noise-only goes on with a run of npsnn train" in refused.err
    line = npsnn("--plugin", PLUGIN, "train", "--resume", "mine", "--epochs", 3, *where).error_line(2)
    assert "--epochs must be the run's own 2 under Warm" in line
    about = json.loads((runs / "mine" / "config.json").read_text())
    about["training"]["terms"].append({"type": "Forgotten"})
    (runs / "mine" / "config.json").write_text(json.dumps(about))
    line = npsnn("--plugin", PLUGIN, "evaluate", "mine", *where).error_line(1)
    assert "unknown term 'Forgotten'" in line and "config.json" in line
