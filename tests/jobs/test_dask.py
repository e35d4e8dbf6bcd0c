"""A sweep by Dask, of which a worker is killed."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from calling import Npsnn
from own_data import kept
from sweeps import lasting

from npsnn.jobs import executors
from npsnn.runs import checkpoint
from npsnn.train import sweep

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A scheduler and two workers."""
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as made:
        yield made


def test_a_worker_is_killed_and_the_other_goes_on(npsnn: Npsnn, cluster: Any, tmp_path: Path) -> None:
    """With the training that the killed one had begun, to the bytes of a sweep that nobody disturbed."""
    file, images = tmp_path / "grid.toml", kept(tmp_path)
    file.write_text(f'[train]\nsigma = [0.3, 0.6]\nseed = [0, 1]\nepochs = 40\nbatch_size = 16\ndataset = "{images}"\n')
    assert npsnn("sweep", file, "--jobs", 1, "--threads", 1, "--runs-dir", tmp_path / "alone").code == 0
    killed = Thread(target=_kill_one, args=(cluster, tmp_path / "dask"))
    killed.start()
    ended = npsnn("sweep", file, "--executor", cluster.scheduler_address, "--runs-dir", tmp_path / "dask", "--json")
    killed.join()
    assert ended.code == 0, ended.err
    assert [row["state"] for row in json.loads(ended.out)["runs"]] == [sweep.DONE] * 4
    assert lasting(tmp_path / "dask") == lasting(tmp_path / "alone")


def _kill_one(cluster: Any, folder: Path) -> None:
    """Kill a worker that is amid a training."""
    while not list(folder.glob(f"*/{checkpoint.METRICS}")):
        time.sleep(0.01)
    os.kill(next(iter(cluster.workers.values())).process.process.pid, signal.SIGKILL)


def test_a_scheduler_that_does_not_answer_is_one_line(
    npsnn: Npsnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 1)
    file = tmp_path / "grid.toml"
    file.write_text(f'[train]\nseed = [0, 1]\ndataset = "{kept(tmp_path)}"\n')
    ended = npsnn("sweep", file, "--executor", "tcp://127.0.0.1:1", "--runs-dir", tmp_path / "runs")
    assert "tcp://127.0.0.1:1" in ended.error_line(1)
