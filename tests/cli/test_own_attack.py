"""A user's own attack on the command line: its flag, its row, its line of the record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from npsnn.attacks.base import ATTACKS
from npsnn.attacks.record import attack_in
from npsnn.runs.plugins import load_plugin

pytestmark = pytest.mark.usefixtures("no_plugins")

MINE = '''
from dataclasses import dataclass

import numpy as np

from npsnn.attacks import Attack, Ball, attack


@attack("mine")
@dataclass(frozen=True)
class MyAttack(Attack):
    """Half of FGSM's step."""

    eps: float
    part: float = 0.5

    @property
    def ball(self):
        return Ball("linf", self.eps)

    def __call__(self, target, x, labels, stream):
        _, gradient = target(x, labels, stream)
        return self.ball.project(x + self.part * self.eps * np.sign(gradient), x)
'''


@pytest.mark.slow
def test_a_users_attack_runs_by_its_name_and_is_read_back(runs: Path, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(MINE)
    npsnn = [sys.executable, "-m", "npsnn", "--plugin", str(tmp_path / "own.py"), "attack"]
    where = ["small", "--runs-dir", str(runs), "--data-dir", str(data_dir), "--limit", "20", "--draws", "2"]
    told = subprocess.run([*npsnn, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--mine" in told and "Half of FGSM's step." in told
    ended = subprocess.run(
        [*npsnn, "--mine", "--fgsm", "--eps", "0.1", "--json", *where], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)["results"]
    assert [(row["attack"], row["eps"]) for row in rows] == [("fgsm", 0.1), ("mine", 0.1)]
    lines = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    assert lines[1]["attack"] == {"type": "MyAttack", "eps": 0.1, "part": 0.5}
    assert lines[1]["plugins"][0]["name"] == "own"
    load_plugin(tmp_path / "own.py")
    assert attack_in(lines[1]) == ATTACKS["mine"](0.1)
    unused = subprocess.run([*npsnn, "--mine", "--steps", "3", *where], capture_output=True, text=True)
    assert unused.returncode == 2 and "--steps acts on bim, pgd, adaptive-pgd" in unused.stderr
