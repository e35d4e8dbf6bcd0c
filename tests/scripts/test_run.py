"""scripts/run: it lists its programs, refuses other names, and starts one from a bare checkout."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = dict(re.findall(r"^    ([a-z-]+)\) file=(\w+)\b.*;; # .+$", (SCRIPTS / "run").read_text(), re.MULTILINE))


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / words[0]), *words[1:]]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_the_programs_are_listed_and_there() -> None:
    done = run("run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^  (\S+)  +\S", done.stdout, re.MULTILINE) == list(PROGRAMS) == sorted(PROGRAMS)
    for file in PROGRAMS.values():
        assert '__name__ == "__main__"' in (SCRIPTS / f"{file}.py").read_text(), file


def test_another_name_is_refused() -> None:
    done = run("run", "benhc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: no program is called benhc\nusage: scripts/run NAME")


def test_no_other_script_only_starts_a_program() -> None:
    """But same-numbers, whose arguments are folders of whoever calls it, and gpu-check, which calls scripts/run.

    package starts one too: it installs nothing here, and runs on Windows.
    """
    starters = {p.name for p in SCRIPTS.iterdir() if p.is_file() and not p.suffix and ".py" in p.read_text()}
    assert starters == {"run", "same-numbers", "package"}


@pytest.mark.parametrize("words", [("gpu-check",), ("run", "bench")], ids=" ".join)
def test_a_checkout_is_enough(words: tuple[str, ...], tmp_path: Path) -> None:
    """Without site-packages' .pth files the project is not installed; a path to the libraries remains."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    libraries = str(Path(np.__file__).parents[1])
    done = run(*words, "--help", PYTHON=str(python), PYTHONPATH=libraries)
    assert done.returncode == 0 and "--device" in done.stdout, done.stderr
    done = run(*words, "--help", PYTHON=str(python), PYTHONPATH="")
    assert done.returncode == 1 and re.search(r"^Error: \S+ lacks numpy, scipy, click$", done.stderr), done.stderr
