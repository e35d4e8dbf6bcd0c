"""How many bytes the ranks of this machine really send in a training step, as the system's TCP connections count them.

`sent` starts this file under mpiexec: each rank takes steps of a training, as in `npsnn train`, over TCP instead of
shared memory. Linux alone counts so.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import sleep

import click
import numpy as np
from scaling_content import TRAININGS, batch

from npsnn.train.epochs import Trainer
from npsnn.train.replicas import Replicas
from npsnn.workers.crew import Crew
from npsnn.workers.launched import world
from npsnn.workers.threads import Threads

OVER_TCP = {"MPIR_CVAR_NOLOCAL": "1", "MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp", "OMP_NUM_THREADS": "1"}
"""What has MPICH use TCP between ranks of one machine."""
TCP_INFO, ACKNOWLEDGED = 11, 120
"""Linux's number of the option that tells about a connection, and where in it the bytes stand that have arrived."""
SETTLED = 0.2
"""Seconds in which what was sent arrives."""
Sent = dict[str, list[float]]
"""By the name of a training, the bytes that each rank sends in a step."""


def arrived() -> int:
    """The bytes that this process has sent by TCP, and that have arrived."""
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        try:
            one = socket.socket(fileno=os.dup(int(file.name)))
        except OSError:  # no socket, or closed meanwhile
            continue
        with one:
            if one.type == socket.SOCK_STREAM and one.family in (socket.AF_INET, socket.AF_INET6):
                told = one.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
                found += struct.unpack_from("Q", told, ACKNOWLEDGED)[0]
    return found


def counted(crew: Crew, name: str, parts: int, steps: int) -> list[float]:
    """The bytes that each rank sends in a step of so many parts, of two images each."""
    training = TRAININGS[name]()
    data, before = batch(training, 2 * parts), 0
    with Threads(1) as local, Replicas(crew, local, frozenset()) as workers:
        trainer = Trainer(replace(training, micro_batch=2), data, data, workers, "cpu")
        workers.statistics, params = trainer.statistics, trainer.initial().params
        for step in range(1 + steps):
            if step == 1:  # connections stand by now
                crew.gathered(None)
                sleep(SETTLED)
                before = arrived()
            trainer.gradient(params, np.arange(2 * parts))
        sleep(SETTLED)
        return crew.gathered((arrived() - before) / steps)


def sent(ranks: int, names: list[str], parts: int, steps: int = 3, program: Path = Path(__file__)) -> Sent:
    """The bytes that each of so many ranks sends in a step of each training.

    program: what the ranks run; it ends in `main`.
    Raises click.ClickException where bytes cannot be counted.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=beside)
    if mpiexec is None or not Path("/proc/self/fd").is_dir():
        raise click.ClickException("counting needs Linux, and mpiexec of the package mpich")
    command = [mpiexec, "-n", str(ranks), sys.executable, str(program), str(parts), str(steps), *names]
    done = subprocess.run(command, env=os.environ | OVER_TCP, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise click.ClickException(f"mpiexec -n {ranks} failed: {' '.join(last) or f'exit code {done.returncode}'}")
    found: Sent = json.loads(done.stdout)
    if not all(map(all, found.values())):
        raise click.ClickException("this MPI does not send by TCP: take that of the package mpich")
    return found


def main() -> None:
    """Count as one of the ranks, and print as the first of them."""
    comm = world()
    if comm is None:
        sys.exit("scaling_wire.py is started by scripts/run scaling-model --wire")
    crew, (parts, steps, *names) = Crew(comm), sys.argv[1:]
    found = {name: counted(crew, name, int(parts), int(steps)) for name in names}
    if crew.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
