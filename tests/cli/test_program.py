"""The program as it is installed: its help, its start, and what reads its output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calling import Npsnn

from npsnn import data
from npsnn.cli.main import COMMANDS


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS), ("data", "fetch"), ("data", "verify")])
def test_help(npsnn: Npsnn, command: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        outcome = npsnn(*command, flag)
        assert outcome.code == 0
        assert outcome.out.startswith("Usage: npsnn")


@pytest.mark.slow
def test_data_list_verify_info(npsnn: Npsnn, data_dir: Path) -> None:
    listed = npsnn("data", "list", "--data-dir", data_dir).out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == list(data.NAMES)
    verified = npsnn("data", "verify", "digits", "--data-dir", data_dir).out.splitlines()
    assert len(verified) == 4
    assert all(len(line.split()[0]) == 64 for line in verified)
    info = json.loads(npsnn("info", "--json").out)
    assert info["packages"]["numpy"] == np.__version__
    assert "openblas" in npsnn("info").out or info["blas"]


@pytest.mark.slow
def test_installed_command_and_module_from_another_folder(tmp_path: Path, trained: Path) -> None:
    program = Path(sys.executable).with_name("npsnn")
    for command in ([str(program)], [sys.executable, "-m", "npsnn"], [sys.executable, "-m", "npsnn.cli"]):
        done = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "npsnn" in done.stdout
    code = f"import npsnn; c = npsnn.Classifier.load({str(trained / 'small')!r}); print(c.spec['name'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "lenet5\n"


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(trained: Path, data_dir: Path) -> None:
    where = ["evaluate", "small", "--runs-dir", str(trained), "--data-dir", str(data_dir), "--limit", "10"]
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "npsnn.cli", *where]
    done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "attack", "checklist"])
def test_a_help_needs_no_scipy_and_that_of_a_training_no_attacks(command: str) -> None:
    code = f"import sys\nfrom npsnn.cli.main import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass\n"
    needless = {"scipy", "npsnn.audit", "npsnn.certify", "http.client"}
    needless |= {"npsnn.attacks"} if command == "train" else set()
    loaded = f"{code}print(sorted({needless} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_the_help_needs_no_numpy() -> None:
    """It takes most of the time of a start, in which an interrupt is not yet handled."""
    code = "import sys, npsnn.cli.main; print(sorted({'numpy', 'scipy'} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
