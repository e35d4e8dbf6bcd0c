"""The findings that open the report: they are of rows that exist, and their figures are those of the run."""

import re
from dataclasses import replace
from pathlib import Path

import mutants
import pytest

from npsnn import audit
from npsnn.audit.card import Figure
from npsnn.audit.findings import FINDINGS, Finding
from npsnn.audit.report import FINDINGS_TITLE, markdown, number, slug
from npsnn.audit.run import Row

findings = pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.id)


def rows() -> list[Row]:
    """The rows of all findings; a process that only collects the tests measures none."""
    return [mutants.row(finding.id) for finding in FINDINGS]


def opening(*rows: Row) -> str:
    """The section of the findings in the report of these rows, "" where it has none."""
    parts = re.split(r"^## ", markdown(rows, {}), flags=re.MULTILINE)
    return next((part for part in parts if part.startswith(FINDINGS_TITLE)), "")


def items(*rows: Row) -> list[str]:
    return re.split(r"^\d+\. ", opening(*rows), flags=re.MULTILINE)[1:]


def test_there_are_ten_of_different_rows_of_both_papers_and_the_code() -> None:
    assert len({finding.id for finding in FINDINGS}) == len(FINDINGS) == 10
    assert {audit.CARDS[finding.id].paper for finding in FINDINGS} == {"noise", "a2snn", "authors"}


@findings
def test_claim_and_consequence_are_one_sentence_each(finding: Finding) -> None:
    for text in (finding.claim, finding.matters):
        assert text.endswith(".")
        assert not re.search(r"[.;?!] [A-Z]", text), text
    assert not finding.measured.endswith(".")


@findings
def test_figures_are_those_of_the_card(finding: Finding) -> None:
    names = re.findall(r"\{(.+?)\}", finding.measured)
    assert names
    assert set(names) <= {figure.name for figure in mutants.row(finding.id).figures}


@findings
def test_the_report_shows_what_this_run_measured(finding: Finding) -> None:
    row = mutants.row(finding.id)
    name = re.findall(r"\{(.+?)\}", finding.measured)[0]
    other = tuple(replace(f, value=7654.321, low=0, high=1e9) if f.name == name else f for f in row.figures)
    assert "7654" in items(replace(row, figures=other))[0]
    for name in re.findall(r"\{(.+?)\}", finding.measured):
        figure = next(f for f in row.figures if f.name == name)
        assert (f"≤ {number(figure.high)}" if figure.is_error else number(figure.value)) in items(row)[0]


def test_the_findings_of_their_page_are_among_them() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "findings.md").read_text()
    ids = re.findall(r"\[([NABCE]\d+)\]\(audit\.md#", page)
    assert ids
    assert set(ids) <= {finding.id for finding in FINDINGS}


def test_they_open_the_report_before_the_legend_and_the_verdicts() -> None:
    text = markdown(rows(), {})
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[:3] == [FINDINGS_TITLE, "How to read the rows", "Verdicts"]
    ids = re.findall(r"^\d+\. \[([NAB]\d+)\]", opening(*rows()), re.MULTILINE)
    assert ids == [finding.id for finding in FINDINGS]


@findings
def test_an_item_links_to_its_card_and_counts_what_rests_on_it(finding: Finding) -> None:
    card = audit.CARDS[finding.id]
    item = items(mutants.row(finding.id))[0]
    assert item.startswith(f"[{card.id}](#{slug(card.heading)}) **{card.verdict}**")
    assert finding.claim in item and finding.matters in item
    count = len(audit.used_by(card.id, through=True))
    said = {0: "No other row rests", 1: "1 other row rests"}.get(count, f"{count} other rows rest")
    assert f"{said} on {card.id}." in item


def test_a_report_has_the_findings_of_its_rows_alone() -> None:
    assert opening(audit.examine(audit.CARDS["N40"])) == ""
    assert len(items(mutants.row("A17"), mutants.row("N20"))) == 2


def test_a_finding_that_the_check_does_not_support_says_so() -> None:
    assert "does not support" not in opening(*rows())
    row = mutants.row("N20")
    assert "**The check does not support the verdict.**" in items(replace(row, figures=(Figure("a", 2, 0, 1),)))[0]
    assert "ValueError: boom" in items(replace(row, failure="ValueError: boom"))[0]
