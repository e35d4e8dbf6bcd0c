"""`npsnn sweep`: what it reads, does, prints, goes on with, and refuses."""

import json
import signal
from pathlib import Path

import pytest
from calling import Npsnn, interrupt_at
from own_data import kept

from npsnn.cli.main import main
from npsnn.train import sweep, task


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sweep of four trainings of one epoch."""
    path = tmp_path / "noise.toml"
    text = f'[train]\nsigma = [0.3, 0.6]\nseed = [0, 1]\nepochs = 1\nbatch-size = 16\ndataset = "{kept(tmp_path)}"\n'
    path.write_text(text)
    return path


def test_it_trains_prints_and_skips_what_is_done(npsnn: Npsnn, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    ended = npsnn("sweep", file, "--jobs", 1, "--threads", 1)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split() == ["run", "state", "epochs", "validation", "noise", "off", "noise", "on"]
    assert [line.split()[:3] for line in lines[1:5]] == [
        [f"sigma{sigma}-seed{seed}", "done", "1"] for sigma in (0.3, 0.6) for seed in (0, 1)
    ]
    assert lines[-1] == "4 done. The table is in runs/noise/sweep.csv."
    assert ended.err.splitlines() == [f"sigma{sigma}-seed{seed} done" for sigma in (0.3, 0.6) for seed in (0, 1)]
    again = npsnn("sweep", file, "--json")
    assert again.code == 0 and again.err == ""
    document = json.loads(again.out)
    assert [(row["sigma"], row["seed"], row["state"]) for row in document["runs"]] == [
        (sigma, seed, "done") for sigma in (0.3, 0.6) for seed in (0, 1)
    ]
    assert "4 of them before" in npsnn("sweep", file).out
    assert npsnn("runs", "--runs-dir", "runs/noise").out.count("sigma0.") >= 4


def test_a_dry_run_writes_nothing(npsnn: Npsnn, file: Path) -> None:
    ended = npsnn("sweep", file, "--dry-run", "--runs-dir", file.parent / "new")
    assert ended.code == 0 and ended.out.splitlines()[-1] == "4 not begun."
    assert not (file.parent / "new").exists()


def test_processes_warn_in_no_lines_of_source(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = file.read_text().replace("sigma = [0.3, 0.6]\nseed = [0, 1]", "lr = [1e30, 1e300]")
    file.write_text(text)
    with pytest.raises(SystemExit, match="1"):
        main(["sweep", str(file), "--jobs", "2", "--runs-dir", str(file.parent / "new")])
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2 and all(" failed: the loss became nan in epoch 1" in line for line in said), said


def test_one_that_failed_is_named_and_the_exit_code_says_so(
    npsnn: Npsnn, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = file.parent / "runs"
    monkeypatch.setattr(task, "fit", lambda *a, **k: (_ for _ in ()).throw(OSError("no space left")))
    ended = npsnn("sweep", file, "--jobs", 1, "--runs-dir", out)
    assert ended.code == 1 and "sigma0.3-seed1 failed: no space left" in ended.err
    assert ended.out.splitlines()[-1] == f"4 failed. The table is in {out}/sweep.csv."
    assert (out / "sweep.csv").read_text().count("no space left") == 4
    monkeypatch.undo()
    assert npsnn("sweep", file, "--jobs", 1, "--threads", 1, "--runs-dir", out).code == 0


def test_an_interrupt_says_how_to_go_on(npsnn: Npsnn, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = file.parent / "runs"
    interrupt_at(monkeypatch, sweep, "tested", 2, signal.SIGINT)
    ended = npsnn("sweep", file, "--jobs", 1, "--threads", 1, "--runs-dir", out)
    assert ended.code == 130
    assert f"Stopped: what is done is kept in {out}, and sweep.csv there says" in ended.err
    assert (out / "sweep.csv").read_text().count("not begun") == 2
    monkeypatch.undo()
    assert "1 of them before" in npsnn("sweep", file, "--jobs", 1, "--threads", 1, "--runs-dir", out).out


def test_words_of_the_file_are_those_of_the_command_line(npsnn: Npsnn, file: Path) -> None:
    text = file.read_text().replace("sigma = [0.3, 0.6]", 'adversarial = "pgd"\nadversarial-eps = ["4/255", 0.1]')
    file.write_text(text.replace("seed = [0, 1]", "momentum = 0.5"))
    ended = npsnn("sweep", file, "--dry-run", "--json", "--runs-dir", file.parent)
    assert [row["adversarial_eps"] for row in json.loads(ended.out)["runs"]] == [4 / 255, 0.1]
    assert ended.err.splitlines() == ["warning: momentum has no effect unless optimizer is sgd"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nsigm = 0.3", "sigm is no option of a training; did you mean sigma?"),
        ("[train]\nsigma = [0.3, -1]", "training sigma-1: sigma must be"),
        ('[train]\nmodel = ["lenet5", "lenet"]', "model: 'lenet' is not one of"),
        ('[train]\ndataset = "digit"', "dataset: 'digit' is not one of"),
        ("[train]\nsigma = {a = 1}", "sigma must be of the type float"),
        ("[train]\nsigma = []", "sigma must have at least one value"),
        ("[train]\nthreads = 2", "threads is no option of a training"),
        ("[train]\nsigma = 0.3\n[attack]\neps = 0.1", "a sweep has the table [train] alone, got [attack] as well"),
        ("[attack]\neps = 0.1", "a sweep has the table [train] alone, got [attack]"),
        ("sigma = 0.3", "it must hold a table [train]"),
        ("[train", "neither TOML nor JSON"),
        ("", "it must hold a table [train]"),
    ],
)
def test_what_is_no_sweep_is_one_line(npsnn: Npsnn, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    line = npsnn("sweep", tmp_path / "own.toml", "--runs-dir", tmp_path / "runs").error_line(2)
    assert message in line and "own.toml" in line
    assert not (tmp_path / "runs").exists()


def test_what_stands_in_the_way_is_one_line(npsnn: Npsnn, file: Path) -> None:
    assert "no.toml" in npsnn("sweep", file.parent / "no.toml").error_line(2)
    assert "mpiexec -n 3" in npsnn("sweep", file, "--executor", "mpi", "--runs-dir", file.parent / "r").error_line(2)
    file.write_text('[train]\ndataset = "mnist"')
    assert "mnist" in npsnn("sweep", file, "--data-dir", file.parent, "--runs-dir", file.parent / "r").error_line(1)
    assert not (file.parent / "r" / "training").exists()
