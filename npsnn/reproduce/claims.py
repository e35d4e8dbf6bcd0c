"""What the two papers claim, and what a reproduction may say of a claim."""

from dataclasses import dataclass

FAILS, PART, OPEN, HOLDS = "does not hold", "holds in part", "cannot be told at this scale", "holds"
MISSING = "not measured"
"""The verdict where the records of a claim are not all there."""
LATE = "The claim was entered after the networks that decide it had been measured."
"""What the rule of such a claim says of itself."""
VERDICTS = (FAILS, PART, OPEN, HOLDS, MISSING)
"""All verdicts, the worst first."""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    id: short name, as noise-robust.
    paper: "noise paper" or "A2SNN".
    where: section, figure or table.
    says: the claim in our words, with the paper's figures.
    chief: the claim in a few words where a reader of the paper asks for it first, empty for others.
    """

    id: str
    paper: str
    where: str
    says: str
    chief: str = ""


@dataclass(frozen=True)
class Ruling:
    """What the figures say of a claim.

    verdict: one of `VERDICTS`.
    figure: the decisive figures, as "42.1 % (38.0 to 46.2) against 41.0 %".
    why: the rule that decided, and the control that shows why, in a sentence or two.
    parts: what the figures say of each part of the claim, where it has several.
    name: what a part is called; parts of one name are told together.
    """

    verdict: str
    figure: str
    why: str = ""
    parts: tuple["Ruling", ...] = ()
    name: str = ""

    @property
    def left_open(self) -> str:
        """What is known of an open claim: empty where it is decided, or none of its parts is."""
        told = {part.verdict for part in self.parts}
        if self.verdict != OPEN or not told & {HOLDS, FAILS, PART}:
            return ""
        return "though a part holds" if told <= {HOLDS, OPEN} else "though a part fails"

    @property
    def named_parts(self) -> dict[str, list[str]]:
        """The names of the parts by their verdict, the worst first; empty where they have none."""
        return {
            verdict: names
            for verdict in VERDICTS
            if (names := list(dict.fromkeys(p.name for p in self.parts if p.verdict == verdict and p.name)))
        }

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")
