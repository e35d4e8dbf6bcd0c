"""Ranks of an MPI job: the bytes of one process, and errors that all ranks meet."""

import json
import re
from pathlib import Path

import pytest
from launching import ROOT, launched, need_mpi
from rank_program import trained

need_mpi()
PROGRAM = ROOT / "rank_program.py"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return trained(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(("ranks", "chain"), [(2, "0"), (3, "0"), (3, "1")])
def test_ranks_train_and_attack_to_the_bytes_of_one_process(
    alone: dict[str, bytes], tmp_path: Path, ranks: int, chain: str
) -> None:
    """With short last batches, BatchNorm over all ranks, and errors of single ranks in between."""
    done = launched(ranks, PROGRAM, tmp_path, NPSNN_CHAIN=chain, **({"TEST_CANARY": "1"} if ranks == 2 else {}))
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    for name, expected in alone.items():
        folder, _, file = name.partition(" ")
        if file:
            assert (tmp_path / folder / file).read_bytes() == expected, name
        else:
            assert (tmp_path / f"{name}.bin").read_bytes() == expected, name
    said = json.loads((tmp_path / "said.json").read_text())
    for name in ("lenet5", "normalised"):
        assert said[f"{name} 0"] == "ValueError: the loss has no gradient here: "
        assert said[f"{name} 1"].startswith(f"ValueError: the loss has no gradient here: rank 1 of {ranks} on ")
    assert said["update 0"] == "ArithmeticError: the update jams: "
    assert said["update 1"].startswith(f"ArithmeticError: the update jams: rank 1 of {ranks} on ")
    assert re.fullmatch(rf"job \d+ fails here: rank [12] of {ranks} on .+", said["job"])
    assert said["jobs"] == str(list(range(12))), "the ranks go on after an error"
    told = r"rank 1 of 2 on .* rounds otherwise than rank 0, .*" if ranks == 2 else ""
    assert re.fullmatch(told, said["canary"])
