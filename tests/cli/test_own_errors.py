"""An error in what a user wrote: one line that names whose it is, the file and the line, wherever it is computed."""

from pathlib import Path

import pytest
from calling import Npsnn
from plugin_files import MINE

pytestmark = pytest.mark.usefixtures("no_plugins")

ATTACK = """
from dataclasses import dataclass

from npsnn.attacks import Attack, Ball, attack


@attack("own-step")
@dataclass(frozen=True)
class OwnStep(Attack):
    eps: float

    @property
    def ball(self):
        return Ball("linf", self.eps)

    def __call__(self, target, x, labels, stream):
        {}
        return x
"""
LINE = 1 + ATTACK.splitlines().index("        {}")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("target(x, labels)", "TypeError: Watched.__call__() missing 1 required positional argument: 'stream'"),
        ("x[:] = 0", "the attack own-step writes to the images and labels that it is given: copy them first"),
        ("raise OSError('no file')", "no file"),
        ("{}['a']", "KeyError: 'a'"),
    ],
)
def test_an_error_in_a_users_attack(
    npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path, body: str, said: str, threads: int
) -> None:
    (tmp_path / "own.py").write_text(ATTACK.replace("{}", body))
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 100, "--draws", 1, "--eps", 0.1)
    ended = npsnn("--plugin", tmp_path / "own.py", "attack", "--own-step", "--threads", threads, *where)
    assert ended.code == 1
    (line,) = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    assert line.startswith(f"Error: {tmp_path / 'own.py'}, line {LINE}: ") and line.endswith(said)
    assert "own-step" in line and "unexpected" not in ended.err


def test_an_error_in_a_users_layer(npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    failing = "    slope: float = 0.1\n\n    def forward(self, params, m, noise):\n        return m.means\n"
    text = MINE.replace("    slope: float = 0.1\n", failing)
    (tmp_path / "mine.py").write_text(text)
    where = ("--runs-dir", tmp_path / "runs", "--data-dir", data_dir, "--limit", 60, "--threads", 1)
    line = npsnn("--plugin", tmp_path / "mine.py", "train", "--model", "mine", *where).err.splitlines()[-1]
    at = 1 + text.splitlines().index("        return m.means")
    assert line.startswith(f"Error: {tmp_path / 'mine.py'}, line {at}: ") and "AttributeError: 'Moments'" in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "target, x, labels, stream",
            "target, x",
            "TypeError: OwnStep.__call__ must take (self, target, x, la",
        ),
        ('"own-step"', '"average"', "ValueError: the attack average of OwnStep cannot have the flag --average"),
        ('"own-step"', '"own step"', "ValueError: the name of an attack must be a word of letters, digits and hyphens"),
        ("def ball", "def bal", "TypeError: OwnStep is no attack: it has no ball"),
    ],
)
def test_what_can_be_told_when_the_plugin_is_read_is_wrong_usage(
    npsnn: Npsnn, tmp_path: Path, old: str, new: str, said: str
) -> None:
    (tmp_path / "own.py").write_text(ATTACK.replace("{}", "pass").replace(old, new))
    line = npsnn("--plugin", tmp_path / "own.py", "attack", "--help").error_line(2)
    assert f"{tmp_path / 'own.py'}, line 7: {said}" in line
