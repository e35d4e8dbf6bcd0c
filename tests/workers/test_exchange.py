"""The plan of a sum over ranks: what is given is what is taken, and the sum is that of one process, bit by bit."""

import numpy as np
import pytest

from npsnn.train.losses import Total
from npsnn.train.replicas import told
from npsnn.workers.exchange import Exchange, block


@pytest.mark.parametrize("jobs", [1, 4, 13])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_job_is_one_ranks_and_the_first_rank_has_one(ranks: int, jobs: int) -> None:
    blocks = [block(jobs, r, ranks) for r in range(ranks)]
    assert [job for own in blocks for job in own] == list(range(jobs))
    assert {len(own) for own in blocks} <= {jobs // ranks, -(-jobs // ranks)} and blocks[0]


@pytest.mark.parametrize("size", [0, 2, 7, 30])
@pytest.mark.parametrize("jobs", [1, 4, 13])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_sum_of_all_pieces_is_that_of_one_process(ranks: int, jobs: int, size: int) -> None:
    """With more ranks than jobs, and than numbers; the numbers are such that another order rounds otherwise."""
    rng = np.random.default_rng(0)
    plan = Exchange(ranks, jobs, size)
    rows = (rng.standard_normal((jobs, size)) * 10.0 ** rng.integers(0, 6, (jobs, size))).astype(np.float32)
    own = [rows[block(jobs, r, ranks).start : block(jobs, r, ranks).stop] for r in range(ranks)]
    given = [np.split(plan.packed(own[r], r), np.cumsum(plan.given(r))[:-1]) for r in range(ranks)]
    pieces = []
    for r in range(ranks):
        taken = [given[source][r] for source in range(ranks)]
        assert [len(piece) for piece in taken] == plan.taken(r).tolist() and not len(taken[r])
        pieces.append(plan.folded(own[r], np.concatenate(taken), r))
    expected = rows[0].copy()
    for row in rows[1:]:
        expected += row
    assert [len(piece) for piece in pieces] == plan.widths.tolist()
    assert np.concatenate(pieces).tobytes() == expected.tobytes()
    if jobs > 4 and size == 30:
        assert rows[::-1].cumsum(axis=0)[-1].tobytes() != expected.tobytes()


def test_one_rank_says_what_all_know() -> None:
    mine = [Total(1.0, 2, {"w": np.zeros((2, 3)), "running_mean": np.ones(2)}) for _ in range(2)]
    for rank in (0, 1):
        small, forms, statistics = told(mine, frozenset({"running_mean"}), rank)
        assert [(t.loss, t.correct, t.grads) for t in small] == [(1.0, 2, None)] * 2
        assert [form.name for form in forms] == (["w", "running_mean"] if rank == 0 else [])
        assert list(statistics) == (["running_mean"] if rank == 0 else [])
    assert told([3, 4], frozenset(), 0) == ([3, 4], [], {})
