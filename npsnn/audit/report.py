"""The audit as a Markdown document: the main findings, a table of verdicts, a section for each card."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isinf

from npsnn.audit.card import CARDS, VERDICTS, Card, Figure
from npsnn.audit.engine import resolve
from npsnn.audit.findings import FINDINGS, Finding
from npsnn.audit.fits import Fit
from npsnn.audit.layerwise import RULES
from npsnn.audit.run import Row
from npsnn.audit.uncovered import CLAIMS
from npsnn.audit.uses import used_by

PAPER_NAMES = {"noise": "Noise paper", "a2snn": "A2SNN", "authors": "Authors' code"}
PAPER_NAMES |= {"defences": "Defences", "extension": "Extension"}
HEADINGS = {
    "authors": ("In the paper", "In the code"),
    "defences": ("As published", "As derived, or as the code has it"),
    "extension": ("In the papers", "As derived"),
}
"""Headings of the two statements of a card, by source; a card of the two papers has them as printed and as derived."""

CHECKED_ON = {
    "engine": "checked on the engine and on the plain formula",
    "engine in part": "checked on the plain formulas, and on the engine where it has them",
    "reference": "checked on the plain formula",
    "text": "textual: no formula to check",
}

TITLE = "# Audit of the equations"
INTRODUCTION = f"""{TITLE}

The audit takes every formula and rule of the two papers that npsnn starts from. Each row gives the formula as printed,
the formula as the mathematics gives it, a verdict, and evidence that a reader can measure again: `npsnn audit` runs
every check below, and `npsnn audit N20` runs one.
"""

FINDINGS_TITLE = "The findings that matter most"

LEGEND = r"""## How to read the rows

N1 to N42 are rows of the **noise paper** (Arous, López-Lopera, Abu-Ghazaleh, Alouani, *May the Noise be with you:
Adversarial Training without Adversarial Examples*, arXiv 2312.08877). A1 to A33 are rows of **A2SNN** (Eustratiadis,
Gouk, Li, Hospedales, *A Stochastic Neural Network for Attack-Agnostic Adversarial Robustness*). B1 to B17 tell where
the published **code of A2SNN's authors** (github.com/peustr/A2SNN) departs from their paper;
`npsnn train --authors-code` and `npsnn attack --authors` repeat a part of these departures. C1 to C34 are rows of the
twelve **defences** with which A2SNN's Tables 1 to 4 compare: their formulas, what their published code does otherwise,
the rows of Table 4, and independent verdicts on their robustness. A place such as yaodongyu/TRADES@6e8e11b names a
public repository and the version that was read. The full texts of these twelve papers were not at hand: what their rows
call published was read in the code, or in descriptions and abstracts of the papers. E1 to E5 are extensions: they
replace formulas that are wrong, or missing, in the papers.

A claim about numbers has a row where formulas or the papers' own tables decide it. A claim that only a training or a
missing figure can decide has no row, and stands [at the end](#claims-without-a-row).

A row **rests on** another row if its statement, as printed or as derived, takes the statement of the other row.
Whoever replaces a formula has to derive the rows that rest on it again. A row that rests on a wrong formula can be
correct: it then holds for the derived formula.

In formulas $\varphi$ and $\Phi$ are the density and the distribution function of the standard normal law, $k$ is the
true class, $n$ or $C$ the number of classes, $v$ a variance and $s=\sqrt v$. A Monte Carlo figure stands with its
standard error, and must lie within five standard errors of the formula. A numerical error must lie below the bound
beside it.
"""


def number(value: float) -> str:
    """Four significant digits, or all of a whole number."""
    return f"{value:.0f}" if abs(value) < 1e7 and value == round(value) else f"{value:.4g}"


def measured(figure: Figure) -> str:
    """The value of a figure as the command prints it, with the standard error of an estimate."""
    if figure.standard_error is None:
        return number(figure.value)
    return f"{number(figure.value)} ± {figure.standard_error:.1g}"


def claimed(figure: Figure) -> str:
    """The interval in which a figure supports the verdict, in words; "" for a figure that only informs."""
    if isinf(figure.low) and isinf(figure.high):
        return ""
    if isinf(figure.low):
        return f"at most {number(figure.high)}"
    if isinf(figure.high):
        return f"at least {number(figure.low)}"
    middle, reach = (figure.low + figure.high) / 2, (figure.high - figure.low) / 2
    return f"{number(middle)} ± {reach:.1g}"


def headline(row: Row, exact: bool = True) -> str:
    """The figures that decide, on one line, or the failure of the check.

    row: the row.
    exact: print the size of a numerical error; otherwise print the bound that it keeps.
    """
    return filled(row.card.headline, row, exact)


def filled(text: str, row: Row, exact: bool = True) -> str:
    """The text with the row's figures in place of their names in braces, or the failure of the check.

    text: sentence with names of figures in braces.
    row: the row that measured the figures.
    exact: print the size of a numerical error; otherwise print the bound that it keeps.
    """
    if row.failure:
        return row.failure
    figures = {f.name: number(f.value) if exact else _stable(f) for f in row.figures}
    return re.sub(r"\{(.+?)\}", lambda name: figures.get(name[1], "?"), text)


def _stable(figure: Figure) -> str:
    """The value, or the bound that a numerical error keeps: the error itself depends on the processor."""
    return f"≤ {number(figure.high)}" if figure.is_error else number(figure.value)


def outcome(rows: Iterable[Row]) -> str:
    """Whether the checks support all verdicts, in words."""
    unsupported = [row.card.id for row in rows if not row.supported]
    return f"NOT SUPPORTED: {', '.join(unsupported)}" if unsupported else "every check supports its verdict"


def _paragraphs(text: str) -> str:
    """The text with every displayed formula in a paragraph of its own, as Markdown needs it."""
    return re.sub(r"\s*(\$\$.+?\$\$)\s*", r"\n\n\1\n\n", text, flags=re.DOTALL).strip()


def slug(heading: str) -> str:
    """The anchor that a heading gets, on the usual sites and in the HTML report."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def markdown(rows: Sequence[Row], pictures: Mapping[str, Iterable[tuple[str, str]]], extra: str = "") -> str:
    """The report as Markdown.

    rows: rows to report.
    pictures: (caption, path) of the figures of a card, by its number.
    extra: a last section, in Markdown.
    """
    there = frozenset(row.card.id for row in rows)
    sections = (section(row, pictures.get(row.card.id, ()), there) for row in rows)
    parts = [INTRODUCTION, _findings(rows), LEGEND, _verdicts(rows), *sections, extra, _uncovered()]
    return "\n".join(filter(None, parts))


def _findings(rows: Iterable[Row]) -> str:
    """The findings that these rows have, numbered; "" where they have none."""
    of = {row.card.id: row for row in rows}
    items = [_finding(finding, of[finding.id], of) for finding in FINDINGS if finding.id in of]
    numbered = [f"{i}. {item}" for i, item in enumerate(items, 1)]
    return "\n\n".join([f"## {FINDINGS_TITLE}", *numbered]) + "\n" if items else ""


def _finding(finding: Finding, row: Row, there: Collection[str]) -> str:
    doubt = "" if row.supported else " **The check does not support the verdict.**"
    resting = len(used_by(finding.id, through=True))
    count = f"{resting or 'No'} other row{' rests' if resting < 2 else 's rest'} on {finding.id}."
    where = f"{PAPER_NAMES[row.card.paper]}, {row.card.place}"
    lines = (
        f"{_link(finding.id, there)} **{row.card.verdict}** {where}: {finding.claim}",
        f"*Measured:* {filled(finding.measured, row, exact=False)}.{doubt}",
        f"*Why it matters:* {finding.matters} {count}",
    )
    return "\\\n    ".join(lines)


def _link(id: str, there: Collection[str]) -> str:
    """The number of a row, as a link where the report has the row."""
    return f"[{id}](#{slug(CARDS[id].heading)})" if id in there else id


def _resting(card: Card, there: Collection[str]) -> list[str]:
    """The rows that the card rests on, and those that rest on it; through others only where the card is not correct."""
    direct = used_by(card.id)
    indirect = [i for i in used_by(card.id, through=True) if i not in direct]
    on, under = (", ".join(_link(i, there) for i in ids) for ids in (card.uses, direct))
    if direct and card.verdict != "correct":
        more = f"; {len(indirect)} more through others: {', '.join(indirect)}" if indirect else ""
        under = f"{len(direct)} row{'s' * (len(direct) > 1)} directly: {under}{more}"
    return [f"**Rests on:** {on or 'no other row'}", f"**Rests on this row:** {under or 'no other row'}"]


def _uncovered() -> str:
    """The claims that no card checks, the cards near them, and where trainings were asked."""
    table = ["| paper | place | claim | see | asked by |", "|---|---|---|---|---|"]
    for c in CLAIMS:
        measured = f"`{c.measured}`" if c.measured else ""
        table.append(f"| {PAPER_NAMES[c.paper]} | {c.place} | {c.says} | {', '.join(c.near)} | {measured} |")
    intro = (
        f"{len(CLAIMS)} claims that no formula decides. The last column names the experiment of `npsnn reproduce` that "
        "asks networks about the claim."
    )
    return f"## Claims without a row\n\n{intro}\n\n" + "\n".join(table) + "\n"


def _verdicts(rows: Sequence[Row]) -> str:
    counts = Counter(row.card.verdict for row in rows)
    summary = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
    table = ["| row | place | what | verdict | decisive figure |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (
            _link(row.card.id, [row.card.id]),
            row.card.place,
            row.card.title,
            f"**{row.card.verdict}**",
            headline(row, exact=False) or "two places disagree",
        )
        table.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return f"## Verdicts\n\n{len(rows)} rows: {summary}; {outcome(rows)}.\n\n" + "\n".join(table) + "\n"


def section(row: Row, pictures: Iterable[tuple[str, str]] = (), there: Collection[str] = ()) -> str:
    """A card with its statements, its reasons, the rows that it rests on and that rest on it, and all its figures.

    row: the row.
    pictures: (caption, path) of its pictures.
    there: numbers of the rows that the text may link to.
    """
    card = row.card
    stated, derived = HEADINGS.get(card.paper, ("As printed", "As derived"))
    symbols = ", ".join(f"`{s}`{' (to come)' if resolve(s) is None else ''}" for s in card.symbols)
    lines = [
        f"## {card.heading}",
        f"{PAPER_NAMES[card.paper]}, {card.place}: **{card.verdict}**; {CHECKED_ON[row.checked_on]}.",
        f"**{stated}:**",
        _paragraphs(card.printed),
        f"**{derived}:**",
        _paragraphs(card.derived),
        _paragraphs(f"**Why:** {card.because}"),
        _paragraphs(f"**Instead:** {card.instead}"),
    ]
    if symbols:
        lines.append(f"**Code:** {symbols}")
    lines += _resting(card, there)
    if card.places:
        lines.append("\n".join(f"* {place}" for place in card.places))
    lines += [f"![{caption}]({path})" for caption, path in pictures]
    if row.failure:
        lines.append(f"**The check failed:** {row.failure}")
    if row.figures:
        lines.append(_figures(row.figures))
    return "\n\n".join(lines) + "\n"


def _figures(figures: Iterable[Figure]) -> str:
    table = ["| figure | measured | supports the verdict if | |", "|---|---|---|---|"]
    for f in figures:
        value = _stable(f) if f.standard_error is None else measured(f)
        mark = "" if not claimed(f) else "holds" if f.holds else "**does not hold**"
        table.append(f"| {f.name.replace('|', '∣')} | {value} | {claimed(f)} | {mark} |")
    return "\n".join(table)


def comparison_table(fit: Fit) -> list[tuple[str, ...]]:
    """Header and rows of a comparison with draws.

    fit: the comparison. A cell holds a rule's error of the mean in drawn standard deviations, and its ratio of standard
    deviations, for one layer.
    """
    by_layer: dict[str, dict[str, str]] = {}
    for f in fit.layers:
        by_layer.setdefault(f.layer, {})[f.rule] = f"{f.mean_error:.2f} / {f.sd_ratio:.2f}"
    rows = [("layer", *RULES), *((layer, *(of.get(r, "-") for r in RULES)) for layer, of in by_layer.items())]
    for name, found in (("P(Y_k > Y_i) off by", fit.win_errors), ("P(correct) off by", fit.right_errors)):
        errors = (found.get(rule) for rule in RULES)
        rows.append((name, *("-" if e is None else f"{e:.4f}" for e in errors)))
    return rows


def comparison_notes(fit: Fit) -> str:
    """The words that explain the table of a comparison."""
    notes = (
        f"Each cell holds the root mean square error of the mean over the root mean square of the drawn standard "
        f"deviations / the ratio of the standard deviations. There are {fit.draws} draws for each of {fit.images} "
        f"images. The last lines hold the mean error of the win probabilities and of the probability of a correct "
        f"answer. A perfect rule would show {fit.mean_floor:.2f} / 1.00, and {fit.win_floor:.4f} and "
        f"{fit.right_floor:.4f} in the last lines. The logits of the network without noise err by "
        f"{fit.quiet_error:.2f} in the mean. {fit.trust}"
    )
    return f"{notes} No full covariance: {fit.refusal}." if fit.refusal else notes


def comparison(run: str, fit: Fit) -> str:
    """The comparison with draws on a trained network, as the last section of the report.

    run: name of the network's run.
    fit: the comparison.
    """
    header, *rows = (f"| {' | '.join(cells)} |" for cells in comparison_table(fit))
    table = "\n".join([header, "|---" * (len(RULES) + 1) + "|", *rows])
    return f"## On the network {run}\n\n{comparison_notes(fit)}\n\n{table}\n"
