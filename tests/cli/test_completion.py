"""What a shell completes, --quiet, and colours, of which there are none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calling import Npsnn
from own_data import four

from npsnn.cli.main import COMMANDS


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with two runs, and a folder that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second one", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("first", "second one"):
        (tmp_path / "runs" / name / "config.json").write_text("{}")


@pytest.fixture
def complete(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> object:
    def words(line: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_NPSNN_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        ended = npsnn()
        assert ended.code in (0, 1) and not ended.err, ended  # click ends so where it has completed
        return ended.out.splitlines()

    return words


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("npsnn evaluate ", ["dir,", "plain,first", "plain,second one"]),
        ("npsnn attack fi", ["dir,fi", "plain,first"]),
        ("npsnn train --resume s", ["dir,s", "plain,second one"]),
        ("npsnn attack --transfer-from f", ["dir,f", "plain,first"]),
        ("npsnn audit --run f", ["dir,f", "plain,first"]),
        ("npsnn certify --runs-dir none ", ["dir,"]),
        ("npsnn train --dataset emnist-b", ["file,emnist-b"]),
        ("npsnn evaluate --quie", ["plain,--quiet"]),
    ],
)
def test_a_shell_completes_runs_choices_and_flags(complete: object, line: str, there: list[str]) -> None:
    found = complete(line)  # type: ignore[operator]
    assert found[: len(there)] == there
    if "--dataset" in line:
        assert "plain,emnist-byclass" in found
    if "fi" in line:
        assert len(found) == 2


def test_a_shell_completes_commands_without_reading_their_modules(complete: object) -> None:
    assert complete("npsnn ") == [f"plain,{name}" for name in COMMANDS]  # type: ignore[operator]
    code = "import sys, os; os.environ.update(_NPSNN_COMPLETE='bash_complete', COMP_WORDS='npsnn ', COMP_CWORD='1')\n"
    code += "from npsnn.cli.main import main\ntry: main([])\nexcept SystemExit: pass\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("plain,info\nFalse\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_of_a_shell_defines_the_completion(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    monkeypatch.setenv("_NPSNN_COMPLETE", f"{shell}_source")
    assert f"_NPSNN_COMPLETE={shell}_complete" in npsnn().out


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_the_name_of_a_run() -> None:
    program = Path(sys.executable).with_name("npsnn")
    script = f'''eval "$(_NPSNN_COMPLETE=bash_source "{program}")"
        COMP_WORDS=("{program}" evaluate f) COMP_CWORD=2; _npsnn_completion "{program}"; echo "${{COMPREPLY[@]}}"'''
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "first\n"


def test_a_quiet_command_says_warnings_and_errors_alone(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("small.npz", **four())
    few = ("train", "--dataset", "small.npz", "--epochs", 1, "--threads", 1, "--momentum", 0.5)
    loud, quiet = npsnn(*few, "--name", "a"), npsnn(*few, "--name", "b", "--quiet")
    assert "Next: npsnn attack" in loud.err and "dLoss/dsigma" in loud.err
    assert quiet.err == "warning: --momentum has no effect unless optimizer is sgd\n" and quiet.code == 0
    assert quiet.out.replace("/b", "/a") == loud.out
    assert npsnn("train", "--dataset", "a/b.npz", "--quiet").error_line(1)
    assert "in " in npsnn("data", "list").err, "the next command is not quiet"
    assert npsnn("data", "list", "--quiet").err == ""
    monkeypatch.setenv("NPSNN_EVALUATE_QUIET", "1")
    assert npsnn("evaluate", "--limit", 5, "--threads", 1).err == ""


def test_an_option_before_its_command_is_told_where_it_stands(npsnn: Npsnn) -> None:
    line = npsnn("--quiet", "info").error_line(2)
    assert line.endswith(
        "No such option '--quiet'. Options of a command stand after the command: npsnn COMMAND --quiet"
    )
    assert "npsnn data COMMAND --quiet" in npsnn("data", "--quiet", "list").error_line(2)
    assert "Did you mean" in npsnn("--plugn", "a.py", "info").error_line(2)


def test_nothing_is_coloured() -> None:
    pty = pytest.importorskip("pty", reason="terminals are POSIX's")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "npsnn", "data", "list"]
    environment = os.environ | {"TERM": "xterm-256color", "FORCE_COLOR": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        raw = b""
        try:
            while part := os.read(ours, 1 << 16):
                raw += part
        except OSError:
            pass
    os.close(ours)
    assert process.returncode == 0 and b"digits" in raw and b"\x1b" not in raw
