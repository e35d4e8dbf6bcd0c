"""`npsnn reproduce`: what it runs, prints, goes on with, and refuses."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from calling import Npsnn
from tiny_reproduction import lasting, network

from npsnn.reproduce import whole
from npsnn.reproduce.experiments import EXPERIMENTS
from npsnn.reproduce.perform import Place

PLUGIN = Path(__file__).parent.parent / "tiny_experiment.py"
"""Enters an experiment of a few seconds, `tiny`, in the place of all others."""


@pytest.fixture(autouse=True)
def only_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_experiment import CLAIM, TINY

    monkeypatch.setattr(whole, "EXPERIMENTS", {"tiny": TINY})
    monkeypatch.setattr(whole, "claims", lambda: {CLAIM.id: CLAIM})


def test_it_runs_prints_and_reports(npsnn: Npsnn, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = npsnn("reproduce", "--out", out)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0].split() == ["claim", "verdict"]
    assert ended.out.splitlines()[1].split(maxsplit=1)[1].startswith("cannot be told at this scale")
    assert f"The report is in {out}" in ended.out
    before = {path.name: path.read_bytes() for path in out.glob("report.*")}
    assert len(before) == 2
    again = npsnn("reproduce", "--report", "--out", out)
    assert (again.code, again.out) == (0, ended.out)
    assert {path.name: path.read_bytes() for path in out.glob("report.*")} == before


def test_json(npsnn: Npsnn, tmp_path: Path) -> None:
    document = json.loads(npsnn("reproduce", "--out", tmp_path, "--json", "--markdown", tmp_path / "x" / "y.md").out)
    assert document["claims"][0]["claim"] == "tiny-claim" and document["failed"] == []
    assert (tmp_path / "x" / "y.html").is_file()
    rows = json.loads(npsnn("reproduce", "--dry-run", "--json", "--out", tmp_path / "new").out)
    assert len(rows["jobs"]) == 4 and rows["seconds"] > 0 and rows["disk"] > 1000
    assert json.loads(npsnn("reproduce", "--dry-run", "--json", "--out", tmp_path).out)["jobs"] == []
    assert json.loads(npsnn("reproduce", "--list", "--json").out)["experiments"][0]["name"] == "tiny"


def test_without_the_libraries_of_a_report_the_verdicts_are_printed(
    npsnn: Npsnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npsnn.audit.publish.find_spec", lambda name: None)
    needs = "a report needs matplotlib, latex2mathml, markdown_it, mdit_py_plugins: install npsnn with its extra"
    for options in (("--markdown", tmp_path / "x.md"), ("--report",)):
        refused = npsnn("reproduce", "--out", tmp_path, *options)
        assert refused.code == 2 and needs in refused.err and not list(tmp_path.iterdir())
    ended = npsnn("reproduce", "--out", tmp_path)
    assert ended.code == 0 and f"warning: {needs}" in ended.err
    assert ended.out.splitlines()[1].split(maxsplit=1)[1].startswith("cannot be told at this scale")
    assert "The report is in" not in ended.out and not list(tmp_path.glob("report*"))
    assert json.loads(npsnn("reproduce", "--out", tmp_path, "--json").out)["report"] is None


@pytest.mark.parametrize("ending", [".md", ".html"])
def test_a_report_replaces_no_file_of_others(npsnn: Npsnn, tmp_path: Path, ending: str) -> None:
    mine = tmp_path / f"report{ending}"
    mine.write_text("my own report")
    for options, name in (((), "--out"), (("--markdown", tmp_path / "report.md"), "--markdown")):
        said = npsnn("reproduce", "--out", tmp_path, *options).error_line(2)
        assert (
            f"Error: {name} would replace {mine}, which does not say that npsnn wrote it: choose another name" in said
        )
    assert [path.name for path in tmp_path.iterdir()] == [mine.name] and mine.read_text() == "my own report"


def test_the_dry_run_writes_nothing(npsnn: Npsnn, tmp_path: Path) -> None:
    ended = npsnn("reproduce", "--dry-run", "--out", tmp_path / "new")
    assert ended.code == 0 and "4 jobs (2 train, 2 attack): about" in ended.out
    assert not (tmp_path / "new").exists()


def test_a_failed_job_is_named_and_the_exit_code_says_so(
    npsnn: Npsnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.train import task

    monkeypatch.setattr(task, "fit", lambda *a, **k: (_ for _ in ()).throw(OSError("no space left")))
    ended = npsnn("reproduce", "--out", tmp_path)
    assert ended.code == 1 and "failed: no space left" in ended.err and "not run: sigma-" in ended.err
    assert "4 jobs failed or were not run." in ended.out


def test_what_is_wrong_is_refused(npsnn: Npsnn, tmp_path: Path) -> None:
    npsnn("reproduce", "--out", tmp_path, "--scale", "quick")
    for arguments, message in (
        (("noise-figure-44",), "experiment"),
        (("--scale", "huge"), "'huge'"),
        (("--seeds", 0), "0"),
        (("--scale", "small"), "holds a reproduction at the scale quick"),
        (("--executor", "mpi"), "mpiexec -n 3"),
        (("--executor", "proceses"), "Did you mean processes"),
    ):
        ended = npsnn("reproduce", "--out", tmp_path, *arguments)
        assert ended.code == 2 and message in ended.err, (arguments, ended.err)
    ended = npsnn("reproduce", "--report", "--out", tmp_path / "nothing")
    assert ended.code and "there is no reproduction in" in ended.err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_killed_at_random_moments_it_ends_with_the_same_records(tmp_path: Path) -> None:
    chance, folder, program = random.Random(2), tmp_path / "killed", [sys.executable, str(PLUGIN)]
    subprocess.run([*program, str(tmp_path / "whole"), "1"], check=True)
    for _ in range(3):
        process = subprocess.Popen([*program, str(folder), "2"], start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 4.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*program, str(folder), "2"], check=True)
    assert lasting(folder) == lasting(tmp_path / "whole") and len(lasting(folder)) == 4


def test_the_experiments_of_the_papers_are_entered() -> None:
    assert {"noise-figure-4", "noise-figure-5"} <= EXPERIMENTS.keys()


def test_python_takes_any_executor(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as workers:
        states = [event.state for event in whole.run(tmp_path, workers=workers)]
    assert states == ["done"] * 4


def test_the_records_are_where_python_finds_them(npsnn: Npsnn, tmp_path: Path) -> None:
    npsnn("reproduce", "--out", tmp_path)
    assert Place(tmp_path).records.holds(network(0.3, epochs=2))
