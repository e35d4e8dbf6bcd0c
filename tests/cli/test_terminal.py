"""What a terminal shows: no line longer than it is wide, and no rests of a bar beside a row."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from npsnn.cli import terminal
from npsnn.cli.table import REST, Table
from npsnn.cli.terminal import Bar, standard_streams

fcntl: Any = pytest.importorskip("fcntl", reason="terminals are POSIX's")
termios: Any = pytest.importorskip("termios")

BAR = re.compile(r"\[[#-]+\]|\d %? +\d:\d\d:\d\d left")


def shown(raw: str, columns: int) -> list[str]:
    """The lines that a terminal has in the end; a carriage return goes to the beginning of a line."""
    lines = []
    for text in raw.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in text.split("\r"):
            assert len(part) <= columns, part
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def on_terminal(columns: int, *args: object, cwd: Path | None = None, **variables: str) -> tuple[int, str]:
    """The exit code of a command on a terminal of so many columns, and all that it wrote there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    own = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"} | variables
    command = [sys.executable, "-m", "npsnn.cli", *map(str, args)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=own, cwd=cwd) as process:
        os.close(theirs)
        raw = b""
        try:
            while part := os.read(ours, 1 << 16):
                raw += part
        except OSError:  # Linux: the other side is closed
            pass
    os.close(ours)
    return process.returncode, raw.decode()


ATTACKS = ("--fgsm", "--pgd", "--random", "--adaptive-one-pixel", "--cw", "--steps", 2, "--eot", 2, "--draws", 2)
ATTACKS += ("--samples", 3, "--population", 5, "--generations", 2, "--cw-steps", 2, "--cw-searches", 1)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_an_attack_fits_the_terminal(runs: Path, data_dir: Path, columns: int) -> None:
    where = ("small", "--runs-dir", runs.name, "--data-dir", data_dir, "--limit", 6, "--threads", 1)
    code, raw = on_terminal(columns, "attack", *where, *ATTACKS, "--eps", "8/255", "--eps", 0.1, cwd=runs.parent)
    lines = shown(raw, columns)
    assert code == 0 and "attacking" in raw and not any(BAR.search(line) for line in lines), raw
    rows = [line for line in lines if line.startswith(("fgsm", "pgd", "random", "cw", "adaptive-one-pixel"))]
    assert len(rows) == 8 and all(" %" in row for row in rows), lines
    header = next(line for line in lines if line.startswith("attack "))
    assert ("misread" in header) == (columns > 40) and ("seconds" in header) == (columns == 120)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_training_fits_the_terminal(data_dir: Path, tmp_path: Path, columns: int) -> None:
    options = ("--limit", 300, "--epochs", 2, "--runs-dir", "r", "--data-dir", data_dir, "--threads", 1)
    code, raw = on_terminal(columns, "train", *options, cwd=tmp_path)
    lines = shown(raw, columns)
    assert code == 0 and "epoch 1  [" in raw and not any(BAR.search(line) for line in lines), raw
    assert [line.split()[0] for line in lines if re.match(r" +\d", line)] == ["1", "2"]
    header = next(line for line in lines if line.startswith("epoch"))
    assert ("images/s" in header) == (columns == 120)


@pytest.mark.slow
def test_a_dumb_terminal_has_no_bar(data_dir: Path, tmp_path: Path) -> None:
    options = ("--limit", 100, "--epochs", 1, "--runs-dir", tmp_path, "--data-dir", data_dir, "--threads", 1)
    code, raw = on_terminal(80, "train", *options, TERM="dumb")
    assert code == 0 and "\r" not in raw.replace("\r\n", "\n") and not BAR.search(raw)


@pytest.mark.parametrize(
    "command",
    [
        *("data list", "attack --help"),
        *(pytest.param(command, marks=pytest.mark.slow) for command in ("info", "audit N20 N30 A17")),
        *(pytest.param(command, marks=pytest.mark.slow) for command in ("train --help", "checklist --help")),
    ],
)
def test_a_table_and_a_help_text_fit_the_terminal(command: str) -> None:
    code, raw = on_terminal(80, *command.split())
    assert code == 0
    assert [line for line in raw.replace("\r\n", "\n").split("\n") if len(line) > 80] == []


@pytest.mark.slow
def test_a_checklist_fits_the_terminal(runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs.name, "--data-dir", data_dir, "--limit", 4, "--threads", 1)
    few = ["--draws", "2", "--eot", "1", "--steps", "2", "--samples", "2", "--population", "5", "--generations", "1"]
    code, raw = on_terminal(80, "checklist", *where, *few, cwd=runs.parent)
    assert code in (0, 3, 4) and not any(BAR.search(line) for line in shown(raw, 80)), raw


COLUMNS = {"name": -6, "first": 8, "second": 8, "said": REST}


def table(capsys: pytest.CaptureFixture[str], columns: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns or ""))
    t = Table(COLUMNS, optional=("second", "first"))
    t.row("a", 1, 2, "one two three four five six seven eight nine ten")
    t.row("longest", 1, 2, "")
    return capsys.readouterr().out.splitlines()


def test_a_table_gives_way_step_by_step(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(capsys, None, monkeypatch) == [
        "name       first    second  said",
        "a              1         2  one two three four five six seven eight nine ten",
        "longest         1         2",
    ]
    assert table(capsys, 60, monkeypatch) == [
        "name       first    second  said",
        "a              1         2  one two three four five six",
        "                            seven eight nine ten",
        "longes         1         2",
        "t",
    ]
    assert table(capsys, 50, monkeypatch)[1] == "a             1        2 one two three four five"
    assert table(capsys, 45, monkeypatch)[0] == "name      first said"
    assert table(capsys, 31, monkeypatch)[0] == "name   said"
    assert max(map(len, table(capsys, 31, monkeypatch))) <= 31


def test_a_bar_steps_aside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.setattr(terminal, "BETWEEN_DRAWINGS", 0)
    monkeypatch.setenv("COLUMNS", "50")
    with standard_streams(), Bar("working", 4) as bar:
        for i in range(4):
            print("row", i, file=sys.stderr)
            bar.update(1)
    raw = capsys.readouterr().err
    assert raw.count("working") >= 5 and "[" in raw
    assert [line for line in shown(raw, 49) if line] == [f"row {i}" for i in range(4)]


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), standard_streams():
        assert (sys.stdout, sys.stderr) != before
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
