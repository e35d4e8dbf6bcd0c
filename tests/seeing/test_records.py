"""Recorded results as values: the newest of each kind, named apart, and none that is damaged."""

from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing_records import line, recorded, worst

from npsnn.files import journal
from npsnn.files.npz import write_npz
from npsnn.seeing.records import attacks_of, checklist_of, series


def test_the_newest_result_of_each_attack_and_eps_counts(tmp_path: Path) -> None:
    lines = (
        line("fgsm", 0.1, 0.5),
        line("fgsm", 0.2, 0.3),
        worst(0.1, 0.2),
        line("fgsm", 0.1, 0.45),
        line("fmn", None, 0.1),
    )
    found = attacks_of(recorded(tmp_path, *lines))
    assert [(r.title, r.eps, r.accuracy) for r in found] == [
        ("fgsm", 0.1, 0.45), ("fgsm", 0.2, 0.3), ("auto", 0.1, 0.2), ("fmn", inf, 0.1),
    ]  # fmt: skip
    assert found[0].ci95 == pytest.approx((0.35, 0.55)) and found[0].clean == 0.9
    assert [c.code for c in found[0].caveats] == ["few-draws"] and found[2].gradient == ""


def test_series_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    more = {"source": {"type": "EoT", "draws": 50}}
    lines = [line("fgsm", eps, 0.5) for eps in (0.2, 0.1)] + [line("fgsm", 0.1, 0.4, more), line("pgd", 0.1, 0.3)]
    lines += [line("fgsm", 0.1, 0.6, examples=20)]
    found = series(attacks_of(recorded(tmp_path, *lines)))
    labels = ["fgsm (EoT 10, images 50)", "fgsm (EoT 50, images 50)", "pgd", "fgsm (EoT 10, images 20)"]
    assert sorted(s.label for s in found) == sorted(labels)
    assert [r.eps for r in found[0].points] == [0.1, 0.2] and found[0].norm == "linf"


@pytest.mark.parametrize(
    "damage",
    [
        {"result": None},
        {"result": {"attack": "x"}},
        {"plan": None},
        {"clean_accuracy": "high"},
        {"attack": 3},
        {"draws": "x"},
        {"clean_accuracy": float("nan")},
        {"clean_ci95": [0.1]},
    ],
)
def test_a_line_of_another_kind_is_passed_over(tmp_path: Path, damage: dict[str, Any]) -> None:
    recorded(tmp_path, line("fgsm", 0.1, 0.5) | damage, line("pgd", 0.1, 0.4))
    assert [r.title for r in attacks_of(tmp_path)] == ["pgd"]


def test_a_torn_line_is_warned_of_and_a_run_without_a_record_has_none(tmp_path: Path) -> None:
    assert attacks_of(tmp_path) == []
    with (recorded(tmp_path, line("fgsm", 0.1, 0.5)) / "attacks.jsonl").open("a") as file:
        file.write('{"torn')
    with pytest.warns(UserWarning, match="no JSON object") as warned:
        assert len(attacks_of(tmp_path)) == 1
    assert len(warned) == 1


def test_figures_of_images_are_read_where_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "attacks").mkdir()
    with (tmp_path / "attacks" / "fgsm-0.1.npz").open("wb") as file:
        write_npz(file, clean=np.array([1.0, 0.5]), right=np.array([0.0, 0.5]))
    one, other = attacks_of(recorded(tmp_path, line("fgsm", 0.1, 0.25), line("fgsm", 0.2, 0.1)))
    assert one.images()["clean"].tolist() == [1, 0.5] and one.clean_ci95 == (0.8, 0.95)
    assert other.images() == {}


def test_figures_that_are_no_numbers_are_passed_over(tmp_path: Path) -> None:
    for odd in ({"robust_accuracy": float("nan")}, {"eps": float("inf")}, {"ci95": [0.1, float("nan")]}):
        damaged = line("fgsm", 0.1, 0.5)
        recorded(tmp_path, damaged | {"result": damaged["result"] | odd})
    assert attacks_of(tmp_path) == []


def test_a_result_is_called_as_the_table_of_attacks_calls_it(tmp_path: Path) -> None:
    made = line("cw", None, 0.1)
    recorded(tmp_path, made | {"result": made["result"] | {"kappa": 0.0}})
    assert [r.title for r in attacks_of(tmp_path)] == ["cw kappa 0"]


def test_the_newest_whole_checklist_counts(tmp_path: Path) -> None:
    assert checklist_of(tmp_path) is None
    for number, more in enumerate(({}, {"parameters": "q"}, {"interrupted": True}, {"criteria": None})):
        whole = {"criteria": [number], "interrupted": False, "parameters": "p"}
        journal.append(tmp_path / "checklist.jsonl", whole | more)
    assert (checklist_of(tmp_path) or {})["criteria"] == [1]
    assert (checklist_of(tmp_path, ["p"]) or {})["criteria"] == [0]
