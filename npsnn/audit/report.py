"""The audit as a Markdown document: a table of verdicts, then a section for each card."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isinf

from npsnn.audit.card import VERDICTS, Figure
from npsnn.audit.engine import resolve
from npsnn.audit.layerwise import RULES, Fit
from npsnn.audit.run import Row
from npsnn.audit.uncovered import CLAIMS

PAPER_NAMES = {"noise": "Noise paper", "a2snn": "A2SNN", "authors": "Authors' code", "extension": "Extension"}
HEADINGS = {"authors": ("In the paper", "In the code"), "extension": ("In the papers", "As derived")}
"""Of the two statements of a card; of those of the two papers they are as printed and as derived."""

CHECKED_ON = {
    "engine": "checked on the engine and on the plain formula",
    "engine in part": "checked on the plain formulas, and on the engine where it has them",
    "reference": "checked on the plain formula",
    "text": "textual: no formula to check",
}

INTRODUCTION = r"""# Audit of the equations

Every formula and rule of the two papers that npsnn starts from, as printed and as the mathematics gives it, with a
verdict and evidence that a reader can measure again: `npsnn audit` runs every check below, `npsnn audit N20` one of
them. Numeric claims have a row where formulas or the papers' own tables decide them; those that only a training or a
missing figure can decide have none yet, and are [listed at the end](#claims-without-a-row).

N1 to N42 are rows of the **noise paper** (Arous, López-Lopera, Abu-Ghazaleh, Alouani, *May the Noise be with you:
Adversarial Training without Adversarial Examples*, arXiv 2312.08877), A1 to A33 of **A2SNN** (Eustratiadis, Gouk, Li,
Hospedales, *A Stochastic Neural Network for Attack-Agnostic Adversarial Robustness*). B1 to B10 are what the published
**code of A2SNN's authors** (github.com/peustr/A2SNN) does where the paper says something else, which
`npsnn train --authors-code` can repeat in part. E1 to E5 are extensions that replace what is wrong or missing in the
papers.

Notation: $\varphi$ and $\Phi$ are the density and the distribution function of the standard normal law, $k$ is the
true class, $n$ or $C$ the number of classes, $v$ a variance and $s=\sqrt v$. A Monte Carlo figure stands with its
standard error and must be within five of them of the formula; a numerical error must be below the bound that is given.
"""


def number(value: float) -> str:
    """Four significant digits, or all of a whole number."""
    return f"{value:.0f}" if abs(value) < 1e7 and value == round(value) else f"{value:.4g}"


def measured(figure: Figure) -> str:
    """A figure's value as the command prints it, with its standard error if it has one."""
    if figure.standard_error is None:
        return number(figure.value)
    return f"{number(figure.value)} ± {figure.standard_error:.1g}"


def claimed(figure: Figure) -> str:
    """The interval in which the figure supports the verdict, in words; "" for one that only informs."""
    if isinf(figure.low) and isinf(figure.high):
        return ""
    if isinf(figure.low):
        return f"at most {number(figure.high)}"
    if isinf(figure.high):
        return f"at least {number(figure.low)}"
    middle, reach = (figure.low + figure.high) / 2, (figure.high - figure.low) / 2
    return f"{number(middle)} ± {reach:.1g}"


def headline(row: Row, exact: bool = True) -> str:
    """The figures that decide, on one line. exact: print the size of a numerical error, too, not only its bound."""
    if row.failure:
        return row.failure
    figures = {f.name: number(f.value) if exact else _stable(f) for f in row.figures}
    return re.sub(r"\{(.+?)\}", lambda name: figures.get(name[1], "?"), row.card.headline)


def _stable(figure: Figure) -> str:
    """As `measured`, but of a numerical error the bound that it keeps: its size is the processor's."""
    return f"≤ {number(figure.high)}" if figure.is_error else number(figure.value)


def outcome(rows: Iterable[Row]) -> str:
    """Whether all verdicts hold, in words."""
    unsupported = [row.card.id for row in rows if not row.supported]
    return f"NOT SUPPORTED: {', '.join(unsupported)}" if unsupported else "every check supports its verdict"


def _paragraphs(text: str) -> str:
    """The text with every displayed formula in a paragraph of its own, as Markdown wants it."""
    return re.sub(r"\s*(\$\$.+?\$\$)\s*", r"\n\n\1\n\n", text, flags=re.DOTALL).strip()


def slug(heading: str) -> str:
    """The anchor that a heading gets, on the usual sites and in the HTML report."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def heading(row: Row) -> str:
    return f"{row.card.id} {row.card.title}"


def markdown(rows: Sequence[Row], pictures: Mapping[str, Iterable[tuple[str, str]]], extra: str = "") -> str:
    """The report. pictures: for a card's number, the (caption, path) of each of its figures; extra: a last section."""
    parts = [INTRODUCTION, _verdicts(rows), *(section(row, pictures.get(row.card.id, ())) for row in rows)]
    return "\n".join([*parts, extra, _uncovered()] if extra else [*parts, _uncovered()])


def _uncovered() -> str:
    """The claims that no card checks, and the cards that touch them."""
    table = ["| paper | place | claim | see |", "|---|---|---|---|"]
    table += [f"| {PAPER_NAMES[c.paper]} | {c.place} | {c.says} | {', '.join(c.near)} |" for c in CLAIMS]
    return f"## Claims without a row\n\n{len(CLAIMS)} claims that no check decides yet.\n\n" + "\n".join(table) + "\n"


def _verdicts(rows: Sequence[Row]) -> str:
    counts = Counter(row.card.verdict for row in rows)
    summary = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
    table = ["| row | place | what | verdict | decisive figure |", "|---|---|---|---|---|"]
    for row in rows:
        link = f"[{row.card.id}](#{slug(heading(row))})"
        cells = (
            link,
            row.card.place,
            row.card.title,
            f"**{row.card.verdict}**",
            headline(row, exact=False) or "two places disagree",
        )
        table.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return f"## Verdicts\n\n{len(rows)} rows: {summary}; {outcome(rows)}.\n\n" + "\n".join(table) + "\n"


def section(row: Row, pictures: Iterable[tuple[str, str]] = ()) -> str:
    """A card with everything that is known of it."""
    card = row.card
    stated, derived = HEADINGS.get(card.paper, ("As printed", "As derived"))
    symbols = ", ".join(f"`{s}`{' (to come)' if resolve(s) is None else ''}" for s in card.symbols)
    lines = [
        f"## {heading(row)}",
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
    """Header and rows: for each layer, each rule's error of the mean in drawn standard deviations, and its sd ratio."""
    by_layer: dict[str, dict[str, str]] = {}
    for f in fit.layers:
        by_layer.setdefault(f.layer, {})[f.rule] = f"{f.mean_error:.2f} / {f.sd_ratio:.2f}"
    rows = [("layer", *RULES), *((layer, *(of.get(r, "-") for r in RULES)) for layer, of in by_layer.items())]
    errors = (fit.win_errors.get(rule) for rule in RULES)
    return [*rows, ("P(Y_k > Y_i) off by", *("-" if e is None else f"{e:.4f}" for e in errors))]


def comparison_notes(fit: Fit) -> str:
    """How the table of a comparison is to be read."""
    notes = (
        f"Each cell: root mean square error of the mean over that of the drawn standard deviations / ratio of the "
        f"standard deviations, from {fit.draws} draws for each of {fit.images} images. A perfect rule would show "
        f"{fit.mean_floor:.2f} / 1.00, and {fit.win_floor:.4f} in the last line, which is the mean error of the win "
        f"probabilities."
    )
    return f"{notes} No full covariance: {fit.refusal}." if fit.refusal else notes


def comparison(run: str, fit: Fit) -> str:
    """The comparison with draws on a trained network, as the report's last section."""
    header, *rows = (f"| {' | '.join(cells)} |" for cells in comparison_table(fit))
    table = "\n".join([header, "|---" * (len(RULES) + 1) + "|", *rows])
    return f"## On the network {run}\n\n{comparison_notes(fit)}\n\n{table}\n"
