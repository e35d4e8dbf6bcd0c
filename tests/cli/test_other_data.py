"""A command that meets other data than its run's does not measure on them, unless it is told to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from calling import Npsnn
from own_data import MINE, trained_on

from npsnn import Classifier, data
from npsnn.runs import provenance
from npsnn.runs.checkpoint import CONFIG

COMMANDS = ("evaluate", "attack --fgsm --eps 0.1", "checklist", "audit N20 --run", "train --train-noise-only")


@pytest.fixture
def mixed(tmp_path: Path, data_dir: Path) -> Path:
    """A run that says that it was trained on digits, which these are not."""
    trained_on(tmp_path / "runs" / "mixed", replace(MINE, name="digits"))
    return tmp_path / "runs"


@pytest.mark.parametrize("command", [*COMMANDS, "train --resume"])
def test_a_command_that_meets_other_data_fails(command: str, npsnn: Npsnn, mixed: Path, data_dir: Path) -> None:
    before = sorted(mixed.rglob("*"))
    line = npsnn(*command.split(), "mixed", "--runs-dir", mixed, "--data-dir", data_dir).error_line(1)
    assert "this digits is not the one" in line and "train count (40 in the run, 12000 here)" in line
    assert "--data-dir" in line and ("--other-data" in line) == ("--resume" not in command)
    assert sorted(mixed.rglob("*")) == before


@pytest.mark.parametrize("command", [*COMMANDS, "train --resume"])
def test_a_run_on_data_of_the_users_own_is_one_line(command: str, npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    run = tmp_path / "mine"
    trained_on(run, MINE)
    line = npsnn(*command.split(), run, "--data-dir", data_dir, "--runs-dir", run.parent).error_line(1)
    assert "was trained on 'mine', which npsnn cannot read by name" in line and "Classifier.load" in line


@pytest.mark.slow
def test_other_data_on_request_are_named_in_every_result(npsnn: Npsnn, mixed: Path, data_dir: Path) -> None:
    where = ("mixed", "--runs-dir", mixed, "--data-dir", data_dir, "--limit", 20, "--other-data")
    for command in (("evaluate",), ("attack", "--fgsm", "--eot", 1, "--draws", 1, "--eps", 0.1)):
        ended = npsnn(*command, *where)
        assert ended.code == 0 and ended.out.splitlines()[0].startswith(f"{mixed / 'mixed'} on other data:")
        assert "[other-data]" in ended.out
        document = json.loads(npsnn(*command, *where, "--json").out)
        assert "train count (40 in the run, 12000 here)" in document["other_data"]
        assert "other-data" in [caveat["code"] for caveat in document["caveats"]]
    for line in (mixed / "mixed" / "attacks.jsonl").read_text().splitlines():
        assert "train count" in json.loads(line)["other_data"]


@pytest.mark.slow
def test_noise_that_is_trained_on_other_data_says_so(npsnn: Npsnn, mixed: Path, data_dir: Path) -> None:
    where = ("--runs-dir", mixed, "--data-dir", data_dir)
    options = ("--train-noise-only", "mixed", "--epochs", 1, "--limit", 40, "--name", "noise")
    assert npsnn("train", *options, *where, "--other-data").code == 0
    start = json.loads((mixed / "noise" / CONFIG).read_text())["start"]
    assert start["run"] == str(mixed / "mixed") and "train count" in start["other_data"]
    for json_too in ((), ("--json",)):
        assert "other-data-at-start" in npsnn("evaluate", "noise", *where, "--limit", 20, *json_too).out
    again = ("--train-noise-only", "noise", "--epochs", 1, "--limit", 40, "--name", "again")
    assert "[other-data-at-start]" in npsnn("train", *again, *where).out
    assert start["parameters"] == provenance.of_network(Classifier.load(mixed / "mixed").params)
    assert npsnn("evaluate", "noise", *where, "--limit", 5).code == 0, "these are its own data"


@pytest.mark.slow
def test_a_result_names_the_network_that_it_is_of(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    """A run that is trained further keeps its name and gets other parameters."""
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir)
    attack = ("attack", *where, "--fgsm", "--eot", 1, "--draws", 1, "--eps", 0.1, "--limit", 10)
    assert npsnn(*attack).code == 0
    first = Classifier.load(runs / "small")
    assert npsnn("train", "--resume", "small", "--epochs", 2, *where[1:]).code == 0
    assert npsnn(*attack).code == 0
    lines = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    second = Classifier.load(runs / "small")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["parameters"] for line in lines] == [provenance.of_network(c.params) for c in (first, second)]
    assert lines[0]["parameters"] != lines[1]["parameters"]
    assert all(line["environment"]["npsnn"] and line["limit"] == 10 and line["dataset"] == "digits" for line in lines)


def test_the_digits_of_a_run_are_those_at_hand(npsnn: Npsnn, trained: Path, data_dir: Path) -> None:
    about = json.loads((trained / "small" / CONFIG).read_text())
    assert provenance.difference(about, data.load("digits", data_dir)) == ""
