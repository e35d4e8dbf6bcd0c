"""npsnn attack --resume: nothing twice, nothing lost, and nothing of another command."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn, Outcome, interrupt_at, start, wait_for

from npsnn.attacks import Kept, identity
from npsnn.attacks.evaluation import Attacking
from npsnn.cli import attack_kept

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")]

OPTIONS = ("--limit", 70, "--eps", 0.1, "--eps", 0.2, "--eot", 1, "--draws", 2, "--selection", 2)
ATTACKS = ("--fgsm", "--adaptive-fgsm", "--random", "--samples", 2)
CALLS = 2 * (2 + 2 + 4)
"""The micro-batches of two radii: two of each attack, and of random as many without the perturbation."""


@pytest.fixture(autouse=True)
def _usual_signals() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.fixture
def attack(npsnn: Npsnn, runs: Path, data_dir: Path) -> Callable[..., Outcome]:
    """npsnn attack small, in this process alone."""
    return lambda *args: npsnn("attack", "small", "--runs-dir", runs, "--data-dir", data_dir, "--threads", 1, *args)


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """What is the same each time."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in document["results"]]
    return document | {"results": rows}


def lines(runs: Path) -> list[dict[str, Any]]:
    """The results and worst cases of the record."""
    found = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    found = [
        {name: line[name] for name in ("attack", "result", "worst_case", "images") if name in line} for line in found
    ]
    for line in found:
        line.get("result", {}).pop("seconds", None)
    return found


def unfinished(runs: Path) -> list[Path]:
    return list((runs / "small" / "attacks").glob("unfinished-*"))


@pytest.mark.parametrize(("call", "number"), [(1, signal.SIGINT), (4, signal.SIGTERM), (CALLS, signal.SIGINT)])
def test_a_stopped_attack_goes_on_as_if_nothing_had_happened(
    attack: Callable[..., Outcome],
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    number: signal.Signals,
) -> None:
    whole = attack(*OPTIONS, *ATTACKS, "--json", "--save", tmp_path / "whole.npz")
    assert whole.code == 0, whole
    expected, record = lasting(json.loads(whole.out)), lines(runs)
    assert unfinished(runs) == []
    (runs / "small" / "attacks.jsonl").unlink()
    with monkeypatch.context() as patch:
        interrupt_at(patch, Attacking, "__call__", call, number)
        cut = attack(*OPTIONS, *ATTACKS, "--json", "--save", tmp_path / "cut.npz")
    assert cut.code == 128 + number and json.loads(cut.out)["interrupted"] is True
    last = cut.err.splitlines()[-1]
    if call == 1:
        assert last == "Stopped: no result was finished; start npsnn attack again"
        assert unfinished(runs) == []
        return
    assert last.endswith(f"; go on with npsnn attack --resume {runs / 'small'}")
    assert len(unfinished(runs)) == 1
    calls: list[str] = []
    called = Attacking.__call__
    monkeypatch.setattr(Attacking, "__call__", lambda self, *args: (calls.append(self.name), called(self, *args))[1])
    again = attack("--resume", "--json")
    assert again.code == 0, again
    assert f"of {6 * 70:,} images are attacked" in again.err
    assert lasting(json.loads(again.out)) == expected
    assert lines(runs) == record
    assert len(calls) == CALLS - call + 1, "what is done is not done again"
    assert unfinished(runs) == []
    with np.load(tmp_path / "whole.npz") as first, np.load(tmp_path / "cut.npz") as second:
        assert first.files == second.files
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])


@pytest.fixture
def stopped(attack: Callable[..., Outcome], runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with an unfinished attack."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, Attacking, "__call__", 4, signal.SIGINT)
        assert attack(*OPTIONS, *ATTACKS).code == 130
    (path,) = unfinished(runs)
    return path


def test_options_that_differ_are_refused_by_name(
    attack: Callable[..., Outcome], stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stopped.read_bytes()
    for given, said in (
        (("--eps", 0.1), "--eps (0.1 and 0.2 there, 0.1 here)"),
        (("--limit", 60), "--limit (70 there, 60 here)"),
        (("--bim",), "--bim (False there, True here)"),
        (("--eot", 2, "--seed", 1), "--eot (1 there, 2 here), --seed (0 there, 1 here)"),
        (("--checkpoint", "best"), "--checkpoint (last there, best here)"),
    ):
        line = attack("--resume", *given).error_line(1)
        assert line == f"Error: no unfinished attack fits: {stopped} differs in {said}"
    monkeypatch.setenv("NPSNN_ATTACK_DRAWS", "3")
    assert "--draws (2 there, 3 here)" in attack("--resume").error_line(1)
    monkeypatch.delenv("NPSNN_ATTACK_DRAWS")
    monkeypatch.setattr("npsnn.runs.provenance.of_code", lambda: "another")
    assert "differs in code (" in attack("--resume").error_line(1)
    monkeypatch.undo()
    assert stopped.read_bytes() == content
    assert attack("--resume", "--eps", "1/10", "--eps", 0.2, "--fgsm").code == 0, "those that are the same"


def test_another_network_and_other_data_are_refused_by_name(
    attack: Callable[..., Outcome], runs: Path, stopped: Path, npsnn: Npsnn, data_dir: Path
) -> None:
    last = runs / "small" / "last.npz"
    shutil.copy(last, runs / "kept.npz")
    more = ("--runs-dir", runs, "--data-dir", data_dir)
    assert npsnn("train", "--model", "lenet5", "--limit", 64, "--epochs", 1, "--name", "new", *more).code == 0
    shutil.copy(runs / "new" / "last.npz", last)
    line = attack("--resume")
    assert line.code == 1 and "is of attacks that differ in network (" in line.err
    assert stopped.exists(), "it can go on once the network is back"
    shutil.copy(runs / "kept.npz", last)
    assert attack("--resume").code == 0


def test_what_is_at_work_or_not_there_is_said(
    attack: Callable[..., Outcome], runs: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Kept(stopped)
    assert attack("--resume").error_line(1) == f"Error: the unfinished attack {stopped} is at work in another process"
    other = attack(*OPTIONS, *ATTACKS)
    assert other.code == 0 and stopped.exists(), "another command has a file of its own"
    keep.close()
    fresh = attack(*OPTIONS, *ATTACKS)
    note = f"note: {stopped} holds an unfinished attack of these options: --resume would go on with it"
    assert note in fresh.err and fresh.code == 0
    assert "unfinished attack of these options" not in attack(*OPTIONS, "--fgsm").err
    assert attack("--resume").code == 0
    assert attack("--resume").error_line(1).startswith(f"Error: {runs / 'small'} has no unfinished attack: ")
    stopped.write_text("no parts")
    ended = attack("--resume")
    assert ended.code == 1 and f"warning: {stopped} is damaged, or no file of blocks" in ended.err


def test_images_that_could_not_be_saved_are_not_lost(
    attack: Callable[..., Outcome], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, f"cannot write {path} (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(attack_kept, "write_atomic", full)
        ended = attack(*OPTIONS, *ATTACKS, "--save", tmp_path / "a.npz")
    assert ended.code == 1
    assert f"go on with npsnn attack --resume {runs / 'small'}, with another --save" in ended.err
    recorded = lines(runs)
    monkeypatch.setattr(Attacking, "__call__", None)
    assert attack("--resume", "--save", tmp_path / "b.npz").code == 0
    with np.load(tmp_path / "b.npz") as saved:
        assert len(saved.files) == 7
    assert lines(runs) == recorded


def test_a_file_of_somebody_else_is_not_written_over(
    attack: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, Attacking, "__call__", 4, signal.SIGINT)
        assert attack(*OPTIONS, *ATTACKS, "--save", tmp_path / "a.npz").code == 130
    ours = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(b"somebody else's")
    assert "--save must name a new file" in attack("--resume").error_line(1)
    (tmp_path / "a.npz").write_bytes(ours)
    assert attack("--resume").code == 0
    with np.load(tmp_path / "a.npz") as saved:
        assert len(saved.files) == 7


def test_an_error_amid_an_attack_costs_nothing_that_was_done(
    attack: Callable[..., Outcome], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, calls = Attacking.__call__, []

    def failing(self: Attacking, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise MemoryError("no memory")
        return called(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Attacking, "__call__", failing)
        ended = attack(*OPTIONS, *ATTACKS)
    assert ended.code == 1 and f"go on with npsnn attack --resume {runs / 'small'}" in " ".join(ended.err.split())
    assert attack("--resume").code == 0


def test_another_processor_is_in_the_record(
    attack: Callable[..., Outcome], runs: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(lines(runs))
    monkeypatch.setattr(identity, "rounding", lambda *args: "another")
    ended = attack("--resume", "--json")
    assert ended.code == 0 and "rounds otherwise than the one that" in " ".join(ended.err.split())
    assert "other-rounding" in [caveat["code"] for caveat in json.loads(ended.out)["caveats"]]
    new = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()][before:]
    assert new and all("other-rounding" in [caveat["code"] for caveat in line["caveats"]] for line in new)


def test_parts_that_cannot_be_written_cost_no_result(
    attack: Callable[..., Outcome], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "small" / "attacks").write_text("in the way")
    ended = attack(*OPTIONS, "--fgsm", "--json")
    assert ended.code == 0 and len(json.loads(ended.out)["results"]) == 2
    assert "could not be gone on with" in " ".join(ended.err.split())


def test_two_commands_at_once_keep_all_of_both(runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--threads", 1, *OPTIONS)
    both = [start("attack", *where, *some) for some in (ATTACKS, ATTACKS, ("--bim", "--steps", 3))]
    for process in both:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    found = [(line.get("attack", {}).get("type"), "worst_case" in line) for line in lines(runs)]
    assert len(found) == 2 * (6 + 2) + 2 and found.count(("BIM", False)) == 2
    assert unfinished(runs) == []


def test_a_killed_command_goes_on(attack: Callable[..., Outcome], runs: Path, data_dir: Path) -> None:
    strong = ("--pgd", "--steps", 100)
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--threads", 1, *OPTIONS)
    process = start("attack", *where, "--fgsm", *strong)
    wait_for(process, lambda: any(path.stat().st_size > 30_000 for path in unfinished(runs)))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with (runs / "small" / "attacks.jsonl").open("a") as file:
        file.write('{"torn')
    again = attack("--resume", "--json")
    assert again.code == 0, again
    whole = attack(*OPTIONS, "--fgsm", *strong, "--json")
    assert lasting(json.loads(again.out)) == lasting(json.loads(whole.out))
