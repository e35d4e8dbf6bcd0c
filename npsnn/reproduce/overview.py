"""The beginning of the report: what to believe, how to read the tables, and the tables of claims, the worst first."""

import textwrap
from collections.abc import Sequence

from npsnn.jobs.schedule import with_needs
from npsnn.reproduce.claims import FAILS, HOLDS, MISSING, OPEN, PART, VERDICTS, Ruling
from npsnn.reproduce.papers import PAPERS
from npsnn.reproduce.records import Records
from npsnn.reproduce.scales import Scale
from npsnn.reproduce.sections import Row, Section, by_paper

TITLE = "Both papers, measured again"
LEGEND = """
* **Figures.** A percentage is the part of the test images that a network classifies correctly. Under an attack *lower
means a stronger attack*; the number behind the attack's name is its radius, the largest change of a pixel between 0 and
1. Behind a figure its 95 % interval stands in brackets, and behind an attacked one the accuracy on the same images
without attack (*clean*). The interval is of the mean over other seeds and other images: Student's over seeds and
Wilson's over images, joined. It may reach beyond what a figure can be. A difference is the first figure minus the
second, in points where they are percentages, taken before rounding. Networks of one seed meet the same images and the
same draws of the noise, so that differences are paired.
* **Verdicts.** *Needed* is where the interval must lie. The papers print no such margins: they are ours, and were fixed
before these figures were measured, but for [what was changed](#what-was-changed-after-figures-had-been-seen). A part of
a claim **holds** where its whole interval lies there, and **does not hold** where its whole interval lies elsewhere,
but for what its row says. A claim **holds** where all its parts hold, **does not hold** where all its parts fail, and
**holds in part** where some hold and some fail, whatever is open beside them. Else it **cannot be told at this scale**:
the interval of some part is too wide, for the seeds differ too much, or the networks are no comparison, as the row
says. Where other parts are decided, the verdict says so. **Not measured** are claims with jobs that are still to be
done, or with data that this scale has not.
* **More.** Of the noise paper any difference above 0 is more. A2SNN prints by how much: there the difference must be
above 0, and on average at least a point or what the claim says, but never more than the paper's own difference, which
stands beside ours; *surely more* or *less than here* says that it lies outside of our interval, and decides nothing.
One that is surely above 0 and on average less holds in part.
* **Parts.** A claim has a part for each attack, level of noise or data set that it speaks of, the paper's own attack
before the stronger one. The tables show the first part of each verdict in that order; the section behind the link has
all."""
CHANGED = """
## What was changed after figures had been seen

Of the claims that had been measured at the scale *small*, one fails now that was open before: that A2SNN keeps its
clean accuracy on Fashion-MNIST, as that is of all test images now. Claims that were entered later say so in their
sections.

* A network of which a seed has not learned decides nothing, nor do figures that are too small to differ by the margin.
* Intervals are over other images beside other seeds. Before, they were over the seeds alone.
* No margin asks for more than the difference of the paper's own figures.
* Of several comparisons that must all hold, one that cannot be told leaves the claim open, although others hold in
part.
* Costs count on both data sets of the noise paper, and Figure 1 of A2SNN under all of its attacks.
* That an attacker who knows the draw takes more is no sign of hidden gradients. Attacks of other kinds are no sign
where PGD leaves less than what they would have to lead by. Random samples are compared with as many looks at the image
itself.
* That clean data alone make robust networks is asked beside the baseline as well. A learned sigma that still moves is
open, and failed before.
* Class vectors grow by the alignment where they are longer than those of networks without it.
* Figure 4 of the noise paper and Table 4 of A2SNN have more seeds than at first. Clean accuracies of Table 5 are of all
test images."""
BRIEF = {FAILS: "no", PART: "in part", OPEN: "open", HOLDS: "yes"}
"""The verdict of a part in a word."""


def opening(found: Sequence[Section], scale: Scale, records: Records) -> str:
    """What was done, what to believe of each paper, and how to read the tables.

    found: the sections of the report.
    scale: the scale.
    records: the records.
    """
    jobs = with_needs(job for section in found for job in section.experiment.jobs(scale))
    there = [job for job in jobs if records.holds(job)]
    took = _took(sum(_seconds(records, job.key) for job in there))
    machines = sorted({_machine(records, job.key) for job in there})
    missing = f"**Unfinished: {len(jobs) - len(there)} of {len(jobs)} jobs are not done.** " * (len(there) < len(jobs))
    on = f", on {'; '.join(machines)}" if machines else ""
    about = f"""{missing}npsnn trained the networks of two papers anew, attacked them, and set a verdict beside each
claim that it measured, at the scale *{scale.name}*. {scale.says}"""
    legend = f"""{LEGEND}
* **Attacks.** *Auto* of the noise paper and *judge* of A2SNN are the strongest: each image meets its worst of gradient
attacks of several kinds (APGD, FAB) and of attacks without gradients (Square). They, PGD and APGD take {scale.steps}
steps, the PGD of A2SNN's paper ten. Where a network keeps its noise, gradients are means over up to {scale.eot} draws
(EoT) or of the closed form, and a figure is the mean over {scale.draws} fresh draws.
* **Seeds.** A network is trained from up to {scale.seeds} seeds, as each row says.
* **Records.** {len(there)} jobs took {took} of one process in all{on}. `npsnn reproduce --scale {scale.name}` trains,
attacks and measures; `npsnn reproduce --report` makes this page again from the records alone. *Audit N31* and
the like are rows that `npsnn audit N31` shows."""
    return f"# {TITLE}\n\n{_filled(about)}\n\n{_beliefs(found)}\n\n## How to read the tables\n\n{_bullets(legend)}"


def tables(found: Sequence[Section]) -> list[str]:
    """The chief claims of each paper, then all its claims; in each table the worst verdict comes first."""
    made = []
    for paper, rows in by_paper(found).items():
        chief = [row for row in rows if row[0].chief and row[1].verdict != MISSING]
        if chief:
            made.append(f"## {_capital(paper)}: the chief claims")
            made += [PAPERS[paper].terms.strip()] if paper in PAPERS else []
            made.append(_table(chief, reasons=True))
    for paper, rows in by_paper(found).items():
        made += [f"## {_capital(paper)}: all claims", _table(rows)]
        made += [f"Not asked:\n\n{_bullets(PAPERS[paper].unasked)}"] if paper in PAPERS else []
    return made


def _table(rows: Sequence[Row], reasons: bool = False) -> str:
    """A table of claims; reasons: whether the rule that decided stands below the figures."""
    lines = ["| claim | verdict | figures |", "|---|---|---|"]
    for claim, ruling, name in rows:
        why = f". *{cell(ruling.why)}*" if reasons and ruling.why else ""
        says = f"[{cell(claim.says)}](#{name}) ({claim.where})"
        lines.append(f"| {says} | **{ruling.verdict}**{possible(ruling)} | {cell(ruling.figure)}{why} |")
    return "\n".join(lines)


def possible(ruling: Ruling) -> str:
    """What is known of an open claim, behind its verdict."""
    return f", {ruling.left_open}" if ruling.left_open else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _beliefs(found: Sequence[Section]) -> str:
    """For each paper how many claims have which verdict, and the verdicts of its chief claims in a few words."""
    parts = []
    for paper, rows in by_paper(found).items():
        title = f" (*{PAPERS[paper].title}*)" if paper in PAPERS else ""  # an experiment of others may be of another
        lines = []
        chief = [(claim, ruling) for claim, ruling, _ in rows if claim.chief]
        for verdict in dict.fromkeys(f"**{ruling.verdict}**{possible(ruling)}" for _, ruling in chief):
            of = [f"{c.chief}{_mixed(r)}" for c, r in chief if f"**{r.verdict}**{possible(r)}" == verdict]
            lines.append(f"* {verdict}: {'; '.join(of)}.")
        few = (
            f" The chief claims of its abstract and conclusion in a few words, asked of {_models(found, paper)}:"
            * bool(lines)
        )
        parts.append(_filled(f"**{_capital(paper)}**{title}.{few}"))
        counts = ", ".join(f"{v} {n}" for v in VERDICTS if (n := sum(r.verdict == v for _, r, _ in rows)))
        parts += [_bullets("\n".join(lines))] * bool(lines)
        parts.append(f"All {len(rows)} claims: {counts}.")
    return "\n\n".join(parts)


def _models(found: Sequence[Section], paper: str) -> str:
    """The networks of which a paper's chief claims are asked."""
    asked = [s for s in found if any(claim.chief and claim.paper == paper for claim, _ in s.rulings)]
    models = {panel.on.split(", ")[-1] for s in asked for panel in s.panels.values() if panel.cells and panel.on}
    return " and ".join(sorted(models)) or "networks of its own"


def _mixed(ruling: Ruling) -> str:
    """Which parts of a claim have which verdict, where they differ."""
    of = [f"{BRIEF[verdict]}: {', '.join(names)}" for verdict, names in ruling.named_parts.items()]
    return f" ({'; '.join(of)})" if len(of) > 1 else ""


def _seconds(records: Records, key: str) -> float:
    took = records[key].took.get("seconds", 0.0)
    return sum(took.values()) if isinstance(took, dict) else float(took)


def _took(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _machine(records: Records, key: str) -> str:
    about = records[key].about.get("environment", {})
    numpy = about.get("packages", {}).get("numpy", "?")
    return f"{about.get('device', '?')}, {about.get('machine', '?')}, NumPy {numpy}, npsnn {about.get('npsnn', '?')}"


def _filled(text: str, indent: str = "") -> str:
    """Prose in lines of the width of the page's source."""
    one = " ".join(text.split())
    return textwrap.fill(one, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _bullets(text: str) -> str:
    """A list of which each item is filled."""
    return "\n".join(_filled(f"* {item}", "  ") for item in text.strip().removeprefix("* ").split("\n* "))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
