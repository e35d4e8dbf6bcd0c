"""Whether a launcher of MPI started this program as one of several ranks. Nothing is imported unless it did."""

import os
import sys
import warnings
from functools import cache
from typing import Any

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers say how many ranks they started: MPICH's, Intel MPI's and Microsoft MPI's, Open MPI's, MVAPICH's."""
LOCALS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
"""Where launchers say which of its host's ranks a rank is: MPICH's and Intel MPI's, Open MPI's, MVAPICH's, srun.

The numbers begin at 0. srun's comes last: a batch job of SLURM hands it on to the ranks of another launcher, with the
number of the batch job.
"""
OF_A_STEP = "SLURM_STEP_NUM_TASKS"
"""Where srun says how many tasks it started, whether or not they know of one another."""
SWITCH = "NPSNN_MPI"
"""The variable that, at 0, makes each rank a program of its own."""
INSTALL = "pip install 'npsnn[mpi]'"


def ranks() -> int:
    """The number of ranks that a launcher started, this program among them; 1 without a launcher.

    It is 1 as well where NPSNN_MPI=0 is set, and in a pool of `mpi4py.futures`, whose ranks do other work.
    """
    if os.environ.get(SWITCH) == "0" or "mpi4py.futures" in sys.modules:
        return 1
    found = max(map(_number, SIZES))
    tasks = _number(OF_A_STEP)
    if tasks > 1 and found == 1 and "PMIX_RANK" not in os.environ:
        warnings.warn(
            f"srun started {tasks} copies of this program that know nothing of one another: srun --mpi=pmi2 (MPICH) or "
            f"--mpi=pmix (Open MPI) makes them ranks of one, {SWITCH}=0 says that they are meant to be apart",
            stacklevel=2,
        )
        return 1
    return max(found, tasks)


def local_rank() -> int | None:
    """Which of its host's ranks this one is, counted from 0; None where the launcher does not say."""
    said = (os.environ.get(name, "") for name in LOCALS)
    return next((int(text) for text in said if text.isdecimal()), None)


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 1


@cache
def world() -> Any:
    """The communicator of all ranks, of mpi4py; None where there is one rank.

    Raises ValueError where there is no MPI for these ranks, or not the launcher's.
    """
    started = ranks()
    if started < 2:
        return None
    apart = f"or set {SWITCH}=0 for as many runs of their own"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is mpi4py, and no MPI
        why = f"a launcher started {started} ranks, which need mpi4py and an MPI: {INSTALL}, {apart}"
        raise ValueError(f"{why} ({error})") from error
    comm = MPI.COMM_WORLD
    if comm.size != started:
        version = MPI.Get_library_version().splitlines()[0].partition(",")[0].strip("\0 ")
        raise ValueError(
            f"the launcher started {started} ranks, but {version} sees {comm.size}: take its own mpiexec, {apart}"
        )
    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise ValueError("this MPI serves one thread of a process alone: MPI_THREAD_SERIALIZED is needed")
    return comm
