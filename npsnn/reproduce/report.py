"""The report of a reproduction, in Markdown: its beginning, then a section an experiment."""

from collections.abc import Sequence

from npsnn.reproduce.claims import MISSING
from npsnn.reproduce.overview import CHANGED, cell, opening, possible, tables
from npsnn.reproduce.panels import PERCENT, Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.scales import Scale
from npsnn.reproduce.sections import Section


def markdown(found: Sequence[Section], scale: Scale, records: Records, folder: str) -> str:
    """The report.

    found: its sections.
    scale: the scale.
    records: the records.
    folder: the folder of the plots, before their names.
    """
    parts = [opening(found, scale, records), *tables(found), *([CHANGED.strip()] if scale.decides else [])]
    parts += [_about(section, folder) for section in found]
    return "\n\n".join(parts) + "\n"


def plot_name(section: Section, number: int) -> str:
    """The name of a plot's file, without its ending."""
    return f"{section.experiment.name}-{number + 1}"


def _about(section: Section, folder: str) -> str:
    """The section of an experiment."""
    e = section.experiment
    parts = [f"## {e.name}", f"*{e.shows} of {_the(e.paper)}.* {e.title}."]
    for claim, ruling in section.rulings:
        parts.append(f"**{ruling.verdict}**{possible(ruling)}: *{claim.says}* {ruling.why}".strip())
        several = len(ruling.parts) > 1
        figures = [f"{part.verdict}: {part.figure}" for part in ruling.parts] if several else [ruling.figure]
        parts += ["\n".join(f"* {figure}." for figure in figures)] * (ruling.verdict != MISSING)
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
        f"| {panel.title}{unit} | {' | '.join(map(cell, panel.columns))} |",
        "|---" * (len(panel.columns) + 1) + "|",
    ]
    for row in panel.rows:
        cells = []
        for column in panel.columns:
            printed = panel.theirs.get((row, column))
            beside = "" if printed is None else f" [{printed:g}]"
            cells.append(panel.shown(row, column).replace(" %", "") + beside)
        lines.append(f"| {cell(row)} | {' | '.join(cells)} |")
    theirs = " The paper's figures stand in square brackets." if panel.theirs else ""
    note = panel.note if panel.cells else f"Not measured yet. Planned: {panel.note}"
    return "\n".join(lines) + f"\n\n{note}{theirs}"


def _the(paper: str) -> str:
    return paper if paper[0].isupper() else f"the {paper}"
