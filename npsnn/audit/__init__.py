"""The audit of the equations of two papers and of twelve defences: each as printed and as derived, with a verdict.

from npsnn import audit

for row in audit.audit(["N20", "A17"]):
    print(row.card.id, row.card.verdict, row.supported, row.figures)
    print("rests on", row.card.uses, "and carries", audit.used_by(row.card.id, through=True))
"""

from npsnn.audit import cards as _cards
from npsnn.audit.card import CARDS, VERDICTS, Card, Figure
from npsnn.audit.run import Row, audit, examine, select
from npsnn.audit.uses import used_by

__all__ = ["CARDS", "VERDICTS", "Card", "Figure", "Row", "audit", "examine", "select", "used_by"]

del _cards
