"""A sum that is handed from rank to rank: the bits of one process."""

from pathlib import Path

import chain_program
import pytest
from launching import ROOT, launched, need_mpi

from npsnn.workers.chain import Chain

need_mpi()


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_sum_is_that_of_one_process_on_every_rank(tmp_path: Path, ranks: int) -> None:
    """With ranks that have no row, numbers that are fewer than pieces, and several pieces."""
    assert len(Chain(ranks, chain_program.SHAPES[-1][1], 4).pieces) > 1
    for chain in ("0", "1"):
        done = launched(ranks, ROOT / "chain_program.py", tmp_path, NPSNN_CHAIN=chain)
        assert (done.returncode, done.stderr) == (0, "")
    for number, shape in enumerate(chain_program.SHAPES):
        first, *others = chain_program.rows(*shape)
        expected = first.copy()
        for row in others:
            expected += row
        for rank in range(ranks):
            for chained in (False, True):
                assert (tmp_path / f"{chained} {number} {rank}").read_bytes() == expected.tobytes(), (shape, rank)


def test_pieces_are_a_row_without_gaps() -> None:
    for size in (0, 1, 2, 1000, 10**7):
        pieces = Chain(8, size, 4).pieces
        cuts = [cut for piece in pieces for cut in piece]
        assert (cuts[0], cuts[-1]) == (0, size) and cuts[1:-1:2] == cuts[2::2]
        assert all(stop > start for start, stop in pieces) or size == 0
