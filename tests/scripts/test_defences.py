"""The program that trains and attacks the defences side by side: on few images, stopped, and gone on with."""

import json
from pathlib import Path
from typing import Any

import defences
import defences_table
import pytest
from calling import contents

from npsnn import attacks


def few(network: Any, eps: float) -> list[Any]:
    """Attacks of each kind that the program has, of a step or two."""
    source = attacks.EoT(2)
    beside = [attacks.FGSM(eps, source=source), attacks.PGD(eps, steps=2, restarts=2, source=source)]
    if network.random:
        beside.append(attacks.PGD(eps, steps=2, source=attacks.Expectation(name="noise-off")))
    return [*beside, attacks.Auto(eps, steps=2, targets=1, fab_steps=2, queries=10, gradient_draws=2)]


@pytest.mark.slow
@pytest.mark.usefixtures("few_digits")
def test_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(defences, "_attacks", few)
    monkeypatch.setattr(defences, "AVERAGED", 2)
    options = ["--dataset", "digits", "--epochs", "1", "--limit", "40", "--images", "6", "--out", str(tmp_path)]
    for system in ("none", "rse", "noise-paper"):
        options += ["--system", system]
    defences.main([*options, "--train-only"], standalone_mode=False)
    assert capsys.readouterr().out == ""
    trained = {name: contents(tmp_path / name)["last.npz"] for name in ("none", "rse", "noise-paper")}
    defences.main(options, standalone_mode=False)
    table = capsys.readouterr().out
    lines = table.strip().splitlines()
    near, far = (dict.fromkeys(line.split(" | ")[0] for line in part) for part in (lines[:5], lines[6:11]))
    assert next(iter(near)) == "| eps 0.0314" and next(iter(far)) == "| eps 0.1"
    assert set(near) == set(far) - {"| eps 0.1"} | {"| eps 0.0314"} >= {"| noise-paper", "| none", "| rse"}
    assert lines[-1].startswith("3 trainings took 0.0 hours, their attacks 0.0 hours")
    document = json.loads((tmp_path / "rse" / "attacked-0.1.json").read_text())
    found = document["accuracies"]
    assert {"clean", "fgsm", "pgd", "noise-off-pgd", "worst", "own answer, clean", "own answer, worst"} < set(found)
    assert all(
        len(row["each"]) == 6 and 0 <= row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] for row in found.values()
    )
    assert "own answer, clean" not in json.loads((tmp_path / "none" / "attacked-0.1.json").read_text())["accuracies"]
    before = contents(tmp_path)
    defences.main(options, standalone_mode=False)
    assert capsys.readouterr().out == table and contents(tmp_path) == before
    assert {name: contents(tmp_path / name)["last.npz"] for name in trained} == trained
    assert defences_table.table(tmp_path, (0.5,)).count("| none") == 0, "no system was attacked at this radius"


def test_the_most_robust_stands_first(tmp_path: Path) -> None:
    for name, left in (("a", 0.2), ("b", 0.7), ("c", 0.2)):
        row = {"accuracy": left, "ci95": [0.1, 0.8], "strongest": "pgd"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text('{"seconds": 3600}\n{"seconds": 1800}\n')
        found = {"seconds": 360, "accuracies": {"clean": row, "fgsm": row, "pgd": row, "worst": row}}
        (tmp_path / name / "attacked-0.1.json").write_text(json.dumps(found))
    lines = defences_table.table(tmp_path, (0.1,)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| b", "| a", "| c"]
    assert lines[2] == "| b | 70.0 % | 70.0 % | 70.0 % | - | 70.0 % | 10.0 to 80.0 | pgd | - | - |"
    assert lines[-1] == "3 trainings took 4.5 hours, their attacks 0.3 hours."
