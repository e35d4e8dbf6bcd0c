"""What the records say, experiment by experiment: panels, plots, and a ruling for each claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from npsnn.reproduce.claims import MISSING, OPEN, VERDICTS, Claim, Ruling
from npsnn.reproduce.experiments import Draw, Experiment
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.plots import curves
from npsnn.reproduce.records import MissingError, Records
from npsnn.reproduce.scales import Scale

Row: TypeAlias = tuple[Claim, Ruling, str]
"""A claim, what the figures say, and the experiment's name."""


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


def by_paper(found: Sequence[Section]) -> dict[str, list[Row]]:
    """Claims with what the figures say and the experiment, by paper; the worst verdict comes first."""
    rows: dict[str, list[Row]] = {}
    for section in found:
        for claim, ruling in section.rulings:
            rows.setdefault(claim.paper, []).append((claim, ruling, section.experiment.name))
    return {paper: sorted(of, key=lambda row: VERDICTS.index(row[1].verdict)) for paper, of in rows.items()}
