"""`scripts/run hosts-dask` needs root and Dask and runs by hand; here is what it says where something is missing."""

import sys
from pathlib import Path

import hosts_dask
import pytest
from click.testing import CliRunner


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_dask, "check_machine", lambda: None)
    monkeypatch.setattr(hosts_dask, "find_spec", lambda name: None)
    ended = CliRunner().invoke(hosts_dask.main, [])
    assert ended.exit_code == 1 and ended.output == "Error: Dask is not installed: pip install 'npsnn[dask]'\n"


def test_a_program_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "worker.log"
    hosts_dask.begin([sys.executable, "-c", "print('no room')"], log).wait()
    monkeypatch.setattr(hosts_dask, "PATIENCE", 0.1)
    with pytest.raises(hosts_dask.OffError, match="worker did not start: no room"):
        hosts_dask.wait_for(log, "ready")
