"""The dry run of a step over ranks beside its formula and beside real ranks, and the cost model made of it."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from math import ceil, log2
from pathlib import Path

import numpy as np
import pytest
import scaling_costs
import scaling_dry_run
import scaling_figures
import scaling_model
import scaling_tables
import wire_program
from bench_report import markdown_table
from click.testing import CliRunner
from launching import MPIEXEC
from scaling_content import TRAININGS, Content
from scaling_costs import Case, Network, nap_after, of_rounds
from scaling_dry_run import Round, Step, Traffic, carried_out, doubling, formula, in_a_ring, ring, to_all
from scaling_wire import sent

from npsnn.workers.exchange import Exchange
from npsnn.workers.naps import LONGEST_NAP, naps

DOCS = Path(__file__).parents[2] / "docs"
EXTREMES = [(2, 1), (3, 7), (8, 8), (13, 40), (64, 3), (100, 128), (512, 2048), (1000, 1024), (1024, 128)]
"""Ranks and micro-batches: blocks that are equal and that are not, and ranks without a part."""


@pytest.fixture(scope="module")
def lenet5() -> Content:
    return Content.of(TRAININGS["lenet5"]())


@pytest.mark.parametrize(("ranks", "parts"), EXTREMES)
def test_every_rank_sends_what_the_formula_says_but_for_a_few_numbers(lenet5: Content, ranks: int, parts: int) -> None:
    """Pieces of a row differ by one number at most: each message is off by less than one, amid doubling by two."""
    step, plan = Step.of(lenet5, parts, ranks).summed, Exchange(ranks, parts, 117103)
    own = np.array([plan.rows(r) for r in range(ranks)])
    rounds = 1 if in_a_ring(ranks, lenet5.bytes) else ceil(log2(ranks))
    apart = abs(step.sent - [formula(lenet5, m, ranks) for m in own])
    assert (apart <= 4 * (own + 2 * rounds)).all()
    assert abs(step.sent.mean() - formula(lenet5, parts / ranks, ranks)) <= 4 * (own.max() + 1)
    assert step.sent.sum() == step.received.sum()
    least = (ranks - 1) * lenet5.bytes // ranks  # of a rank without a part
    assert step.sent.min() >= least - 8 * rounds and (own.min() > 0 or step.sent.min() < least + 8 * rounds)


@pytest.mark.parametrize(("ranks", "parts"), EXTREMES)
def test_the_messages_of_a_sum(ranks: int, parts: int) -> None:
    for size, rounds in ((100_000, ceil(log2(ranks))), (1_000_000, ranks - 1)):
        first, last = scaling_dry_run.summed(Exchange(ranks, parts, size), 1)
        own = np.array([Exchange(ranks, parts, size).rows(r) for r in range(ranks)])
        assert (first.messages == (own > 0) * (ranks - 1)).all()
        assert first.rounds.sum(axis=0)[0] == ranks - 1 and first.rounds.max(axis=0)[0] <= 32
        assert first.sent.max() <= first.rounds.sum(axis=0)[1] <= max(first.sent.max(), first.received.max()) * 1.5
        if size == 1_000_000 or not ranks & (ranks - 1):
            assert (last.messages == rounds).all() and len(last.rounds) == rounds


@pytest.mark.parametrize("gather", [lambda ranks, total: ring(ranks), lambda ranks, total: doubling(ranks)])
@pytest.mark.parametrize(("ranks", "parts"), [(1, 3), (2, 5), (3, 7), (8, 8), (13, 40), (16, 3)])
def test_moving_the_arrays_gives_all_ranks_the_sum_in_order(
    ranks: int, parts: int, gather: Callable[..., Round]
) -> None:
    """Integers, of which each row has its own digit, and floats whose sum another order would round otherwise."""
    rng = np.random.default_rng(0)
    digits = np.repeat(4 ** np.arange(parts, dtype=object)[:, None], 29, axis=1) if parts < 30 else None
    floats = (rng.standard_normal((parts, 29)) * 10.0 ** rng.integers(0, 8, (parts, 29))).astype(np.float32)
    for rows in (floats,) if digits is None else (floats, digits.astype(np.int64)):
        plan, expected = Exchange(ranks, parts, 29), rows[0].copy()
        for row in rows[1:]:
            expected += row
        sums, moved = carried_out(plan, rows, gather)
        assert len(sums) == ranks and all(found.tobytes() == expected.tobytes() for found in sums)
        pieces = tuple(int(width) * rows.itemsize for width in plan.widths)
        assert (moved == to_all(plan, rows.itemsize).sent + scaling_dry_run.from_all(pieces, gather).sent).all()


def test_a_plan_that_gives_what_nobody_takes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "taken", Exchange.given)
    with pytest.raises(ValueError, match="rank 0 must be given what it takes"):
        carried_out(Exchange(3, 7, 10), np.zeros((7, 10)))


@pytest.mark.skipif(MPIEXEC is None or sys.platform != "linux", reason="needs mpiexec, and Linux to count")
@pytest.mark.parametrize(("ranks", "parts"), [(2, 5), (3, 2)])
def test_real_ranks_send_what_the_dry_run_says(ranks: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By TCP, whose connections are asked; with BatchNorm as well, and with a rank that has no part."""
    pytest.importorskip("mpi4py")
    for name, found in sent(ranks, wire_program.NAMES, parts, 2, Path(wire_program.__file__)).items():
        step = Step.of(Content.of(TRAININGS[name]()), parts, ranks)
        dry, messages = step.met.sent + step.summed.sent, step.met.messages + step.summed.messages
        assert (dry <= found).all() and (found <= dry + 150 * messages).all(), (name, found, dry)


def test_the_time_of_rounds() -> None:
    network = Network("slow", 1e-3, 1e-4, 1e6)
    found = of_rounds(np.array([[3, 5000], [1, 0]]), network)
    assert found.latency == pytest.approx(1.3e-3 + 1.1e-3) and found.bandwidth == pytest.approx(5e-3)
    assert found.waiting == pytest.approx((nap_after(0) + nap_after(1.1e-3 + nap_after(0) / 2)) / 2)


def test_a_rank_sleeps_in_the_model_as_it_does() -> None:
    lengths = [nap + scaling_costs.LOOK for nap, _ in zip(naps(), range(60), strict=False)]
    ends = list(accumulate(lengths))
    for nap, end in zip(lengths, ends, strict=True):
        assert nap_after(end - nap / 2) == pytest.approx(nap if nap < LONGEST_NAP else LONGEST_NAP)
    assert nap_after(10.0) == LONGEST_NAP


def test_a_batch_feeds_no_more_threads_than_it_has_micro_batches() -> None:
    """On a network that takes no time, and with no work but that on micro-batches."""
    host = scaling_costs.hosts()["lenet5"]
    free = Network("free", 0.0, 0.0, float("inf"))
    case = Case("lenet5", 8192, 64, patient=True)
    for ranks in (2, 8, 64):
        found = case.seconds(ranks, free)
        assert found.parts == pytest.approx(-(-128 // ranks // 16) * host.part[64]) and found.latency == 0
        assert found.bandwidth == found.waiting == 0
    assert case.speedup(1, free) == 1 and all(1 < case.speedup(n, free) < min(n, 8) for n in (2, 8, 64, 1024))
    assert [Case("lenet5", batch, 64).best(free)[0] for batch in (128, 1024)] == [1, 1]


def test_what_would_be_needed_helps_in_the_model() -> None:
    built, network = Case("cnn5", 8192, 8), scaling_tables.MIDDLE
    spared = {"direct": ("waiting", 256), "patient": ("waiting", 256), "own": ("parts", 256), "chain": ("bandwidth", 8)}
    for changed, (kind, ranks) in spared.items():
        now, then = (case.seconds(ranks, network) for case in (built, replace(built, **{changed: True})))
        assert getattr(then, kind) < getattr(now, kind) and then.total < now.total, changed


def cells(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def close(a: str, b: str) -> bool:
    """Whether two cells have the same words, and numbers that are nearly equal: letters differ between versions."""
    number = r"\d+(?:\.\d+)?"
    pairs = zip(re.findall(number, a.replace(",", "")), re.findall(number, b.replace(",", "")), strict=True)
    return re.sub(number, "", a) == re.sub(number, "", b) and all(
        abs(float(x) - float(y)) <= 0.11 + 0.03 * float(y) for x, y in pairs
    )


@pytest.mark.parametrize("name", scaling_tables.TABLES)
def test_the_tables_of_the_page_are_the_models(name: str) -> None:
    made = cells(markdown_table(*scaling_tables.TABLES[name]()))
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    tables = [cells(found) for found in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    (shown,) = [table for table in tables if table[0] == made[0]]
    assert len(shown) == len(made)
    for line, own in zip(shown, made, strict=True):
        assert all(map(close, line, own)), (line, own)


def test_the_figures_of_the_page_are_committed() -> None:
    shown = re.findall(r"\]\(scaling/(\S+)\.svg\)", (DOCS / "scaling.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(scaling_figures.FIGURES)
    for name in shown:
        assert scaling_figures.GREY in (DOCS / "scaling" / f"{name}.svg").read_text(encoding="utf-8")


def test_the_program_prints_a_table_and_refuses_one_rank(tmp_path: Path) -> None:
    done = CliRunner().invoke(scaling_model.main, ["--table", "shares"])
    assert done.exit_code == 0 and done.output.splitlines()[0].split()[:3] == ["network", "micro", "hosts"]
    for words in (["--wire", "1"], ["--table", "none"]):
        refused = CliRunner().invoke(scaling_model.main, words)
        assert refused.exit_code == 2 and "Invalid value" in refused.output
    (tmp_path / "file").write_text("text")
    refused = CliRunner().invoke(
        scaling_model.main, ["--table", "shares", "--plot", str(tmp_path / "file" / "figures")]
    )
    assert refused.exit_code == 1 and refused.output.startswith("Error: --plot must name a folder that can be written")


def test_traffic_adds_up() -> None:
    one = to_all(Exchange(4, 4, 8), 4)
    both = one + one
    assert isinstance(both, Traffic) and (both.sent == 2 * one.sent).all() and len(both.rounds) == 2
