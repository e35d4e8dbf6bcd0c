"""Jobs by any executor, beside what the tests of reproductions and sweeps say."""

from pathlib import Path

import pytest
from errands import Errand, do, is_done
from plugin_files import MINE, forget

from npsnn.jobs import executors, schedule
from npsnn.runs import plugins
from npsnn.train import sweep


def states(jobs: list[Errand], kind: str = "processes", at_a_time: int = 1) -> dict[str, str]:
    """What became of the jobs."""
    with executors.executor(kind, at_a_time) as executor:
        return {event.job.key: event.state for event in schedule.run(jobs, is_done, do, executor)}


def test_what_is_needed_comes_first_and_its_failure_is_told(tmp_path: Path) -> None:
    good, bad = Errand("good", tmp_path), Errand("bad", tmp_path, "no room")
    above, below = Errand("above", tmp_path, needs=(good, bad)), Errand("below", tmp_path, needs=(good,))
    expected = {"good": "done", "bad": "failed", "above": "not run", "below": "done"}
    assert states([above, below], "threads", 3) == expected


def test_a_process_that_is_killed_is_told_and_the_next_try_goes_on(tmp_path: Path) -> None:
    jobs = [Errand("one", tmp_path), Errand("two", tmp_path, "dies")]
    with pytest.raises(ChildProcessError, match=r"a process was killed, .*; the same command goes on"):
        states(jobs, at_a_time=2)
    assert states(jobs) == {"one": "done", "two": "done"}


def test_other_processes_read_the_plugins_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    try:
        plugins.load_plugin(tmp_path / "mine.py")
        points = sweep.grid(model="mine", noise="preactivation", epochs=1, limit=8)
        (event,) = sweep.run(points, tmp_path / "runs", jobs=2)
        assert event.state == "done", event.why
    finally:
        forget()


def test_executors_are_named_or_have_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)  # as where it is not installed
    for kind, message in (
        ("tcp://127.0.0.1:1", r"needs Dask, which is not installed: pip install 'npsnn\[dask\]'"),
        ("mpi", "put mpiexec -n 3 before the command"),
        ("proceses", "did you mean processes"),
    ):
        with pytest.raises(ValueError, match=message), executors.executor(kind):
            pass
