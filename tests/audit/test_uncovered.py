"""The claims without a card: listed once, in the report, and counted where the documents speak of them."""

import re
from collections import Counter
from pathlib import Path

from npsnn import audit
from npsnn.audit.report import markdown
from npsnn.audit.uncovered import CLAIMS
from npsnn.reproduce import EXPERIMENTS
from npsnn.reproduce.scales import A2SNN, NOISE_PAPER

ROOT = Path(__file__).parent.parent.parent


def test_claims_are_listed_once_and_lead_to_cards() -> None:
    assert len({(c.paper, c.place, c.says) for c in CLAIMS}) == len(CLAIMS)
    assert {c.paper for c in CLAIMS} == {"noise", "a2snn"}
    for claim in CLAIMS:
        assert set(claim.near) <= set(audit.CARDS), claim
        assert all(audit.CARDS[i].paper == claim.paper for i in claim.near), claim


def test_no_card_is_named_after_a_place_that_is_said_to_have_none() -> None:
    """A figure or table that a card is about is listed for what the card leaves out, and names the card."""
    of_cards = {
        (card.paper, place): card.id
        for card in audit.CARDS.values()
        for place in re.findall(r"Fig\. \d|Table \d", card.place)
    }
    for claim in CLAIMS:
        for place in re.findall(r"Fig\. \d", claim.place):
            card = of_cards.get((claim.paper, place))
            assert card is None or card in claim.near, (claim, card)


def test_the_report_lists_them() -> None:
    text = markdown([], {})
    assert f"{len(CLAIMS)} claims that no formula decides" in text
    assert all(f"| {claim.place} | {claim.says} |" in text for claim in CLAIMS)


def test_the_experiments_that_they_lead_to_are_there_and_of_their_paper() -> None:
    papers = {"noise": NOISE_PAPER, "a2snn": A2SNN}
    for claim in CLAIMS:
        assert not claim.measured or EXPERIMENTS[claim.measured].paper == papers[claim.paper], claim
    assert sum(bool(claim.measured) for claim in CLAIMS) > len(CLAIMS) - 4


def test_the_documents_count_cards_and_claims_as_they_are() -> None:
    found = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    verdicts = Counter(card.verdict for card in audit.CARDS.values() if card.paper in ("noise", "a2snn"))
    assert f"{len(CLAIMS)} further claims, about trainings and figures of the papers, have no row." in found
    assert f"runs all {len(audit.CARDS)} rows of the audit in" in found
    right, rows = verdicts["correct"], sum(verdicts.values())
    assert f"In {right} of the {rows} rows the paper is correct as it stands" in found
    counts = {
        (path.name, int(count))
        for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for count in re.findall(r"\b(?:all|holds) (\d+) (?:cards|rows|claims)\b", path.read_text())
    }
    assert {name for name, _ in counts} >= {"findings.md", "command-line.md", "check-a-derivation.md"}
    assert {count for _, count in counts} == {len(audit.CARDS)}, counts


def test_no_document_says_that_every_claim_has_a_card() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = " ".join(path.read_text().split()).lower()
        assert not re.search(r"(every|all) [^.]{0,40}claims?\b[^.]{0,60}\b(has|have) a (card|row)", text), path.name
        assert "rule and numeric claim of the two papers" not in text, path.name
