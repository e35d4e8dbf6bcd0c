"""Programs under mpiexec, of the MPI that the tests install."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def need_mpi() -> None:
    """Skip the tests of a module where there is no MPI."""
    pytest.importorskip("mpi4py")
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec", allow_module_level=True)


def started(ranks: int, *program: object, **variables: str) -> subprocess.Popen[str]:
    """Python's program of so many ranks, begun."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, *map(str, program)]
    path = os.pathsep.join([str(ROOT), str(ROOT.parent), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ | own, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def launched(ranks: int, *program: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same program, finished; a test that hangs fails."""
    process = started(ranks, *program, **variables)
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
