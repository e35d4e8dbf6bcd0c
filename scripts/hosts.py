"""Train over several hosts, compare the bytes with one process's, and the traffic with the formula of docs/scaling.md.

The hosts are namespaces of this machine, each with a network, a host name and shared memory of its own, which a bridge
joins: nothing but messages over TCP leads from one to another. Two networks are trained, LeNet-5 and one with
BatchNorm. With --cut the network of one host goes down amid a training, which the others finish.

Needs Linux, root, and the programs ip, unshare and nsenter. Leaves nothing behind. Exit code 1 where bytes differ or
traffic is off.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import checkout  # noqa: F401
import click
import numpy as np
from bench_report import text_table
from hosts_formula import Formula, formula
from namespaces import HEADERS, Host, MissingError, Sent, as_ssh, check_machine, hosts

from npsnn.data import digits
from npsnn.runs import checkpoint, plugins
from npsnn.workers.launched import INSTALL

COMPARED = (checkpoint.LAST, checkpoint.BEST)
PLUGIN = Path(__file__).with_name("normalised.py")
IMAGES, TESTED = 209, 16
"""Digits: 192 to train on, 17 to validate on, and so few to test on that rank 0 keeps them to itself."""
OPTIONS = ("--batch-size", 96, "--micro-batch", 16, "--threads", 1)
"""Two batches of six micro-batches in each epoch."""
TOLERANCE = 0.02
"""The part by which traffic may differ from the formula: MPI's own messages, acknowledgements, what is sent again."""
STARTS = 100_000
"""The bytes that a host may send when its rank starts and ends: MPI's addresses, and the launcher's messages."""
CUT_AFTER = 2
"""The whole epochs after which the network is cut."""
UNCHANGED = 5.0
"""Seconds from one look at a training that is cut to the next."""


class OffError(Exception):
    """Something is not as it should be."""


@dataclass(frozen=True)
class Case:
    """A network that is trained: its title, and npsnn's options before the command and after it."""

    name: str
    title: str
    before: tuple[object, ...] = ()
    after: tuple[object, ...] = ()


CASES = (
    Case("lenet5", "LeNet-5"),
    Case(
        "normalised",
        "two convolutions with BatchNorm",
        ("--plugin", PLUGIN),
        ("--model", "normalised", "--noise", "none", "--loss", "cross-entropy"),
    ),
)


@dataclass(frozen=True)
class Place:
    """Where all runs are made, and on which hosts."""

    folder: Path
    hosts: list[Host]
    mpiexec: str
    ssh: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def data(self) -> Path:
        return self.folder / "digits.npz"

    def draw(self) -> None:
        """Draw the digits."""
        labels = np.arange(IMAGES + TESTED) % 10
        images = digits.draw(labels, np.random.default_rng(0))
        (x_train, x_test), (y_train, y_test) = np.split(images, [IMAGES]), np.split(labels, [IMAGES])
        np.savez(self.data, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

    def npsnn(self, case: Case, *words: object) -> list[str]:
        """The command that trains."""
        command = (sys.executable, "-m", "npsnn.cli", *case.before, "train", *words, "--runs-dir", self.runs)
        return [str(word) for word in command]

    def new(self, case: Case, name: str, epochs: int) -> list[str]:
        """The command that trains a new run."""
        return self.npsnn(case, *case.after, "--dataset", self.data, *OPTIONS, "--epochs", epochs, "--name", name)

    def over(self, those: Sequence[Host], command: list[str], limit: int = 0) -> list[str]:
        """The command as a rank on each of those hosts, started by the first; limit: seconds that it may take."""
        names = ",".join(host.name for host in those)
        launcher = ("-hosts", names, "-ppn", 1, "-launcher", "ssh", "-launcher-exec", self.ssh)
        within = ("timeout", "--kill-after=5", limit) if limit else ()
        return those[0].command(*within, self.mpiexec, *launcher, *command)


def started(command: list[str]) -> "subprocess.Popen[str]":
    """A command, begun. MPICH is told to send messages where it would take processes of one kernel for neighbours."""
    variables = os.environ | {"MPIR_CVAR_NOLOCAL": "1", "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=variables, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def done(command: list[str]) -> None:
    """Run a command to its end; OffError where it fails."""
    process = started(command)
    try:
        _, said = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        raise OffError(f"a training ended with exit code {process.returncode}: {' '.join(said.split())}")


def compare(place: Place, whole: str, other: str) -> None:
    """OffError unless two runs have the same checkpoints."""
    for name in COMPARED:
        if (place.runs / whole / name).read_bytes() != (place.runs / other / name).read_bytes():
            raise OffError(f"{name} of {other} has other bytes than that of one process")


def counted(place: Place, command: list[str]) -> list[Sent]:
    """What each host sent during the command."""
    before = [host.sent for host in place.hosts]
    done(place.over(place.hosts, command))
    return [host.sent.since(b) for host, b in zip(place.hosts, before, strict=True)]


def rows(made: Formula, short: list[Sent], long: list[Sent], steps: int) -> Iterator[tuple[float, float, float, float]]:
    """Of each host the bytes that it sent in a step, what it should, those it sent besides, and what it should.

    short, long: what each sent in a run of one epoch, and in one of several.
    steps: by which the long run is longer.
    """
    for rank, (one, all_) in enumerate(zip(short, long, strict=True)):
        a_step = (all_.content - one.content) / steps
        due = made.gradients[rank] + made.meetings
        yield a_step, due, one.content - a_step * made.steps, made.once if rank == 0 else 0.0


def check(place: Place, case: Case, epochs: int) -> list[str]:
    """Train on all hosts, and say what was sent; what is wrong, in lines."""
    done(place.new(case, f"{case.name}-alone", epochs))
    made = formula(place.runs / f"{case.name}-alone", len(place.hosts))
    short = counted(place, place.new(case, f"{case.name}-short", 1))
    long = counted(place, place.new(case, f"{case.name}-hosts", epochs))
    compare(place, f"{case.name}-alone", f"{case.name}-hosts")
    steps = made.steps * (epochs - 1)
    click.echo(f"\n{case.title}: {' and '.join(COMPARED)} have the bytes of one process after {epochs} epochs\n")
    table, wrong = [], []
    for rank, found in enumerate(rows(made, short, long, steps)):
        (a_step, due, besides, once), name = found, place.hosts[rank].name
        numbers = made.gradients[rank], made.meetings, due, a_step, once, besides
        table.append((name, *map(_number, numbers)))
        if abs(a_step - due) > TOLERANCE * due:
            wrong.append(f"{case.title}: {name} sent {_number(a_step)} bytes a step, not {_number(due)}")
        if not -STARTS <= besides - once <= TOLERANCE * once + STARTS:
            wrong.append(f"{case.title}: {name} sent {_number(besides)} bytes besides, not {_number(once)}")
    head = ("host", "gradients", "+ meetings", "= a step", "counted", "once", "counted")
    click.echo(text_table(head, table))
    return wrong


def _number(value: float) -> str:
    return f"{value:,.0f}"


def cut(place: Place, case: Case, epochs: int, limit: int, back: float | None) -> None:
    """Cut the last host's network amid a training, and have the training finished; OffError where that fails.

    limit: seconds after which timeout ends the job.
    back: seconds after which the network is back, None for never.
    """
    *left, last = place.hosts
    run = place.runs / "cut"
    done(place.new(case, "alone", epochs))
    start = monotonic()

    def say(what: str) -> None:
        click.echo(f"  {monotonic() - start:5.1f} s  {_finished(run):3d} epochs done  {what}")

    click.echo(f"{case.title}, {epochs} epochs")
    process = started(place.over(place.hosts, place.new(case, "cut", epochs), limit))
    try:
        say(f"begun on {', '.join(host.name for host in place.hosts)}, under timeout {limit}")
        while _finished(run) < CUT_AFTER:
            if process.poll() is not None:
                raise OffError(f"the training ended before it was cut: {' '.join(process.communicate()[1].split())}")
            sleep(0.01)
        last.cut()
        say(f"the link of {last.name} is cut")
        for _ in range(2):
            sleep(UNCHANGED if back is None else back / 2)
            say("all ranks wait" if process.poll() is None else "mpiexec has ended")
        if back is not None:
            last.mend()
            say(f"the link of {last.name} is back")
        process.communicate()
    finally:
        process.kill()
    ended = process.returncode
    say(f"mpiexec has ended with exit code {ended}" if ended >= 0 else "timeout has killed mpiexec, which did not end")
    sleep(1)
    for host in place.hosts:
        say(f"{host.name} has {len(host.processes())} processes of the job left")
    if process.returncode:
        done(place.over(left, place.npsnn(case, "--resume", "cut", "--threads", 1)))
        say(f"npsnn train --resume has gone on, on {', '.join(host.name for host in left)}")
    compare(place, "alone", "cut")
    click.echo(f"{' and '.join(COMPARED)} have the bytes of one process.")


def _finished(run: Path) -> int:
    """The whole epochs of a run so far."""
    path = run / checkpoint.METRICS
    return len(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else 0


def launcher() -> str:
    """The mpiexec of MPICH; MissingError where there is none."""
    beside = Path(sys.executable).parent
    found = shutil.which("mpiexec", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if found is None:
        raise MissingError(f"ranks are started by mpiexec, which is not here: {INSTALL} mpich")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    if "HYDRA" not in version:
        raise MissingError(f"the hosts are reached by MPICH's mpiexec, and {found} is another's: pip install mpich")
    return found


@click.command(help=__doc__)
@click.option("--hosts", "count", type=click.IntRange(2, 8), default=3, show_default=True, help="How many.")
@click.option("--epochs", type=click.IntRange(CUT_AFTER + 4), default=12, show_default=True, help="Of two steps each.")
@click.option("--cut", "cutting", is_flag=True, help="Only cut a host's network, and finish the training.")
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, help="Seconds a cut job may take.")
@click.option("--back", type=click.FloatRange(0), help="Seconds until the network is back; never by default.")
def main(count: int, epochs: int, cutting: bool, limit: int, back: float | None) -> None:
    if not cutting and back is not None:
        raise click.UsageError("--back is of a network that is cut: give --cut as well")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as by Ctrl-C
    try:
        check_machine()
        mpiexec = launcher()
        with tempfile.TemporaryDirectory(prefix="npsnn-hosts-") as folder, hosts(count) as made:
            plugins.load_plugin(PLUGIN)
            place = Place(Path(folder), made, mpiexec, as_ssh(made, Path(folder) / "ssh"))
            place.draw()
            if cutting:
                cut(place, CASES[0], epochs, limit, back)
                return
            click.echo(
                f"{count} hosts, a rank on each. Bytes that each sent, less {HEADERS} of headers for each packet:"
            )
            wrong = [line for case in CASES for line in check(place, case, epochs)]
        if wrong:
            raise OffError("; ".join(wrong))
        click.echo(f"\nAll within {TOLERANCE:.0%} of the formula, and {STARTS:,} bytes for the start of the ranks.")
    except (MissingError, OffError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
