"""Every command in environments that are not the developer's own."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from calling import Npsnn

from npsnn.cli.main import main
from npsnn.workers import pool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a shell")

DRIVER = """
import contextlib, io, json, sys
BEFORE
from npsnn.cli.main import main
codes = {}
for name, args in json.loads(sys.argv[1]).items():
    try:
        main(args)
        codes[name] = 0
    except SystemExit as end:
        codes[name] = end.code or 0
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(codes, file)
"""
TINY = ["--limit", "4", "--threads", "2"]


def commands(runs: Path, data_dir: Path, new: Path) -> dict[str, list[str]]:
    """A few commands by name: all that a first session would call, and what they print of letters."""
    run = ["small", "--runs-dir", str(runs), "--data-dir", str(data_dir), *TINY]
    training = ["--epochs", "1", "--limit", "300", "--threads", "2"]
    few = ["--draws", "2", "--eot", "1", "--steps", "2", "--samples", "2", "--population", "5", "--generations", "1"]
    return {
        "help": ["attack", "--help"],
        "list": ["data", "list"],
        "info": ["info"],
        "train": ["train", *training, "--data-dir", str(data_dir), "--runs-dir", str(new)],
        "evaluate": ["evaluate", *run],
        "attack": ["attack", *run, "--fgsm", "--adaptive-fgsm", "--eot", "1", "--selection", "5", "--eps", "0.1"],
        "audit": ["audit", "N20", "--details"],
        "json": ["evaluate", *run, "--json"],
        "checklist": ["checklist", *run, *few],
    }


@dataclass(frozen=True)
class Environment:
    """variables: None unsets one. redirected: as a shell writes it. before: what the process does before all else."""

    variables: dict[str, str | None] = field(default_factory=dict)
    redirected: str = ""
    before: str = ""
    cwd: str | None = None
    code: int = 0
    """How the commands end that print."""


NOBODY = "import os.path; os.path.expanduser = lambda path: path"
C: dict[str, str | None] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WARNINGS: dict[str, str | None] = {"PYTHONWARNINGS": "error", "PYTHONWARNDEFAULTENCODING": "1"}
ENVIRONMENTS = {
    "no standard streams": Environment(redirected="<&- >&- 2>&-"),
    "latin-1": Environment(WARNINGS | {"PYTHONIOENCODING": "latin-1"}),
    "no home": Environment({"HOME": None, "XDG_CACHE_HOME": None}, before=NOBODY),
    "no standard input": Environment(redirected="<&-"),
    "no standard output": Environment(redirected=">&-"),
    "no standard error": Environment(redirected="2>&-"),
    "no streams in Python": Environment(before="sys.stdin = sys.stdout = sys.stderr = None"),
    "full standard output": Environment(redirected=">/dev/full", code=1),
    "full standard error": Environment(redirected="2>/dev/full"),
    "cp1252": Environment({"PYTHONIOENCODING": "cp1252"}),
    "ascii": Environment({"PYTHONIOENCODING": "ascii:strict"}),
    "C": Environment(C),
    "Turkish": Environment({"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR"}),
    "dumb terminal": Environment({"TERM": "dumb"}),
    "narrow": Environment({"COLUMNS": "20"}),
    "nonsense of columns": Environment({"COLUMNS": "wide"}),
    "no path": Environment({"PATH": None}),
    "no temporary folder": Environment({"TMPDIR": "/nowhere", "TEMP": "/nowhere", "TMP": "/nowhere"}),
    "a folder that cannot be written": Environment(cwd="/proc"),
    "optimised": Environment({"PYTHONOPTIMIZE": "2"}),
    "a relative cache": Environment({"XDG_CACHE_HOME": "cache", "HOME": "/nowhere"}),
    "unbuffered": Environment({"PYTHONUNBUFFERED": "1"}, redirected=">/dev/full", code=1),
}


def in_environment(e: Environment, called: dict[str, list[str]], folder: Path) -> tuple[dict[str, int], str, str]:
    """The exit codes, and what was printed on standard output and error."""
    codes, out, err = (folder / name for name in ("codes.json", "out", "err"))
    variables = {k: v for k, v in (dict(os.environ) | e.variables).items() if v is not None}
    words = [sys.executable, "-c", DRIVER.replace("BEFORE", e.before), json.dumps(called), str(codes)]
    outputs = f">{out} 2>{err} {e.redirected}"
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {outputs}', "sh", *words], env=variables, cwd=e.cwd or folder, timeout=300
    )
    printed, said = out.read_bytes().decode(errors="replace"), err.read_bytes().decode(errors="replace")
    assert done.returncode == 0, said
    found: dict[str, int] = json.loads(codes.read_text())
    return found, printed, said


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_command_works_or_says_why_not(name: str, runs: Path, data_dir: Path, tmp_path: Path) -> None:
    e = ENVIRONMENTS[name]
    called = commands(runs, data_dir, tmp_path / "new")
    called = {"train": called["train"]} if e.code else called
    codes, out, err = in_environment(e, called, tmp_path)
    for command, code in codes.items():
        assert code in ({0, 3, 4} if command == "checklist" else {e.code}), (command, err)
    for text in (out, err):
        assert not any(word in text for word in ("Traceback", "Exception ignored", "unexpected")), text
    if e.code:
        assert err.count("Error: standard output cannot be written: No space left on device") == len(codes)
    assert (tmp_path / "new" / "lenet5-digits-sigma0.6-1" / "last.npz").exists()
    if out:
        line = next(line for line in out.splitlines() if line.startswith("{"))
        assert json.loads(line)["examples" if "examples" in line else "draws"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_letters_that_a_stream_lacks_are_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", stream := io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    with pytest.raises(SystemExit) as end:
        main(["attack", "--help"])
    assert not end.value.code and sys.stdout is stream
    sign = "-Σ ln P" if encoding == "utf-8" else "-\\u03a3 ln P"
    assert sign in raw.getvalue().decode(encoding)


@pytest.mark.parametrize("command", ["--help", "data list"])
def test_a_reader_that_has_enough_ends_the_command_quietly(command: str) -> None:
    called = [sys.executable, "-m", "npsnn.cli", *command.split()]
    with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141 and b"rror" not in said


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", "[train]\nsigma = 0.7  # σ\n"), ("a.json", '{"train": {"sigma": 0.7}}')]
)
def test_a_file_of_options_may_begin_with_a_byte_order_mark(npsnn: Npsnn, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_bytes(text.encode(encoding))
        assert json.loads(npsnn("train", "--config", file, "--show").out)["sigma"] == 0.7
    file.write_bytes(text.encode("utf-16"))
    assert "utf-8" in npsnn("train", "--config", file, "--show").error_line(2).lower()


def test_too_many_threads_are_refused(npsnn: Npsnn, tmp_path: Path) -> None:
    line = npsnn("train", "--threads", 20_000, "--runs-dir", tmp_path / "runs").error_line(2)
    assert "'--threads': threads must be at most" in line and "only wait for one another" in line
    assert not (tmp_path / "runs").exists()


def test_a_system_that_refuses_processes_is_an_error(
    npsnn: Npsnn, trained: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    pool._POOL.end()
    monkeypatch.setattr("npsnn.classifier.WORTH", 0.0)
    monkeypatch.setattr(subprocess, "Popen", refused)
    line = npsnn("evaluate", "small", "--runs-dir", trained, "--data-dir", data_dir, "--threads", 2).error_line(1)
    assert "the system refuses another process" in line and "try fewer threads" in line


def test_escapes_from_a_file_do_not_reach_the_terminal(npsnn: Npsnn, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[train]\n"\\u001b]0;x\\u0007\\u009b" = 1\n')
    line = npsnn("train", "--config", file).error_line(2)
    assert "\\x1b]0;x\\x07\\x9b" in line and "\x1b" not in line
