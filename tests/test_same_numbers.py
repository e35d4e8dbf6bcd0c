"""What scripts/same-numbers compares: a difference is found and named, times and texts are left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import same_numbers
from click.testing import CliRunner
from same_numbers_cases import BY_NAME, CASES, Case, with_needed
from same_numbers_figures import compare, of_arrays, of_document, of_folder

ATTACKED = {
    "plan": {"eps": [0.1]},
    "clean_accuracy": 0.75,
    "results": [
        {"attack": "fgsm", "norm": "linf", "eps": 0.1, "robust_accuracy": 0.5, "ci95": [0.25, 0.75], "seconds": 1.0},
        {"attack": "pgd", "norm": "linf", "eps": 0.1, "robust_accuracy": 0.25, "ci95": [0.0, 0.5], "seconds": 2.0},
    ],
    "caveats": [{"code": "few-images", "text": "the number of images is 10"}],
}


def run_folder(folder: Path, weight: float = 1.0, loss: float = 2.5, seconds: float = 0.1) -> Path:
    """The folder of a case with one run of one array and one epoch."""
    run = folder / "runs" / "run"
    run.mkdir(parents=True)
    about = json.dumps({"epoch": 1, "steps": 2, "best": 0.5, "options": {"lr": 0.1}})
    for name in ("last.npz", "best.npz"):
        np.savez(run / name, **{"about.json": np.array(about), "params/fc.weight": np.full((2, 3), weight, np.float32)})
    (run / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "loss": loss, "seconds": seconds}) + "\n")
    (run / "config.json").write_text(json.dumps({"canary": "abc", "train": {"lr": 0.1}}))
    return folder


def test_runs_that_differ_in_times_alone_are_the_same(tmp_path: Path) -> None:
    old = of_folder(run_folder(tmp_path / "old"))
    new = of_folder(run_folder(tmp_path / "new", seconds=7.0))
    assert compare(old, new).differences == []
    assert {name.split(": ")[0] for name in old} == {
        "run/last.npz",
        "run/best.npz",
        "run/metrics epoch 1",
        "run/config",
    }


def test_an_array_of_other_bytes_type_or_shape_is_named(tmp_path: Path) -> None:
    old = of_folder(run_folder(tmp_path / "old"))
    new = of_folder(run_folder(tmp_path / "new", weight=float(np.nextafter(np.float32(1), np.float32(2)))))
    differences = compare(old, new).differences
    assert [text.split(" <")[0] for text in differences] == [
        "run/best.npz: array params/fc.weight:",
        "run/last.npz: array params/fc.weight:",
    ]
    path, ones = tmp_path / "images.npz", np.ones((2, 3), np.float32)
    found = []
    for array in (ones, ones.reshape(3, 2), ones.view(np.int32), ones * -1):
        np.savez(path, x=array)
        found.append(of_arrays(path, "images")["images: array x"])
    assert len(set(found)) == 4


def test_a_metric_and_a_checkpoint_s_count_that_differ_are_named(tmp_path: Path) -> None:
    old = of_folder(run_folder(tmp_path / "old"))
    new = of_folder(run_folder(tmp_path / "new", loss=2.5000000000000004))
    assert compare(old, new).differences == ["run/metrics epoch 1: loss: 2.5 is now 2.5000000000000004"]
    assert compare(old, old | {"run/last.npz: steps": 3}).differences == ["run/last.npz: steps: 2 is now 3"]


def test_the_results_of_a_document_are_told_apart_by_what_they_are_of() -> None:
    old = of_document(json.dumps(ATTACKED), "attack")
    assert old["attack: results[pgd linf 0.1].robust_accuracy"] == 0.25
    assert not [name for name in old if "seconds" in name or "plan" in name or "text" in name]
    other = json.loads(json.dumps(ATTACKED))
    other["results"][0]["robust_accuracy"], other["results"][1]["seconds"] = 0.25, 9.0
    other["caveats"][0] |= {"text": "there are ten images"}
    assert compare(old, of_document(json.dumps(other), "attack")).differences == [
        "attack: results[fgsm linf 0.1].robust_accuracy: 0.5 is now 0.25"
    ]


def test_what_is_gone_differs_and_so_does_a_new_array_but_not_a_new_figure() -> None:
    old = {"attack: a": 1.0, "run/last.npz: array params/w": "x"}
    found = compare(old, {"attack: b": 1.0, "run/last.npz: array params/w": "x", "run/last.npz: array params/v": "y"})
    assert sorted(found.differences) == ["attack: a is gone", "run/last.npz: array params/v is new"]
    assert found.added == ["attack: b is new"]
    assert compare({"a": float("nan")}, {"a": float("nan")}).differences == []
    assert compare({"a": 1}, {"a": 1.0}).differences != []


def test_lines_that_are_no_json_are_compared_as_they_are() -> None:
    assert of_document("ab12  digits/train\n", "data") == {"data: line 1": "ab12  digits/train"}


def test_the_line_of_a_case_says_what_became_of_it() -> None:
    case = CASES[0]
    assert same_numbers.line(case, {"a": 1}, {"a": 1}, 2)[0] == "same"
    outcome, text = same_numbers.line(case, {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}, 2)
    assert (outcome, text.split(": ", 1)[1]) == (
        "different",
        "3 of 3 figures: a: 1 is now 2; b: 1 is now 2; and 1 more",
    )
    assert same_numbers.line(case, {"a": 1}, same_numbers.FailedError("NEW ended with 2"), 2)[0] == "failed"


def test_the_table_has_no_name_twice_and_each_case_comes_after_what_it_needs() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(names.index(case.after) < names.index(case.name) for case in CASES if case.after)
    chosen = with_needed([BY_NAME["train/noise-only"]])
    assert [case.name for case in chosen] == ["train/trained", "train/noise-only"]
    assert Case("one").digest != Case("one", ("data list",)).digest


def test_a_folder_without_an_environment_and_an_unknown_case_are_refused(tmp_path: Path) -> None:
    said = CliRunner().invoke(same_numbers.main, [str(tmp_path), str(tmp_path)])
    assert said.exit_code == 2
    assert "OLD: there is no" in said.output
    said = CliRunner().invoke(same_numbers.main, ["a", "b", "--only", "train/nothing"])
    assert said.exit_code == 2
    assert "no case is called so: train/nothing" in said.output


@pytest.mark.parametrize("name", ["train/lenet5", "attack/features", "old-run/trained"])
def test_cases_are_chosen_by_a_part_of_their_name(name: str) -> None:
    said = CliRunner().invoke(same_numbers.main, ["a", "b", "--list", "--only", name])
    assert said.exit_code == 0
    assert name in said.output.splitlines()
