"""scripts/run hosts, as far as it needs no root: its formula, and what it says where there are no hosts to have."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hosts import OffError, Place, compare, main
from hosts_formula import formula
from namespaces import MissingError, Sent, check_machine, hosts
from small_networks import normalised

from npsnn import models, train
from npsnn.data import own
from npsnn.layers.params import Role


def trained(folder: Path, training: train.Training) -> Path:
    """A run of an epoch, on the digits that the hosts have."""
    place = Place(folder, [], "", folder)
    place.draw()
    training = replace(training, epochs=1, batch_size=96, micro_batch=16)
    for _ in train.fit(training, own.load(str(place.data)), place.runs / "alone", threads=1):
        pass
    return place.runs / "alone"


def test_the_formula_is_that_of_the_page(tmp_path: Path) -> None:
    """(m + 1) P (R - 1)/R bytes a step for P bytes of gradients and m of the batch's 6 micro-batches."""
    run = trained(tmp_path, train.Training(models.lenet5(sigma=0.6), trains=Role.ALL))
    with np.load(run / "last.npz") as arrays:
        gradients = sum(a.nbytes for name, a in arrays.items() if name.startswith("params/"))
    for size in (2, 3, 4):
        made, each = formula(run, size), {2: [3, 3], 3: [2, 2, 2], 4: [2, 1, 2, 1]}[size]
        assert made.gradients == [(m + 1) * gradients * (size - 1) / size for m in each]
        assert made.steps == 2 and 0 < made.meetings < 0.01 * gradients
        assert made.once > 209 * 28 * 28 * (size - 1), "the images go to every other rank"


def test_batchnorm_meets_in_its_layers(tmp_path: Path) -> None:
    """Three times, each with 4 numbers of float32 from every micro-batch, or twice as many; they are not gradients."""
    run = trained(tmp_path, train.Training(normalised(16), train.CrossEntropy()))
    with np.load(run / "last.npz") as arrays:
        gradients = sum(a.nbytes for name, a in arrays.items() if name.startswith("params/") and "running" not in name)
    made = formula(run, 3)
    assert made.gradients == [3 * gradients * 2 / 3] * 3
    assert 2 * 6 * (4 + 4 + 8) * 4 < made.meetings < 10_000


def test_other_bytes_are_noticed(tmp_path: Path) -> None:
    place = Place(tmp_path, [], "", tmp_path)
    for name in ("alone", "other"):
        (place.runs / name).mkdir(parents=True)
        for file in ("last.npz", "best.npz"):
            (place.runs / name / file).write_bytes(b"the same")
    compare(place, "alone", "other")
    (place.runs / "other" / "best.npz").write_bytes(b"another")
    with pytest.raises(OffError, match=r"best\.npz of other has other bytes"):
        compare(place, "alone", "other")


def test_headers_are_no_content() -> None:
    assert Sent(1000, 5).since(Sent(400, 2)) == Sent(600, 3)
    assert Sent(600, 3).content == 600 - 3 * 66


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        done = CliRunner().invoke(main, [])
        assert done.exit_code == 1 and done.output.startswith("Error: ") and done.output.count("\n") == 1, done.output
        return str(done.output)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name, **path: None if name == "ip" else f"/bin/{name}")
    assert said() == "Error: network namespaces are made by programs that are not here: ip (package iproute2)\n"
    monkeypatch.setattr(shutil, "which", lambda name, **path: None if name == "mpiexec" else f"/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert said() == "Error: network namespaces are made by root, and this user is not: try sudo\n"
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "mpiexec, which is not here: pip install 'npsnn[mpi]' mpich" in said()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MissingError, match="namespaces are Linux's, and this is darwin"):
        check_machine()
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ValueError, match="count must be from 2 to 8, got 9"), hosts(9):
        pass
    done = CliRunner().invoke(main, ["--back", "3"])
    assert done.exit_code == 2 and "give --cut as well" in done.output


def test_hosts_end_with_the_block() -> None:
    try:
        with hosts(2) as (one, other):
            named = one.command("cat", "/proc/sys/kernel/hostname", "/etc/hosts")
            said = subprocess.run(named, capture_output=True, text=True, check=True).stdout
            assert said == f"alpha\n127.0.0.1 localhost\n{one.address} alpha\n{other.address} beta\n"
            state = one.command("ip", "-brief", "link", "show", "eth0")
            for change, carrier in ((one.mend, "LOWER_UP"), (one.cut, "NO-CARRIER"), (one.mend, "LOWER_UP")):
                change()
                assert carrier in subprocess.run(state, capture_output=True, text=True, check=True).stdout
            sleeper = subprocess.Popen(other.command("sleep", "100"))
            while other.processes() != [sleeper.pid]:
                pass
            assert one.processes() == []
        assert sleeper.wait(timeout=5) == -signal.SIGKILL
    except MissingError as error:
        pytest.skip(str(error))
