"""--answer: what of several draws makes an answer, in tables and JSON, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from calling import Npsnn


@pytest.fixture
def where(runs: Path, data_dir: Path) -> tuple[object, ...]:
    return ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 10)


def test_evaluate_names_the_answer(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    found = {
        answer: npsnn("evaluate", *where, "--inference-sigma", 2, "--average", 3, "--answer", answer, "--draws", 4)
        for answer in ("logits", "probabilities", "votes")
    }
    heads = {answer: outcome.out.splitlines()[0] for answer, outcome in found.items()}
    assert heads["logits"].endswith("every draw an average of 3")
    assert heads["probabilities"].endswith("every draw the mean probabilities of 3")
    assert heads["votes"].endswith("every draw the votes of 3")
    assert len({outcome.out.splitlines()[2] for outcome in found.values()}) > 1, "the answers must differ"


def test_attacks_and_their_record_name_the_answer(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    options = ("--fgsm", "--eps", 0.1, "--eot", 2, "--draws", 2, "--average", 2, "--answer", "votes")
    document: Any = json.loads(npsnn("attack", *where, *options, "--json").out)
    assert (document["answer"], document["average"], document["plan"]["answer"]) == ("votes", 2, "votes")
    lines = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    assert {(line["answer"], line["plan"]["answer"]) for line in lines} == {("votes", "votes")}


@pytest.mark.parametrize("command", [("evaluate",), ("attack", "--fgsm"), ("checklist",)], ids=lambda c: c[0])
def test_what_one_draw_cannot_answer_with_is_refused(
    npsnn: Npsnn, where: tuple[object, ...], command: tuple[str, ...]
) -> None:
    outcome = npsnn(*command, *where, "--answer", "votes")
    assert outcome.code == 2
    assert "--answer votes is that of several draws: average must be > 1, got 1" in " ".join(outcome.err.split())
    wrong = npsnn(*command, *where, "--average", 2, "--answer", "vote")
    assert wrong.code == 2 and "votes" in wrong.err
