"""What holds for every card: it is complete and can be typeset, its code exists, its check can be repeated."""

import ast
import re
from html import unescape
from pathlib import Path

import mutants
import pytest

from npsnn import audit
from npsnn.audit.engine import PLANNED, resolve
from npsnn.audit.report import section

ROOT = Path(__file__).parent.parent.parent
SOURCES = [p for folder in ("npsnn", "cli", "reference") for p in sorted((ROOT / folder).rglob("*.py"))]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = re.compile(r"\b[NABCE]\d{1,2}\b")
LAST = {"N": 42, "A": 33, "B": 17, "C": 34, "E": 5}
EVERY = [f"{letter}{i}" for letter, last in LAST.items() for i in range(1, last + 1)]
rows = pytest.mark.parametrize("row", [card.id for card in audit.select()], indirect=True)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> audit.Row:
    return mutants.row(request.param)


def test_every_row_has_its_card() -> None:
    assert [card.id for card in audit.select()] == EVERY
    assert set(audit.CARDS) == set(EVERY)


@rows
def test_the_verdict_is_supported(row: audit.Row) -> None:
    assert row.supported, (row.failure, [f for f in row.figures if not f.holds])


@rows
def test_a_check_can_fail_or_the_card_says_where_to_read(row: audit.Row) -> None:
    if row.card.check is None:
        assert len(row.card.places) >= 2
        assert row.checked_on == "text"
    else:
        assert any(f.low > -float("inf") or f.high < float("inf") for f in row.figures)
        assert row.card.headline, "no figure decides"
        assert not row.card.places or row.card.paper == "defences", "a figure says more than a place"


@rows
def test_the_headline_names_figures(row: audit.Row) -> None:
    names = [f.name for f in row.figures]
    assert len(set(names)) == len(names), "two figures of one name"
    assert set(re.findall(r"\{(.+?)\}", row.card.headline)) <= set(names)
    assert len(row.card.place) <= 22, "the table of the command has no room for it"


@pytest.mark.slow
@rows
def test_a_check_gives_the_same_figures_again(row: audit.Row) -> None:
    assert audit.examine(row.card).figures == row.figures


@pytest.mark.slow
@rows
def test_another_seed_draws_other_numbers_and_gives_the_same_verdict(row: audit.Row) -> None:
    assert audit.examine(row.card, seed=12345).supported


@rows
def test_formulas_can_be_typeset(row: audit.Row) -> None:
    convert = pytest.importorskip("latex2mathml.converter").convert
    text = re.sub(r"`[^`]*`", "", section(row))
    formulas = re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, re.DOTALL)
    assert "$" not in re.sub(r"\$\$(.+?)\$\$|\$(.+?)\$", "", text, flags=re.DOTALL), "an odd dollar sign"
    for block, inline in formulas:
        typeset = convert(block or inline)
        assert "\\" not in typeset, f"{block or inline} has a command that is not understood: {typeset}"
        width = len(unescape(re.sub("<[^>]*>", "", typeset)))
        assert block or width <= 35, f"{inline} is too wide for a phone: make it a displayed formula"


@rows
def test_what_a_card_names_can_be_imported(row: audit.Row) -> None:
    for symbol in row.card.symbols:
        assert (resolve(symbol) is None) == (symbol in PLANNED), symbol


def test_planned_symbols_belong_to_cards() -> None:
    assert {s for card in audit.CARDS.values() for s in card.symbols} >= PLANNED


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_cite_rows_that_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        cited = NUMBER.findall(ast.get_docstring(node) or "") if isinstance(node, kinds) else []
        assert set(cited) <= set(EVERY), f"{path}: {set(cited) - set(EVERY)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_cite_rows_that_exist(path: Path) -> None:
    assert set(NUMBER.findall(path.read_text())) <= set(EVERY)
