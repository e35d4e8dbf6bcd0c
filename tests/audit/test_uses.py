"""Which rows rest on which: the data are sound, and every way of reading them says the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from npsnn import audit
from npsnn.audit.card import Card
from npsnn.audit.report import markdown, section
from npsnn.audit.run import Row
from npsnn.audit.uses import check_uses

TEXT = dict.fromkeys(("place", "title", "printed", "derived", "because", "instead"), "x")


def made_up(**uses: Iterable[str]) -> dict[str, Card]:
    return {id: Card(id=id, verdict="wrong", uses=tuple(of), **TEXT) for id, of in uses.items()}


def reported(id: str, there: Iterable[str] = ()) -> Mapping[str, str]:
    """The paragraphs of a card's section, by their label in bold."""
    text = section(Row(audit.CARDS[id], (), "text", 0.0), there=tuple(there))
    labelled = (part.partition(":** ") for part in text.split("\n\n") if part.startswith("**"))
    return {label.removeprefix("**"): rest.strip() for label, _, rest in labelled}


def test_the_cards_rest_on_rows_that_exist_and_not_on_themselves() -> None:
    check_uses(audit.CARDS)
    assert sum(len(card.uses) for card in audit.CARDS.values()) > 100


@pytest.mark.parametrize("card", audit.CARDS.values(), ids=lambda card: card.id)
def test_uses_are_in_the_order_of_the_report(card: Card) -> None:
    assert list(card.uses) == sorted(card.uses, key=lambda id: audit.CARDS[id].order)


def test_a_paper_rests_on_itself_and_on_the_extensions_alone() -> None:
    """The two papers do not cite each other's formulas, and none rests on what came after it.

    A row of a defence is of another paper, and may meet what the rows of both papers and of A2SNN's code met before.
    """
    allowed = {"noise": {"noise", "extension"}, "a2snn": {"a2snn", "extension"}, "authors": {"authors", "a2snn"}}
    allowed["defences"] = {"noise", "a2snn", "authors", "defences"}
    for card in audit.CARDS.values():
        papers = {audit.CARDS[id].paper for id in card.uses}
        assert papers <= allowed.get(card.paper, {"noise", "a2snn", "extension"}), card.id


def test_a_row_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"N1: uses must name rows that exist, got N98, N99"):
        check_uses(made_up(N1=["N98", "N2", "N99"], N2=[]))


def test_a_circle_is_named_from_row_to_row() -> None:
    with pytest.raises(ValueError, match=r"got (N1 -> N2 -> N3 -> N1|N2 -> N3 -> N1 -> N2|N3 -> N1 -> N2 -> N3)$"):
        check_uses(made_up(N1=["N2"], N2=["N3"], N3=["N1"], N4=["N1"]))


def test_a_row_does_not_use_itself_nor_another_twice() -> None:
    with pytest.raises(ValueError, match=r"N1: uses must name other rows, got N1 itself"):
        made_up(N1=["N1"])
    with pytest.raises(ValueError, match=r"N1: uses must name each row once, got N2, N2"):
        made_up(N1=["N2", "N2"])


def test_the_circle_is_noticed_where_the_cards_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import reload

    from npsnn.audit import cards

    monkeypatch.setitem(audit.CARDS, "N5", replace(audit.CARDS["N5"], uses=("N14",)))
    with pytest.raises(ValueError, match="N14"):
        reload(cards)


def test_what_rests_on_a_row_is_what_uses_it() -> None:
    for id in audit.CARDS:
        assert set(audit.used_by(id)) == {card.id for card in audit.CARDS.values() if id in card.uses}


def test_through_others_is_found_by_walking_down_from_each_row() -> None:
    def grounds(id: str) -> set[str]:
        return set(audit.CARDS[id].uses).union(*(grounds(below) for below in audit.CARDS[id].uses))

    below = {id: grounds(id) for id in audit.CARDS}
    for id in audit.CARDS:
        assert set(audit.used_by(id, through=True)) == {other for other in below if id in below[other]}


def test_rows_are_given_in_the_order_of_the_report() -> None:
    every = list(audit.CARDS.values())
    for card in every:
        found = audit.used_by(card.id, through=True)
        assert list(found) == sorted(found, key=lambda id: audit.CARDS[id].order)


def test_a_row_is_named_in_small_letters_too_and_must_exist() -> None:
    assert audit.used_by("n14") == audit.used_by("N14")
    with pytest.raises(ValueError, match="unknown row N99, expected N1 to N42"):
        audit.used_by("n99")


def test_if_eq_6_falls_the_loss_and_its_gradients_fall_with_it() -> None:
    fallen = audit.used_by("N14", through=True)
    assert {"N15", "N20", "N30", "N35", "N42"} <= set(fallen)
    assert not {"N5", "N12", "N18", "N38", "E1"} & set(fallen)
    assert {"A10", "A17", "A4"} <= set(audit.used_by("A12", through=True))
    assert "A17" not in audit.CARDS["E4"].uses


def test_a_section_shows_both_ways_and_counts_what_rests_on_a_row_that_is_not_correct() -> None:
    direct, every = audit.used_by("N14"), audit.used_by("N14", through=True)
    others = [id for id in every if id not in direct]
    shown = reported("N14")
    assert shown["Rests on"] == ", ".join(audit.CARDS["N14"].uses)
    assert shown["Rests on this row"] == (
        f"{len(direct)} rows directly: {', '.join(direct)}; {len(others)} more through others: {', '.join(others)}"
    )
    assert reported("N36")["Rests on this row"] == "1 row directly: N34; 1 more through others: N33"
    assert reported("N17")["Rests on this row"] == "1 row directly: N28"


def test_a_section_of_a_correct_row_names_what_rests_on_it_directly() -> None:
    assert audit.CARDS["A10"].verdict == "correct"
    assert reported("A10")["Rests on this row"] == ", ".join(audit.used_by("A10"))
    assert reported("N1")["Rests on"] == "no other row"
    assert reported("N38")["Rests on this row"] == "no other row"


def test_direct_rows_are_links_where_the_report_has_them() -> None:
    shown = reported("N36", ["N20", "N34", "N33"])
    assert shown["Rests on"] == "[N20](#n20-sign-of-the-closed-form-loss), N37"
    assert shown["Rests on this row"] == (
        "1 row directly: [N34](#n34-the-gradient-by-the-input-passes-the-means); 1 more through others: N33"
    )


def test_a_report_of_some_rows_links_to_no_other() -> None:
    text = markdown([Row(audit.CARDS[id], (), "text", 0.0) for id in ("N36", "N37")], {})
    assert "[N37](#n37-the-two-constants)" in text
    assert "[N20](" not in text


def test_json_has_both_ways() -> None:
    document = Row(audit.CARDS["N36"], (), "text", 0.0).to_json()
    assert document["uses"] == ["N20", "N37"]
    assert document["used_by"] == {"directly": ["N34"], "through_others": ["N33"]}
