"""The audit of the two papers' equations: every one as printed and as derived, with a verdict and its evidence.

from npsnn import audit

for row in audit.audit(["N20", "A17"]):
    print(row.card.id, row.card.verdict, row.supported, row.figures)
"""

from npsnn.audit import cards as _cards
from npsnn.audit.card import CARDS, VERDICTS, Card, Figure
from npsnn.audit.run import Row, audit, examine, select

__all__ = ["CARDS", "VERDICTS", "Card", "Figure", "Row", "audit", "examine", "select"]

del _cards
