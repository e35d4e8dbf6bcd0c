"""`npsnn attack --auto`: a table of what each member takes of what it meets, under the name that is earned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn

from npsnn import attacks
from npsnn.attacks import PGD, Auto, Group, Judging, Quick
from npsnn.attacks.costs import Cost
from npsnn.classifier import Classifier
from npsnn.cli.advance import CHOOSING, Advance
from npsnn.cli.terminal import Bar

SMALL = ("--apgd-steps", 2, "--targets", 2, "--fab-steps", 2, "--queries", 8, "--draws", 2, "--selection", 3)


@pytest.fixture
def where(runs: Path, data_dir: Path) -> tuple[object, ...]:
    return ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 30, "--eps", 0.03)


def rows(out: str) -> list[list[str]]:
    """The cells of the table, which ends before the first line that is a sentence."""
    lines = out.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("attack "))
    return [" ".join(line.split()).split(" linf ") for line in lines[header + 1 :] if " linf " in line]


@pytest.mark.slow
def test_without_noise_each_member_meets_what_is_left(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    ended = npsnn("attack", *where, "--auto", *SMALL, "--inference-sigma", 0)
    assert ended.code == 0
    assert [row[0] for row in rows(ended.out)] == ["no attack", "apgd", "apgd-t", "fab-t", "square", "auto"]
    assert " takes " in ended.out and "at most about" in ended.err
    document = json.loads(npsnn("attack", *where, "--auto", *SMALL, "--inference-sigma", 0, "--json").out)
    left = round(document["clean_accuracy"] * 30)
    for (_, cells), result in zip(rows(ended.out)[1:], document["results"], strict=False):
        assert result["group"] == "auto" and result["met"] == left
        left -= result["took"]
        assert round(30 * result["robust_accuracy"]) == left
        assert f"{result['took']} of {result['met']}" in cells
    assert document["worst_case"][0]["robust_accuracy"] == document["results"][-1]["robust_accuracy"]
    assert (document["worst_case"][0]["name"], document["worst_case"][0]["strongest"]) == ("auto", "auto")


@pytest.mark.slow
def test_the_name_of_autoattack_is_on_the_last_line_and_in_the_record(
    npsnn: Npsnn, where: tuple[object, ...], runs: Path
) -> None:
    ended = npsnn("attack", *where, "--auto", "--inference-sigma", 0)
    assert rows(ended.out)[-1][0] == "AutoAttack, standard"
    lines = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    assert [line["attack"]["type"] for line in lines[:-1]] == ["APGD", "APGDT", "FAB", "Square"]
    assert lines[-1]["worst_case"]["name"] == "AutoAttack, standard"
    assert {line["result"]["group"] for line in lines[:-1]} == {"AutoAttack, standard"}
    with np.load(runs / "small" / lines[1]["images"]) as kept:
        assert kept["met"].sum() == lines[1]["result"]["met"]


@pytest.mark.slow
def test_with_noise_every_member_meets_every_image(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    ended = npsnn("attack", *where, "--auto", *SMALL, "--propagation", "linear")
    names = [member.label for member in Auto(0.03).random()]
    found = [row[0].removesuffix(" *") for row in rows(ended.out)]
    assert found == [*names, "worst of them"] and " takes " not in ended.out
    assert "if one misreading in 2 draws loses an image" in ended.out and "at most" not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0, 0.6])
def test_no_attack_named_runs_the_quick_ones_and_says_what_is_left_out(
    npsnn: Npsnn, where: tuple[object, ...], runs: Path, sigma: float
) -> None:
    options = ("--apgd-steps", 2, "--targets", 2, "--draws", 2, "--selection", 2, "--inference-sigma", sigma)
    ended = npsnn("attack", *where, *options)
    network = Classifier.load(runs / "small").with_sigma(sigma)
    quick, whole = ([m.label for m in kind(0.03).of(network)] for kind in (Quick, Auto))
    assert f"quick: {', '.join(quick)}; --auto adds {', '.join(whole[2:])}" in " ".join(ended.err.split())
    assert [row[0].removesuffix(" *") for row in rows(ended.out)][bool(not sigma) :][:2] == quick
    assert "adds" not in npsnn("attack", *where, "--fgsm", "--eot", 1).err


@pytest.mark.slow
def test_the_bar_names_the_member_and_counts_estimated_seconds() -> None:
    bar = Bar("attacking", 110.0)
    advance = Advance(bar, Cost(1, 110.0, (10.0, 80.0), (20.0,)), 40)
    said = []
    for number, attack in enumerate((PGD(0.1), attacks.Square(0.1)), start=1):
        advance.to(attack, number, 2)
        advance.update(40)
        said.append((bar.label, bar.done))
    advance.to_choice(2)
    for _ in range(2):
        advance.update(20)
    said.append((bar.label, bar.done))
    advance.update(40)
    assert said == [("pgd, 1 of 2", 10), ("square, 2 of 2", 90), (CHOOSING, 100)] and bar.done == 110


@pytest.mark.slow
def test_progress_adds_up_to_the_estimate() -> None:
    """Also where members meet few images, or none."""
    from small_networks import images, linear, predicted

    network, x = linear(0.0), images(20)
    labels = predicted(network, x)
    group: Any = Group("two", (PGD(0.5, steps=2), attacks.RandomSearch(0.5, samples=2)))
    cost = attacks.cost(network, x, labels, group)
    bar = Bar("attacking", cost.seconds)
    advance, results = Advance(bar, cost, 20), []
    made = attacks.robust_accuracy(network, x, labels, group, Judging(), advance.update)
    for number, member in enumerate(group, start=1):
        advance.to(member, number, 2)
        results.append(next(made))
    advance.to_choice(3)
    attacks.worst_case(network, labels, results, Judging(), advance.update)
    assert bar.done <= bar.length * (1 + 1e-9) and bar.done >= sum(cost.each)


@pytest.mark.slow
def test_the_attacks_of_the_authors(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 4, "--draws", 2, "--eps", "8/255")
    document = json.loads(npsnn("attack", *where, "--authors", "--pgd", "--steps", 2, "--eot", 1, "--json").out)
    assert [r["attack"] for r in document["results"]] == ["authors-fgsm", "authors-pgd", "pgd"]
    assert [r["group"] for r in document["results"]] == ["authors", "authors", None]
    refused = npsnn("attack", *where, "--authors", "--eot", 3)
    assert refused.code == 2 and "--eot acts on" in refused.err
    refused = npsnn("attack", *where, "--authors", "--norm", "l2")
    assert refused.code == 2 and "--norm acts on" in refused.err
