"""The report of a reproduction, in Markdown: tables of claims, the worst first, then a section an experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from npsnn.jobs.schedule import with_needs
from npsnn.reproduce.claims import MISSING, OPEN, VERDICTS, Claim, Ruling
from npsnn.reproduce.experiments import Draw, Experiment
from npsnn.reproduce.panels import PERCENT, Panel
from npsnn.reproduce.plots import curves
from npsnn.reproduce.records import MissingError, Records
from npsnn.reproduce.scales import A2SNN, NOISE_PAPER, Scale

TITLE = "Both papers, measured again"
PAPERS = {
    NOISE_PAPER: "May the Noise be with you: Adversarial Training without Adversarial Examples",
    A2SNN: "A Stochastic Neural Network for Attack-Agnostic Adversarial Robustness",
}
"""The papers' titles."""
LEGEND = """A percentage is an accuracy: the part of the test images that a network reads correctly. Where an attack is
named, the images are attacked, within the number behind its name in Linf, and a lower figure is a stronger attack. A
difference is the first figure less the second, in points, taken before rounding. Networks of one seed meet the same
images and the same draws of the noise, so that differences are paired. Intervals are of 95 %: Student's over seeds, or
over images where there is one seed.

A part of a claim *holds* where its whole interval lies on the claim's side, and *does not hold* where the whole
interval lies on the other side. A claim holds where all its parts do, does not hold where none does, and *holds in
part* where some do and some do not. All else *cannot be told at this scale*: a part that does not hold, beside one that
is undecided, leaves open whether the claim holds in part or not at all. The figure of a claim is that of its worst
part."""


@dataclass(frozen=True)
class Section:
    """What the report says of one experiment.

    experiment: the experiment.
    panels: its panels by name.
    rulings: each of its claims with what the figures say.
    plots: captions and plots.
    """

    experiment: Experiment
    panels: Mapping[str, Panel]
    rulings: Sequence[tuple[Claim, Ruling]]
    plots: Mapping[str, Draw]


def sections(
    experiments: Sequence[Experiment], claims: Mapping[str, Claim], scale: Scale, records: Records
) -> list[Section]:
    """What the records say, experiment by experiment.

    experiments: those to report.
    claims: every claim by its id.
    scale: the scale at which the jobs were made.
    records: the records that there are; what is missing is said to be so.
    """
    return [_section(experiment, claims, scale, records) for experiment in experiments]


def _section(experiment: Experiment, claims: Mapping[str, Claim], scale: Scale, records: Records) -> Section:
    panels = experiment.panels(scale, records)
    rulings = [(claims[id], _ruling(experiment, id, panels, scale)) for id in experiment.decides]
    plots = {panel.title: draw for panel in panels.values() if (draw := curves(panel)) is not None}
    return Section(experiment, panels, rulings, plots | dict(experiment.pictures(scale, records)))


def _ruling(experiment: Experiment, id: str, panels: Mapping[str, Panel], scale: Scale) -> Ruling:
    """What the figures say, where all are there; a scale that decides nothing leaves the claim open."""
    try:
        found = experiment.decides[id](panels)
    except MissingError:
        return Ruling(MISSING, "-", f"Not all that decides was measured at the scale {scale.name}.")
    return (
        found
        if scale.decides
        else replace(found, verdict=OPEN, why=f"The scale {scale.name} decides nothing.", parts=())
    )


def markdown(found: Sequence[Section], scale: Scale, records: Records, folder: str) -> str:
    """The report.

    found: its sections.
    scale: the scale.
    records: the records.
    folder: the folder of the plots, before their names.
    """
    parts = [_opening(found, scale, records), *_tables(found)]
    parts += [_about(section, folder) for section in found]
    return "\n\n".join(parts) + "\n"


def plot_name(section: Section, number: int) -> str:
    """The name of a plot's file, without its ending."""
    return f"{section.experiment.name}-{number + 1}"


def _opening(found: Sequence[Section], scale: Scale, records: Records) -> str:
    jobs = with_needs(job for section in found for job in section.experiment.jobs(scale))
    there = [job for job in jobs if records.holds(job)]
    took = _took(sum(_seconds(records, job.key) for job in there))
    machines = sorted({_machine(records, job.key) for job in there})
    missing = f"**Unfinished: {len(jobs) - len(there)} of {len(jobs)} jobs are not done.** " * (len(there) < len(jobs))
    on = f", on {'; '.join(machines)}" if machines else ""
    return f"""# {TITLE}

{missing}The figures, tables and claims of both papers at the scale *{scale.name}*. {scale.says} A network is trained
from up to {scale.seeds} seeds, as the note below each table says.

{_counts(found)}

{LEGEND}

{len(there)} jobs took {took} of one process in all{on}. The figures, tables and plots are made from the records alone:

    npsnn reproduce --scale {scale.name}
    npsnn reproduce --report"""


def _counts(found: Sequence[Section]) -> str:
    """A line for each paper: how many of its claims have which verdict."""
    lines = []
    for paper in dict.fromkeys(claim.paper for s in found for claim, _ in s.rulings):
        verdicts = [ruling.verdict for s in found for claim, ruling in s.rulings if claim.paper == paper]
        counts = ", ".join(f"{verdict}: {n}" for verdict in VERDICTS if (n := verdicts.count(verdict)))
        title = f" (*{PAPERS[paper]}*)" if paper in PAPERS else ""  # an experiment of others may be of another paper
        lines.append(f"* **{paper[0].upper()}{paper[1:]}**{title}, {len(verdicts)} claims. {counts.capitalize()}.")
    return "\n".join(lines)


def _seconds(records: Records, key: str) -> float:
    took = records[key].took.get("seconds", 0.0)
    return sum(took.values()) if isinstance(took, dict) else float(took)


def _took(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _machine(records: Records, key: str) -> str:
    about = records[key].about.get("environment", {})
    numpy = about.get("packages", {}).get("numpy", "?")
    return f"{about.get('device', '?')}, {about.get('machine', '?')}, NumPy {numpy}, npsnn {about.get('npsnn', '?')}"


def _tables(found: Sequence[Section]) -> list[str]:
    """The chief claims, and all claims; in both the worst verdict comes first."""
    rows = [(claim, ruling, s.experiment.name) for s in found for claim, ruling in s.rulings]
    rows.sort(key=lambda row: VERDICTS.index(row[1].verdict))
    chief = [row for row in rows if row[0].chief]
    there = [row for row in chief if row[1].verdict != MISSING]
    tables = [_table("The chief claims", there)] * bool(there)
    if left := len(chief) - len(there):
        tables.append(f"{left} of {len(chief)} chief claims are not measured yet.")
    return [*tables, _table("All claims", rows)]


def _table(heading: str, rows: Sequence[tuple[Claim, Ruling, str]]) -> str:
    lines = [f"## {heading}", "", "| claim | here | verdict |", "|---|---|---|"]
    for claim, ruling, name in rows:
        says = f"[{_cell(claim.says)}](#{name}) ({claim.paper}, {claim.where})"
        lines.append(f"| {says} | {_cell(ruling.figure)} | **{ruling.verdict}** |")
    return "\n".join(lines)


def _about(section: Section, folder: str) -> str:
    """The section of an experiment."""
    e = section.experiment
    parts = [f"## {e.name}", f"*{e.shows} of {_the(e.paper)}.* {e.title}."]
    for claim, ruling in section.rulings:
        parts.append(f"**{ruling.verdict}** {claim.says} Here: {ruling.figure}. {ruling.why}".strip())
        if len(ruling.parts) > 1:
            parts.append("\n".join(f"* {part.figure}: {part.verdict}." for part in ruling.parts))
    if e.says:
        parts.append(e.says.strip())
    for panel in section.panels.values():
        parts.append(panel_table(panel))
    for number, caption in enumerate(section.plots):
        parts.append(f"![{caption}]({folder}{plot_name(section, number)}.svg)")
    return "\n\n".join(parts)


def panel_table(panel: Panel) -> str:
    """A panel as a table: our figures, and the paper's in square brackets."""
    unit = " (in %)" if panel.unit == PERCENT else ""
    lines = [
        f"| {panel.title}{unit} | {' | '.join(map(_cell, panel.columns))} |",
        "|---" * (len(panel.columns) + 1) + "|",
    ]
    for row in panel.rows:
        cells = []
        for column in panel.columns:
            printed = panel.theirs.get((row, column))
            beside = "" if printed is None else f" [{printed:g}]"
            cells.append(panel.shown(row, column).replace(" %", "") + beside)
        lines.append(f"| {_cell(row)} | {' | '.join(cells)} |")
    theirs = " The paper's figures stand in square brackets." if panel.theirs else ""
    note = panel.note if panel.cells else f"Not measured yet. Planned: {panel.note}"
    return "\n".join(lines) + f"\n\n{note}{theirs}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _the(paper: str) -> str:
    return paper if paper[0].isupper() else f"the {paper}"
