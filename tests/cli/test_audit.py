"""`npsnn audit`: its rows, its documents, its exit codes."""

import json
import re
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from calling import Npsnn

from npsnn.ops import loss


def test_a_row_says_what_was_measured(npsnn: Npsnn) -> None:
    ended = npsnn("audit", "n20")
    assert ended.code == 0
    line = next(line for line in ended.out.splitlines() if line.startswith("N20"))
    assert "sign error" in line
    assert "Monte Carlo" in line
    assert "derived" in line
    assert "printed" in line


def test_json_is_one_document(npsnn: Npsnn) -> None:
    document = json.loads(npsnn("audit", "N20", "E1", "--json").out)
    assert set(document) == {"seed", "thorough", "environment", "rows", "seconds", "interrupted"}
    assert (document["seed"], document["thorough"]) == (0, False)
    assert [row["id"] for row in document["rows"]] == ["N20", "E1"]
    for row in document["rows"]:
        assert {"id", "paper", "place", "verdict", "supported", "figures"} <= set(row)
        assert row["supported"] is True
        assert all(figure["holds"] for figure in row["figures"].values())


def test_the_same_seed_gives_the_same_document(npsnn: Npsnn) -> None:
    first, second, other = (json.loads(npsnn("audit", "N20", "--json", "--seed", s).out)["rows"] for s in (3, 3, -4))
    assert first == second != other


def test_rows_are_chosen_by_paper_and_verdict(npsnn: Npsnn) -> None:
    chosen = json.loads(npsnn("audit", "--paper", "noise", "--verdict", "sign error", "--json").out)["rows"]
    assert {row["id"] for row in chosen} >= {"N20"}
    assert all((row["paper"], row["verdict"]) == ("noise", "sign error") for row in chosen)


def test_details_print_the_whole_card(npsnn: Npsnn) -> None:
    out = npsnn("audit", "N20", "--details").out
    assert "As printed" in out
    assert "supports the verdict if" in out


def test_details_name_the_rows_on_both_sides(npsnn: Npsnn) -> None:
    out = npsnn("audit", "N36", "--details").out
    assert "**Rests on:** N20, N37\n" in out
    assert "**Rests on this row:** 1 row directly: N34; 1 more through others: N33\n" in out


def test_json_names_the_rows_on_both_sides(npsnn: Npsnn) -> None:
    row = json.loads(npsnn("audit", "N36", "--json").out)["rows"][0]
    assert row["uses"] == ["N20", "N37"]
    assert row["used_by"] == {"directly": ["N34"], "through_others": ["N33"]}


def test_a_broken_engine_turns_the_exit_code(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    right = loss.win_probability

    def wrong(mean: Any, var: Any, labels: Any) -> Any:
        return right(-mean, var, labels)

    monkeypatch.setattr(loss, "win_probability", wrong)
    ended = npsnn("audit", "N20")
    assert ended.code == 3
    assert "NOT SUPPORTED: N20" in ended.out
    assert npsnn("audit", "N20", "--json").code == 3


@pytest.mark.slow
def test_reports_are_written(npsnn: Npsnn, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert npsnn("audit", "N20", "--markdown", folder / "a.md", "--html", folder / "b.html").code == 0
    assert {p.name for p in folder.iterdir()} == {"a.md", "a-figures", "b.html"}
    assert [p.name for p in (folder / "a-figures").iterdir()] == ["win-probability.svg"]
    assert "<math" in (folder / "b.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["N99"], "N99"),
        (["loss"], "LOSS"),
        (["N20", "--paper", "a2snn"], "no row"),
        (["--paper", "third"], "--paper"),
        (["--verdict", "right"], "--verdict"),
        (["--draws", "1"], "--draws"),
        (["--html", "."], "--html"),
    ],
)
def test_wrong_usage_is_one_line(npsnn: Npsnn, arguments: list[str], named: str) -> None:
    assert named in npsnn("audit", *arguments).error_line(2)


def test_an_unknown_run_is_one_line(npsnn: Npsnn, tmp_path: Path) -> None:
    assert "nowhere" in npsnn("audit", "N20", "--run", "nowhere", "--runs-dir", tmp_path).error_line(1)


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_report_replaces_no_file_of_others(npsnn: Npsnn, tmp_path: Path, option: str) -> None:
    mine = tmp_path / "mine"
    mine.write_text("my own")
    said = npsnn("audit", "N20", option, mine).error_line(1)
    assert said == f"Error: {option} would replace {mine}, which does not say that npsnn wrote it: choose another name"
    assert mine.read_text() == "my own"
    mine.unlink()
    assert [npsnn("audit", "N20", option, mine).code for _ in range(2)] == [0, 0]


def test_without_the_libraries_it_says_what_to_install(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    monkeypatch.setattr("npsnn.audit.publish.find_spec", lambda name: None if name == "latex2mathml" else find(name))
    error = npsnn("audit", "N20", "--html", "unused.html").error_line(1)
    assert "latex2mathml" in error
    assert "npsnn[report]" in error


def test_the_findings_of_their_page_are_what_the_command_prints(npsnn: Npsnn) -> None:
    """Verdict and figures, to the last digit but for what another processor rounds."""
    page = (Path(__file__).parent.parent.parent / "docs" / "findings.md").read_text()
    command = re.search(r"^    npsnn (audit(?: [NAE]\d+)+)$", page, re.MULTILINE)
    findings = re.findall(r"^\|.*\[([NA]\d+)\]\(audit\.md#.*\| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert command and command[1].split()[1:] == [number for number, _, _ in findings] and len(findings) == 5
    printed = {line.partition(" ")[0]: line for line in npsnn(*command[1].split()).out.splitlines()}
    figure = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
    for number, verdict, shown in findings:
        assert f" {verdict} " in printed[number]
        measured = [float(n) for n in figure.findall(printed[number])]
        for n in figure.findall(shown):
            assert any(float(n) == pytest.approx(m, rel=0.02, abs=1e-9) for m in measured), (number, n)


@pytest.mark.slow
def test_a_run_with_nothing_to_compare_is_refused_before_the_rows(npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    where = ("--runs-dir", tmp_path, "--data-dir", data_dir)
    assert npsnn("train", "--noise", "none", "--limit", 2, "--epochs", 1, "--name", "plain", *where).code == 0
    assert "has no noise layer" in npsnn("audit", "N20", "--run", "plain", *where).error_line(1)
