"""Commands that are interrupted: how they end, what they have kept, and that nothing goes on behind them."""

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn, interrupt_at, start, wait_for

from npsnn import attacks, data
from npsnn.attacks import evaluation
from npsnn.cli import interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


@pytest.fixture(autouse=True)
def _usual_signals() -> Any:
    """The usual handlers, which jobs in the background of a shell lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    after = signal.signal(signal.SIGINT, before[0]), signal.signal(signal.SIGTERM, before[1])
    assert after == (signal.default_int_handler, signal.SIG_DFL), "the command has put the handlers back"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_attack_keeps_what_was_finished(
    npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    interrupt_at(monkeypatch, evaluation, "run", 3, number)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 40, "--eot", 1, "--eps", 0.1, "--eps", 0.2)
    ended = npsnn("attack", *where, "--fgsm", "--adaptive-fgsm", "--json", "--save", tmp_path / "kept.npz")
    assert ended.code == code
    document = json.loads(ended.out)
    assert document["interrupted"] is True
    assert [(row["attack"], row["eps"]) for row in document["results"]] == [("fgsm", 0.1), ("adaptive-fgsm", 0.1)]
    lines = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    assert [line["result"] for line in lines if "result" in line] == document["results"]
    assert len(document["worst_case"]) == 1
    with np.load(tmp_path / "kept.npz") as saved:
        assert set(saved) == {"labels", "fgsm-linf-0.1", "adaptive-fgsm-linf-0.1"}
    said = ended.err.splitlines()[-1]
    kept = f"2 of 4 results are in {runs / 'small' / 'attacks.jsonl'}"
    assert said == f"Stopped: {kept}; go on with npsnn attack --resume {runs / 'small'}"


def test_an_error_in_an_attack_loses_none_before(
    npsnn: Npsnn, runs: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = evaluation.run, []

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("the attack left its ball")
        return run(*args, **kwargs)

    monkeypatch.setattr(evaluation, "run", failing)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--eps", 0.1)
    ended = npsnn("attack", *where, "--fgsm", "--bim", "--json")
    assert ended.code == 1 and "Error: the attack left its ball" in ended.err
    assert [row["attack"] for row in json.loads(ended.out)["results"]] == ["fgsm"]
    assert len((runs / "small" / "attacks.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_checklist_keeps_the_criteria_that_were_measured(
    npsnn: Npsnn, runs: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.attacks.checklist import suite

    interrupt_at(monkeypatch, suite.Suite, "unbounded", 1, signal.SIGINT)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--draws", 2)
    small = ("--steps", 1, "--samples", 2, "--population", 5, "--generations", 1)
    ended = npsnn("checklist", *where, *small, "--json")
    assert ended.code == 130
    document = json.loads(ended.out)
    assert document["interrupted"] is True and document["passed"] is None
    assert [row["number"] for row in document["criteria"]] == [1, 2]
    (logged,) = (json.loads(line) for line in (runs / "small" / "checklist.jsonl").read_text().splitlines())
    assert logged == document
    assert "Stopped: 2 of 10 criteria are in" in ended.err.splitlines()[-1]


def test_an_audit_prints_the_rows_that_were_checked(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    from npsnn.audit.run import Row

    interrupt_at(monkeypatch, Row, "__init__", 2, signal.SIGINT)
    ended = npsnn("audit", "N20", "E1", "--json")
    assert ended.code == 130
    document = json.loads(ended.out)
    assert document["interrupted"] is True
    assert [row["id"] for row in document["rows"]] == ["N20"]
    assert "Stopped: 1 rows were checked" in ended.err


@pytest.mark.parametrize(
    ("command", "where", "name"),
    [
        (("evaluate", "small"), attacks, "accuracy"),
        (("data", "fetch", "digits"), data, "fetch"),
        (("data", "verify", "digits"), data, "verify"),
        (("train", "--limit", "64"), data, "load"),
        (("attack", "small"), data, "load"),
    ],
)
def test_what_had_finished_nothing_says_so(
    npsnn: Npsnn,
    runs: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    where: object,
    name: str,
) -> None:
    before = sorted(runs.rglob("*"))
    interrupt_at(monkeypatch, where, name, 1, signal.SIGINT)
    folders = () if command[0] == "data" else ("--runs-dir", runs)
    ended = npsnn(*command, *folders, "--data-dir", data_dir)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.splitlines()[-1].startswith("Stopped: "), ended.err
    assert sorted(runs.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 3])
def test_a_training_says_what_it_has_and_how_it_goes_on(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    from npsnn.train.epochs import Trainer

    where = ("--runs-dir", tmp_path, "--data-dir", data_dir)
    with monkeypatch.context() as patch:
        interrupt_at(patch, Trainer, "updated", call, signal.SIGTERM)
        ended = npsnn("train", "--name", "cut", "--epochs", 3, "--limit", 64, *where)
    assert ended.code == 143
    way = f"go on with npsnn train --resume {tmp_path / 'cut'}"
    assert ended.err.splitlines()[-1] == f"Stopped: {call - 1} of 3 epochs are in {tmp_path / 'cut'}; {way}"
    assert npsnn("train", "--resume", "cut", *where).code == 0


@pytest.mark.slow
def test_signals_that_come_twice_leave_no_traceback(trained: Path, data_dir: Path) -> None:
    """As `timeout` sends them: one to the command, another to its whole group."""
    where = ("small", "--runs-dir", trained, "--data-dir", data_dir, "--limit", 64, "--threads", 2)
    process = start("attack", *where, "--pgd", "--steps", 100000)
    assert process.stdout is not None and "small" in process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and err.splitlines()[-1].startswith("Stopped: ")


def children(of: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == of:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux only")
@pytest.mark.parametrize("group", [False, True])
def test_no_process_goes_on_behind_a_training(tmp_path: Path, data_dir: Path, group: bool) -> None:
    """The signal comes as soon as there is another process, which then is not yet set up."""
    where = ("--data-dir", data_dir, "--runs-dir", tmp_path, "--name", "cut", "--limit", 600, "--threads", 2)
    process = start("train", *where, "--epochs", 1000)
    others: list[int] = []
    wait_for(process, lambda: bool(others.extend(children(process.pid)) or others))
    assert others
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err, err
    assert not [pid for pid in others if Path(f"/proc/{pid}").exists()]


def test_who_asks_again_is_obeyed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times, exits = iter([10.0, 10.5, 11.5]), []
    monkeypatch.setattr(interrupts, "monotonic", lambda: next(times))
    monkeypatch.setattr(os, "_exit", exits.append)
    with interrupts.handled():
        with pytest.raises(interrupts.Stopped) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.code == 143
        signal.raise_signal(signal.SIGINT)
        assert exits == [], "half a second later it is the same request"
        signal.raise_signal(signal.SIGINT)
    assert exits == [130]


def test_signals_that_are_ignored_stay_so() -> None:
    """As under nohup, and in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.handled():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "npsnn.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from npsnn.cli.start import main
main()
"""


def test_an_interrupt_while_the_command_is_loaded_leaves_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("error", [ImportError("initialization failed"), SystemError("error return without exception")])
def test_an_interrupt_that_a_module_in_c_has_swallowed_ends_the_command(
    npsnn: Npsnn, trained: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An extension module that is loaded may put an error of its own in the place of KeyboardInterrupt."""

    def loading(*args: Any, **kwargs: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise error

    monkeypatch.setattr("npsnn.cli.evaluate.load_run", loading)
    ended = npsnn("evaluate", "--runs-dir", trained)
    assert (ended.code, ended.err) == (143, "Stopped: npsnn evaluate had finished nothing; start it again\n")
    monkeypatch.setattr("npsnn.cli.evaluate.load_run", lambda *args, **kwargs: (_ for _ in ()).throw(error))
    assert f"unexpected {type(error).__name__}" in npsnn("evaluate", "--runs-dir", trained).error_line(1)


def test_an_interrupt_while_a_command_is_read_names_it(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, importlib, "import_module", 1, signal.SIGINT)
    ended = npsnn("train", "--show")
    assert (ended.code, ended.err) == (130, "Stopped: npsnn train had finished nothing; start it again\n")
