"""Whether a launcher is at work, by its variables, and what is said where its ranks have no MPI."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from npsnn.workers import launched

ALL = (*launched.SIZES, *launched.LOCALS, launched.OF_A_STEP, launched.SWITCH, "PMIX_RANK")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ALL:
        monkeypatch.delenv(name, raising=False)
    launched.world.cache_clear()
    yield
    launched.world.cache_clear()


def mpi(size: int, level: int = 3) -> ModuleType:
    """A double of mpi4py whose MPI sees so many ranks."""
    module: Any = ModuleType("mpi4py")
    module.MPI = SimpleNamespace(
        COMM_WORLD=SimpleNamespace(size=size, rank=0),
        THREAD_SERIALIZED=2,
        Query_thread=lambda: level,
        Get_library_version=lambda: "Some MPI v1, of wood\0\nmade here",
    )
    found: ModuleType = module
    return found


@pytest.mark.parametrize(
    ("variables", "ranks"),
    [
        ({}, 1),
        ({"PMI_SIZE": "1"}, 1),
        ({"PMI_SIZE": "4"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "0"}, 3),
        ({"MV2_COMM_WORLD_SIZE": "2"}, 2),
        ({"SLURM_STEP_NUM_TASKS": "5", "PMIX_RANK": "4"}, 5),
        ({"SLURM_STEP_NUM_TASKS": "1"}, 1),
        ({"PMI_SIZE": "4", "NPSNN_MPI": "0"}, 1),
        ({"PMI_SIZE": "many"}, 1),
    ],
    ids=str,
)
def test_the_launcher_says_how_many_ranks_there_are(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], ranks: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched.ranks() == ranks


def test_copies_that_know_nothing_of_one_another_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.warns(UserWarning, match="srun started 4 copies of this program"):
        assert launched.ranks() == 1


def test_a_pool_of_ranks_stays_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py.futures", ModuleType("mpi4py.futures"))
    assert launched.ranks() == 1 and launched.world() is None


def test_ranks_without_mpi4py_are_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ValueError, match=r"started 2 ranks, which need mpi4py .*npsnn\[mpi\].* NPSNN_MPI=0"):
        launched.world()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (mpi(1), "the launcher started 3 ranks, but Some MPI v1 sees 1: take its own mpiexec"),
        (mpi(3, level=1), "MPI_THREAD_SERIALIZED is needed"),
    ],
)
def test_another_mpi_than_the_launchers_is_refused(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, message: str
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    monkeypatch.setitem(sys.modules, "mpi4py", module)
    with pytest.raises(ValueError, match=message) as caught:
        launched.world()
    assert "\n" not in str(caught.value)


def test_nothing_is_imported_without_a_launcher() -> None:
    code = "import sys; from npsnn.workers import ranks; ranks.lead(); sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("variables", "local"),
    [
        ({}, None),
        ({"MPI_LOCALRANKID": "2", "SLURM_LOCALID": "0"}, 2),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "3", "SLURM_LOCALID": "0"}, 3),
        ({"MV2_COMM_WORLD_LOCAL_RANK": "1"}, 1),
        ({"SLURM_LOCALID": "5"}, 5),
        ({"MPI_LOCALRANKID": "some"}, None),
    ],
)
def test_the_launcher_says_which_of_its_hosts_ranks_a_rank_is(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], local: int | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched.local_rank() == local
