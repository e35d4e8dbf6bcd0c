"""A sum that is handed from rank to rank: the bits of one process, and taken where it takes less time."""

from pathlib import Path

import chain_program
import pytest
from launching import ROOT, launched, need_mpi

from npsnn.workers.chain import Chain

need_mpi()


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_sum_is_that_of_one_process_on_every_rank(tmp_path: Path, ranks: int) -> None:
    """With ranks that have no row, numbers that are fewer than pieces, and several pieces."""
    assert len(Chain(ranks, *chain_program.SHAPES[-1], 4).pieces) > 1
    done = launched(ranks, ROOT / "chain_program.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for number, shape in enumerate(chain_program.SHAPES):
        first, *others = chain_program.rows(*shape)
        expected = first.copy()
        for row in others:
            expected += row
        for rank in range(ranks):
            assert (tmp_path / f"{number}-{rank}").read_bytes() == expected.tobytes(), (shape, rank)


def test_pieces_are_a_row_without_gaps() -> None:
    for size in (1, 2, 1000, 10**7):
        cuts = [cut for piece in Chain(8, 128, size, 4).pieces for cut in piece]
        assert (cuts[0], cuts[-1]) == (0, size) and cuts[1:-1:2] == cuts[2::2]
        assert all(stop > start for start, stop in Chain(8, 128, size, 4).pieces)


@pytest.mark.parametrize(
    ("ranks", "jobs", "size", "expected"),
    [
        (8, 128, 117_103, True),  # LeNet-5, 16 rows on each rank
        (8, 8, 117_103, False),  # a row on each: two exchanges send as little, and wait less
        (2, 4, 11_200_000, False),  # ResNet-18, two rows: 1.5 against 2 of each number
        (2, 16, 11_200_000, True),
        (1024, 16_384, 1000, False),  # 1,024 links for 4 kB
    ],
)
def test_it_is_taken_where_it_takes_less_time(ranks: int, jobs: int, size: int, expected: bool) -> None:
    assert Chain(ranks, jobs, size, 4).saves == expected
