"""`npsnn checklist`: its table, its document, its exit codes."""

import json
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import ABOUT, Npsnn, Outcome

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.criteria import CRITERIA
from npsnn.attacks.statistics import needed
from npsnn.classifier import Classifier

QUICK = ("--limit", 8, "--steps", 2, "--eot", 1, "--draws", 2, "--samples", 2, "--population", 5, "--generations", 1)


def table(ended: Outcome) -> list[str]:
    """The lines without those below the table that qualify it."""
    return [line for line in ended.out.splitlines() if not line.startswith(("note:", "* "))]


@pytest.fixture
def where(runs: Path, data_dir: Path) -> tuple[object, ...]:
    return ("small", "--runs-dir", runs, "--data-dir", data_dir, *QUICK)


@pytest.fixture
def no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that give their attacker nothing."""
    true = Classifier.loss_gradients

    def none(self: Classifier, *arguments: Any) -> Any:
        value, gradient = true(self, *arguments)
        return value, 0 * gradient

    monkeypatch.setattr(Classifier, "loss_gradients", none)


@pytest.mark.slow
def test_json_is_one_document_and_is_added_to_the_run(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    ended = npsnn("checklist", *where, "--eps", "16/255", "--average", 2, "--json")
    document = json.loads(ended.out)
    assert document.keys() == ABOUT | {
        "checklist",
        "inference_sigma",
        "draws",
        "average",
        "answer",
        "examples",
        "clean_accuracy",
        "clean_ci95",
        "noise_off_accuracy",
        "passed",
        "interrupted",
        "criteria",
        "seconds",
    }
    assert (document["examples"], document["average"]) == (8, 2)
    assert [c["number"] for c in document["criteria"]] == list(range(1, 11))
    for criterion in document["criteria"]:
        assert criterion.keys() == {
            "number",
            "name",
            "question",
            "outcome",
            "passed",
            "explanation",
            "figures",
            "caveats",
        }
        assert criterion["passed"] == {"passes": True, "fails": False, "undecided": None}[criterion["outcome"]]
        assert criterion["figures"]
    assert document["passed"] == all(c["passed"] for c in document["criteria"])
    assert ended.code == (0 if document["passed"] else 3 if False in [c["passed"] for c in document["criteria"]] else 4)
    npsnn("checklist", *where, "--inference-sigma", 0)
    first, second = (json.loads(line) for line in (runs / "small" / "checklist.jsonl").read_text().splitlines())
    assert {k: first[k] for k in document} == document
    assert first["checklist"]["eps"] == 16 / 255 and first["checklist"]["pixels"] == [1]
    assert second["inference_sigma"] == 0 and [c["passed"] for c in second["criteria"][5:8]] == [None] * 3


@pytest.mark.slow
def test_the_table_says_what_was_found(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    ended = npsnn("checklist", *where, "--inference-sigma", 0, "--average", 3)
    heading, clean, eps, _, header, *rows, _, last, note = table(ended)
    assert heading.endswith("small: the first 8 test images, noise off")
    assert clean.startswith("clean accuracy") and eps == "eps 0.03137 in Linf"
    assert header.split() == ["criterion", "outcome"] and max(map(len, rows)) <= 80
    said = " ".join(row.strip() for row in rows if row.startswith("   "))
    rows = [row for row in rows if not row.startswith("   ")]
    assert [row[3:26].strip() for row in rows] == [criterion[0] for criterion in CRITERIA]
    assert all("not applicable" in row for row in rows[5:8]) and said.count("the network has no noise") == 3
    decided = [row[28:].strip() for row in (*rows[:5], *rows[8:])]
    assert decided == ["undecided"] * 7, "so few images decide nothing"
    assert last == "0 of 7 criteria pass, 0 fail, 7 undecided: 1, 2, 3, 4, 5, 9, 10"
    assert note == "Not every criterion could be decided on these images: this is no sign of robustness."
    assert ended.code == 4
    noisy = npsnn("checklist", *where, "--average", 3).out.splitlines()
    assert noisy[0].endswith("noise 0.6, 2 draws, every draw an average of 3")
    assert noisy[2] == "eps 0.03137 in Linf, each gradient over 1 draw"


@pytest.mark.slow
def test_a_criterion_that_fails_turns_the_exit_code(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, request: pytest.FixtureRequest
) -> None:
    where = ("able", "--runs-dir", tmp_path, "--data-dir", data_dir)
    train = ("--sigma", 0.05, "--loss", "cross-entropy", "--limit", 1200, "--epochs", 2, "--lr", 0.003)
    assert npsnn("train", "--name", *where, *train).code == 0
    request.getfixturevalue("no_gradients")
    ended = npsnn("checklist", *where, *QUICK, "--limit", 60)
    assert ended.code == 3
    assert any(line.startswith("3 ") and "FAILS" in line for line in ended.out.splitlines())
    assert "at most 1.0 % may be left" in ended.out
    assert "3" in table(ended)[-1].partition("fail: ")[2]
    document = json.loads((tmp_path / "able" / "checklist.jsonl").read_text())
    assert document["passed"] is False and document["criteria"][0]["figures"]["all-zero gradients"] == 60
    assert document["criteria"][0]["outcome"] == "undecided", "neither attack takes anything"


@pytest.mark.slow
def test_a_network_that_was_never_trained_passes_nothing(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    """It answers at random, so that no attack leaves more than another."""
    with np.load(runs / "small" / "last.npz") as arrays:
        spoiled = {name: np.zeros_like(a) if name.startswith("params.fc") else a for name, a in arrays.items()}
    np.savez(runs / "small" / "last.npz", **spoiled)
    ended = npsnn("checklist", *where, "--limit", 60, "--json")
    document = json.loads(ended.out)
    assert ended.code == 4 and document["passed"] is False and document["clean_accuracy"] < 0.3
    assert [c["outcome"] for c in document["criteria"]] == ["undecided"] * 10
    assert all("commonest class" in c["explanation"] for c in document["criteria"])


@pytest.mark.slow
def test_it_is_repeatable_whatever_the_threads(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    found = [json.loads(npsnn("checklist", *where, "--json", "--threads", n).out)["criteria"] for n in (1, 3)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--eps", "abc"), "0.1 or 8/255"),
        (("--eot", "0"), "--eot"),
        (("--pixels", "0"), "--pixels"),
        (("--population", "4"), "--population"),
        (("--limit", "1"), "--limit"),
        (("--average", "0"), "--average"),
        (("--inference-sigma", "-1"), "--inference-sigma"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(npsnn: Npsnn, trained: Path, options: tuple[str, ...], said: str) -> None:
    assert said in npsnn("checklist", "--runs-dir", trained, *options).error_line(2)


def test_failures_are_one_line(npsnn: Npsnn, where: tuple[object, ...], trained: Path) -> None:
    assert "--eps must be > 0" in npsnn("checklist", *where, "--eps", 0).error_line(2)
    assert "unknown run 'nobody'" in npsnn("checklist", "nobody", "--runs-dir", trained).error_line(1)


def test_the_help_names_the_images_that_each_criterion_needs(npsnn: Npsnn) -> None:
    """By the comparisons of each: one, three of the black boxes, and all pairs of the ladder."""
    said = " ".join(npsnn("checklist", "--help").out.split())
    rest = f"({needed(3)} for criterion 2, {needed(comb(len(Checklist().ladder), 2))} for criterion 5)"
    assert f"fewer than {needed()} images are right without an attack {rest}" in said
