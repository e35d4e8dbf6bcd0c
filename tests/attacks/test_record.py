"""The record of attacks: a self-contained line for each result, the figures of its images, and names that differ."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_networks import images, linear, predicted

from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.record import Record, attack_in, exact, name_of
from npsnn.files import journal


@pytest.mark.parametrize(
    ("value", "name"),
    [(0.1, "0.1"), (0.0, "0"), (1.0, "1"), (8 / 255, "0.03137254901960784"), (0.0313725, "0.0313725"), (1e-9, "1e-09")],
)
def test_a_number_is_named_as_shortly_as_it_can_be(value: float, name: str) -> None:
    assert exact(value) == name
    assert float(name) == value


def test_different_numbers_have_different_names() -> None:
    near = [8 / 255, np.nextafter(8 / 255, 1), 0.0313725, 0.03137254, 0.1, 0.1 + 1e-9, float("inf")]
    assert len({exact(value) for value in near}) == len(near)


def test_a_line_says_all_and_names_the_figures_of_its_images(tmp_path: Path) -> None:
    network, x = linear(), images(12)
    labels = predicted(network, x)
    plan = Plan(("fgsm", "random"), eps=(0.1, 8 / 255), samples=3, eot=2, draws=4)
    record = Record(tmp_path, {"plan": "as it is", "examples": 12})
    results = list(evaluate(network, x, labels, plan))
    for r in results:
        record.result(r, {"attack": r.attack, "eps": r.eps})
    record.worst(results[0], results[1].accuracy, {"eps": 0.1})
    lines = journal.read(tmp_path / "attacks.jsonl")
    assert len(lines) == 5 and len({line["images"] for line in lines}) == 5
    for r, line in zip(results, lines, strict=False):
        assert line.keys() == {"plan", "examples", "attack", "result", "images"}
        assert attack_in(line) == r.by
        assert line["result"] == {"attack": r.attack, "eps": r.eps}
        assert name_of(r) in line["images"]
        with np.load(tmp_path / line["images"]) as kept:
            assert kept["right"].mean() == r.accuracy.mean
            np.testing.assert_allclose(kept["size"], np.abs(r.x_adv - x).max(axis=(1, 2, 3)))
            assert kept["met_zero"].sum() == r.zero_gradients
            assert kept["met_bad"].sum() == r.bad_gradients
    assert lines[-1]["worst_case"] == {"eps": 0.1} and attack_in(lines[-1]) is None
    with np.load(tmp_path / lines[-1]["images"]) as kept:
        assert (kept["right"] == results[1].accuracy.each).all()


def test_the_same_result_again_adds_a_line_and_no_file(tmp_path: Path) -> None:
    network, x = linear(), images(3)
    (r,) = evaluate(network, x, predicted(network, x), Plan(("fgsm",), eps=(0.1,)))
    for _ in range(2):
        Record(tmp_path, {}).result(r, {})
    assert len(journal.read(tmp_path / "attacks.jsonl")) == 2
    assert len(list((tmp_path / "attacks").iterdir())) == 1
    assert [json.loads(line) for line in (tmp_path / "attacks.jsonl").read_text().splitlines()]
