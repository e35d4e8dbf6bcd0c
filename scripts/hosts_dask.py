"""Sweep over hosts by Dask, kill the worker of one amid a training, and compare the networks with one process's.

The hosts are namespaces of this machine (`scripts/namespaces.py`). The first one has Dask's scheduler and npsnn sweep,
each other one a worker. Needs Linux, root, the programs ip, unshare and nsenter, and Dask. Exit code 1 where bytes
differ.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import checkout  # noqa: F401
import click
import numpy as np
from namespaces import Host, MissingError, check_machine, hosts

from npsnn.data import digits
from npsnn.runs import checkpoint
from npsnn.train.sweep import CSV, TESTED

PORT = 8786
HOSTS = 3
GRID = """
[train]
sigma = [0.3, 0.6]
seed = [0, 1]
epochs = {epochs}
batch-size = 16
dataset = "{images}"
"""
IMAGES, TESTS = 209, 20
COMPARED = (checkpoint.LAST, checkpoint.BEST, TESTED)
AMID = 2
"""The whole epochs of each training that has begun when a worker is killed."""
PATIENCE = 60.0
"""Seconds to wait for a program that starts."""


class OffError(Exception):
    """Something is not as it should be."""


def begin(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    """A program whose words go to a file."""
    with log.open("wb") as out:
        variables = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=variables)


def wait_for(log: Path, word: str) -> None:
    """Wait until a program has said a word; OffError where it does not."""
    start = monotonic()
    while word not in log.read_text(encoding="utf-8", errors="replace"):
        if monotonic() - start > PATIENCE:
            raise OffError(f"{log.stem} did not start: {log.read_text(errors='replace')[-500:]}")
        sleep(0.05)


def draw(path: Path) -> None:
    """Draw a small data set of digits."""
    labels = np.arange(IMAGES + TESTS) % 10
    images = digits.draw(labels, np.random.default_rng(0))
    (x_train, x_test), (y_train, y_test) = np.split(images, [IMAGES]), np.split(labels, [IMAGES])
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def epochs_done(runs: Path) -> dict[str, int]:
    """The whole epochs of each run."""
    found = sorted(runs.glob(f"*/{checkpoint.METRICS}"))
    return {path.parent.name: len(path.read_text(encoding="utf-8").splitlines()) for path in found}


def contents(runs: Path) -> dict[str, bytes]:
    """What must be the same, by its path."""
    return {str(p.relative_to(runs)): p.read_bytes() for p in sorted(runs.rglob("*")) if p.name in COMPARED}


def sweep(folder: Path, name: str, *words: object) -> list[str]:
    """The command that does the sweep."""
    command = (sys.executable, "-m", "npsnn.cli", "sweep", folder / "grid.toml", "--runs-dir", folder / name, *words)
    return [str(word) for word in command]


def over(made: list[Host], folder: Path) -> None:
    """The sweep over the hosts, of which the second is lost amid a training."""
    first, lost, *_ = made
    address, start, runs = f"tcp://{first.address}:{PORT}", monotonic(), folder / "hosts"

    def say(what: str) -> None:
        done = ", ".join(f"{name} {count}" for name, count in epochs_done(runs).items())
        click.echo(f"  {monotonic() - start:5.1f} s  {what}{f'; epochs: {done}' if done else ''}")

    with ExitStack() as stack:
        scheduler = ("-m", "distributed.cli.dask_scheduler", "--host", first.address, "--port", PORT, "--no-dashboard")
        programs = {"scheduler": first.command(sys.executable, *scheduler)}
        for host in made[1:]:
            worker = ("-m", "distributed.cli.dask_worker", address, "--host", host.address, "--name", host.name)
            place = ("--nthreads", 1, "--no-nanny", "--no-dashboard", "--local-directory", folder / host.name)
            programs[host.name] = host.command(sys.executable, *worker, *place)
        running = {}
        for name, command in programs.items():
            running[name] = begin(command, folder / f"{name}.log")
            stack.callback(running[name].kill)
            wait_for(folder / f"{name}.log", "Scheduler at" if name == "scheduler" else "Registered to")
        say(f"a scheduler on {first.name}, workers on {', '.join(host.name for host in made[1:])}")
        client = begin(first.command(*sweep(folder, "hosts", "--executor", address)), folder / "sweep.log")
        stack.callback(client.kill)
        while sum(done >= AMID for done in epochs_done(runs).values()) < HOSTS - 1:
            if client.poll() is not None:
                raise OffError(f"the sweep ended too early: {(folder / 'sweep.log').read_text()[-500:]}")
            sleep(0.01)
        for process in lost.processes():
            os.kill(process, signal.SIGKILL)
        say(f"the worker of {lost.name} is killed")
        if client.wait():
            raise OffError(f"the sweep failed: {(folder / 'sweep.log').read_text()[-500:]}")
        say("npsnn sweep has ended")


@click.command(help=__doc__)
@click.option("--epochs", type=click.IntRange(2 * AMID), default=40, show_default=True, help="Of each training.")
def main(epochs: int) -> None:
    try:
        check_machine()
        if find_spec("distributed") is None:
            raise MissingError("Dask is not installed: pip install 'npsnn[dask]'")
        with tempfile.TemporaryDirectory(prefix="npsnn-dask-") as name, hosts(HOSTS) as made:
            folder = Path(name)
            draw(folder / "own.npz")
            (folder / "grid.toml").write_text(GRID.format(epochs=epochs, images=folder / "own.npz"))
            alone = begin(sweep(folder, "alone", "--jobs", 1, "--threads", 1), folder / "alone.log")
            if alone.wait():
                raise OffError(f"the sweep of one process failed: {(folder / 'alone.log').read_text()[-500:]}")
            over(made, folder)
            if contents(folder / "hosts") != contents(folder / "alone"):
                raise OffError("the networks are not those of one process")
            states = [line.split(",")[1] for line in (folder / "hosts" / CSV).read_text().splitlines()[1:]]
            click.echo(f"{len(states)} trainings, all {' and '.join(sorted(set(states)))}.")
            click.echo(f"{', '.join(COMPARED)} of each have the bytes of one process.")
    except (MissingError, OffError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
