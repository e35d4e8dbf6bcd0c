"""Which rows of the audit rest on which.

"If Eq. 6 falls, which claims fall with it?": used_by("N14", through=True).
"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from npsnn.audit.card import CARDS, Card, check_ids


def used_by(id: str, through: bool = False) -> tuple[str, ...]:
    """The numbers of the rows that rest on a row, in the order of the report.

    id: number of the row, such as N14.
    through: also give the rows that rest on it through other rows.

    Raises ValueError for a number that no card has.
    """
    found = fresh = check_ids([id])
    while fresh:
        fresh = {card.id for card in CARDS.values() if fresh.intersection(card.uses)} - found
        found = found | fresh
        if not through:
            break
    return tuple(sorted(found - {id.upper()}, key=lambda i: CARDS[i].order))


def check_uses(cards: Mapping[str, Card]) -> None:
    """Check that every row rests on rows that exist, and none on itself through others.

    cards: all cards by number.

    Raises ValueError that names the rows.
    """
    for card in cards.values():
        if unknown := [i for i in card.uses if i not in cards]:
            raise ValueError(f"{card.id}: uses must name rows that exist, got {', '.join(unknown)}")
    try:
        TopologicalSorter({card.id: card.uses for card in cards.values()}).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ValueError(f"uses must not lead back to the same row, got {circle}") from None
