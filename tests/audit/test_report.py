"""The report: what is in it, and that the one in docs/ is what the command writes now."""

import re
from pathlib import Path

import mutants
import pytest

from npsnn import audit
from npsnn.audit import publish
from npsnn.audit.card import VERDICTS, Card, Figure, below, drawn
from npsnn.audit.findings import FINDINGS
from npsnn.audit.report import FINDINGS_TITLE, claimed, headline, markdown, slug
from npsnn.audit.run import Row
from npsnn.audit.webpage import MARKS, _badge

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    publish.write([mutants.row(card.id) for card in audit.select()], folder / "audit.md", folder / "audit.html")
    return folder


def words_and_numbers(text: str) -> tuple[str, list[float]]:
    """The text without its numbers, and these: the last digit may be another on another processor."""
    text = re.sub(r"<math.*?</math>|data:image/svg\+xml;base64,[^\"]*|<style>.*?</style>", "", text, flags=re.DOTALL)
    return NUMBER.sub("#", text), [float(n) for n in NUMBER.findall(text)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["audit.md", "audit.html"])
def test_the_documents_are_current(written: Path, name: str) -> None:
    words, numbers = words_and_numbers((DOCS / name).read_text())
    now, numbers_now = words_and_numbers((written / name).read_text())
    assert words == now, "run scripts/build-docs"
    assert numbers == pytest.approx(numbers_now, rel=0.02, abs=1e-3), "run scripts/build-docs"


@pytest.mark.slow
def test_the_figures_are_there(written: Path) -> None:
    now = {p.name for p in (written / "audit-figures").iterdir()}
    assert {p.name for p in (DOCS / "audit-figures").iterdir()} == now
    assert all(f"audit-figures/{name}" in (DOCS / "audit.md").read_text() for name in now)


@pytest.mark.slow
def test_the_page_needs_nothing_else(written: Path) -> None:
    page = (written / "audit.html").read_text()
    sources = re.findall(r"(?:src|href|action|data)=\"([^\"]*)\"", page)
    assert sources
    assert all(s.startswith(("#", "data:image/svg+xml;base64,")) for s in sources)
    assert not re.findall(r"@import|url\(|<script|<link", page)


@pytest.mark.slow
def test_links_lead_somewhere(written: Path) -> None:
    page = (written / "audit.html").read_text()
    targets = re.findall(r"href=\"#([^\"]*)\"", page)
    for card in audit.CARDS.values():
        of_others = len(audit.used_by(card.id)) + len(card.uses) + (card.id in {finding.id for finding in FINDINGS})
        assert targets.count(slug(card.heading)) == 2 + of_others, (
            f"{card.id}: from the contents, the table of verdicts, the rows on both sides, and the findings"
        )
    assert set(targets) <= set(re.findall(r"id=\"([^\"]*)\"", page))


@pytest.mark.slow
def test_a_row_links_to_what_it_rests_on_and_to_what_rests_on_it(written: Path) -> None:
    page = (written / "audit.html").read_text()
    for id in ("N14", "A10"):
        start = page.index(f'<h2 id="{slug(audit.CARDS[id].heading)}"')
        linked = re.findall(r"href=\"#([neabc]\d+)-", page[start : page.index("</section>", start)])
        assert [i.upper() for i in linked] == [*audit.CARDS[id].uses, *audit.used_by(id)]


@pytest.mark.slow
def test_the_page_opens_with_the_findings(written: Path) -> None:
    page = (written / "audit.html").read_text()
    places = [
        page.index(mark) for mark in ("<h1", slug(FINDINGS_TITLE), "<ol>", "</ol>", '<fieldset class="filter"', "<nav")
    ]
    assert places == sorted(places)
    listed = page[page.index("<ol>") : page.index("</ol>")]
    assert re.findall(r'<a href="#([nab]\d+)-', listed) == [finding.id.lower() for finding in FINDINGS]
    assert listed.count('class="verdict"') == listed.count("<li>") == len(FINDINGS)


@pytest.mark.slow
def test_contents_lead_to_the_rows_of_each_paper(written: Path) -> None:
    page = (written / "audit.html").read_text()
    nav = page[page.index("<nav") : page.index("</nav>")]
    lists = [re.findall(r"href=\"#([neabc]\d+)-", part) for part in nav.split("<details>")[1:]]
    ids = [card.id.lower() for card in audit.select()]
    assert lists == [[i for i in ids if i[0] == letter] for letter in "nabce"]
    assert 'href="#verdicts"' in nav


@pytest.mark.slow
def test_every_verdict_has_a_button_that_leaves_its_rows(written: Path) -> None:
    """The style hides what has another verdict than the chosen one: rows of the table, contents and sections."""
    page = (written / "audit.html").read_text()
    for verdict in VERDICTS:
        name, ids = slug(verdict), [card.id for card in audit.select(verdict=verdict)]
        assert f'id="show-{name}"' in page
        assert f'main:has(#show-{name}:checked) [data-verdict]:not([data-verdict="{name}"]' in page
        assert f"{verdict} {len(ids)}</span>" in page
        for tag, place in (
            ("tr", r"<td><a href=\"#(\w+)-"),
            ("section", r"<h2 id=\"(\w+)-"),
            ("li", r".*?href=\"#(\w+)-"),
        ):
            found = re.findall(rf'<{tag} data-verdict="{name}">\s*{place}', page)
            assert [i.upper() for i in found] == ids, (verdict, tag)
    assert page.count(" checked>") == 1 and 'id="show-all" checked' in page


def test_verdicts_differ_without_their_colour() -> None:
    assert len(set(MARKS.values())) == len(VERDICTS)
    assert (
        _badge("sign error")
        == '<strong class="verdict" data-of="sign-error"><span aria-hidden="true">±</span> sign error</strong>'
    )


@pytest.mark.slow
def test_all_formulas_became_mathml(written: Path) -> None:
    page = (written / "audit.html").read_text()
    visible = re.sub(r"<code>.*?</code>|<style>.*?</style>|<[^>]*>", "", page, flags=re.DOTALL)
    assert "$" not in visible
    assert "\\" not in visible


def made_up(*figures: Figure, failure: str = "") -> Row:
    text = dict.fromkeys(("place", "title", "printed", "derived", "because", "instead"), "x")
    return Row(
        Card(id="N1", verdict="wrong", headline="a {a}", check=lambda lab: iter(()), **text),
        figures,
        "engine",
        0.0,
        failure,
    )


def test_a_broken_row_is_shown_as_broken() -> None:
    text = markdown([made_up(below("a", 2, 1))], {})
    assert "NOT SUPPORTED: N1" in text
    assert "**does not hold**" in text
    assert "boom" in markdown([made_up(failure="ValueError: boom")], {})


def test_of_a_numerical_error_the_report_prints_the_bound() -> None:
    row = made_up(below("a", 3.2e-14, 1e-12))
    assert headline(row) == "a 3.2e-14"
    assert headline(row, exact=False) == "a ≤ 1e-12"
    assert headline(made_up(below("a", 3e-5, 1e-12)), exact=False) == "a 3e-05"


def test_what_a_figure_must_keep_is_said() -> None:
    assert claimed(below("a", 0, 2)) == "at most 2"
    assert claimed(drawn("a", 1.0, 0.01, 1.02)) == "1.02 ± 0.05"
    assert claimed(Figure("a", 1.0)) == ""


def test_anchors() -> None:
    assert slug("N20 Sign of the closed-form loss") == "n20-sign-of-the-closed-form-loss"
