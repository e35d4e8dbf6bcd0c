"""The known faults can still be planted, and the tests that must notice them exist; scripts/run mutants plants all."""

import ast
from pathlib import Path

import plant_faults
import pytest
from plant_faults import ROOT, Fault, faults

FAULTS = faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    broken = fault.applied(source)
    assert broken != source
    ast.parse(broken)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_tests_that_notice_it_exist(fault: Fault) -> None:
    assert fault.tests
    for test in fault.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not name or name.partition("[")[0] in defined, test


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 50


def test_a_text_that_is_not_there_once_is_refused() -> None:
    fault = Fault("x", "a.py", "old", "new", ())
    assert fault.applied("the old text") == "the new text"
    for source in ("none", "old and old"):
        with pytest.raises(ValueError, match=r"a\.py must hold 'old' once, found it [02] times"):
            fault.applied(source)


@pytest.mark.slow
def test_a_planted_fault_is_caught_and_an_unnoticed_one_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a project of one module and one test, which stays as it was."""
    (tmp_path / "npsnn").mkdir()
    (tmp_path / "cli").mkdir()
    (tmp_path / "reference").mkdir()
    (tmp_path / "npsnn" / "sum.py").write_text("def add(a, b):\n    return a + b  # right\n")
    (tmp_path / "test_sum.py").write_text("from npsnn.sum import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n")
    made = [
        Fault("a difference", "npsnn/sum.py", "a + b", "a - b", ("test_sum.py::test_add",)),
        Fault("another comment", "npsnn/sum.py", "# right", "# wrong", ("test_sum.py::test_add",)),
    ]
    monkeypatch.setattr(plant_faults, "ROOT", tmp_path)
    monkeypatch.setattr(plant_faults, "faults", lambda: made)
    assert plant_faults.main([]) == 1
    out = capsys.readouterr().out
    assert "caught  a difference" in out and "MISSED  another comment" in out and "1 of 2 faults caught" in out
    assert plant_faults.main(["difference"]) == 0
    assert "a + b" in (tmp_path / "npsnn" / "sum.py").read_text()
    assert plant_faults.main(["no such name"]) == 2
