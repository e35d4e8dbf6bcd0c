"""What A2SNN's experiments make of their records beside a grid, and the rules that several of them share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn.reproduce.a2snn.networks import Row
from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART, Ruling
from npsnn.reproduce.experiments import Grid, Rule, note
from npsnn.reproduce.jobs import Job, Train
from npsnn.reproduce.panels import NUMBER, Panel
from npsnn.reproduce.records import MissingError, Record, Records, Seeds
from npsnn.reproduce.rules import COLLAPSED, above, all_of, fairly
from npsnn.reproduce.scales import A2SNN, Scale

GRID = "grid"
"""The name of the panel of a grid."""
WORTH = 0.01
"""The least difference that "more" means where the paper says no more: a point. Else no difference would refute it."""
NOT_LEARNED = f"""
A row with one figure in all columns is of a network that gives one answer; at the scale *small* adversarial training
(pgd-training) and MART ended so. Their settings were not chosen anew; those of m0 to m5 were, by validation images (see
*a2snn-table-5-cifar10*). A network of which a seed classifies less than {100 * COLLAPSED:g} % of clean images decides
nothing. This part of the rule came after such networks had been seen.
"""
"""What experiments say of networks that have not learned."""
BRIEF = {FAILS: "fails", OPEN: "open", PART: "holds in part", HOLDS: "holds"}
"""What is said of a comparison that is as bad as the worst."""
LAST: dict[str, Callable[[Any], float]] = {
    "spread of features": lambda e: e["feature_noise"]["trace"] ** 0.5,
    "common mode": lambda e: e["feature_noise"]["common"],
    "differences": lambda e: e["feature_noise"]["differences"],
    "cosine": lambda e: e["feature_noise"]["cosine"],
}
"""What the last epoch of a training says of the noise on the features (audit A17, A18)."""


@dataclass(frozen=True)
class Few(Grid):
    """A grid of dear attacks.

    most: the most images that are attacked, whatever the setting has.
    """

    most: int = 50

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """The grid's, at the scale with fewer images."""
        return super().jobs(self._fewer(scale))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The grid's, at the scale with fewer images."""
        return super().panels(self._fewer(scale), records)

    def _fewer(self, scale: Scale) -> Scale:
        setting, place = scale.on(self.paper, self.data), (self.paper, self.data)
        if setting is None:
            return scale
        few = replace(setting, images=min(self.most, setting.images))
        return replace(scale, settings={**scale.settings, place: few})


def better(row: str, than: Iterable[str], columns: Sequence[str], by: Mapping[str, float] | None = None) -> Rule:
    """The rule that a row leaves more than each of some others: all of the attacks together, as `all_of` has it.

    Under one attack a single other that is surely no worse refutes it (`strictly`). A network that has not learned
    refutes and supports nothing (`fairly`).
    row: the row.
    than: the others.
    columns: the attacks.
    by: the least difference that the claim means, a fraction, by the other row; a point by default.
    """
    others, least = tuple(than), by or {}

    def rule(panels: Mapping[str, Panel]) -> Ruling:
        panel = panels[GRID]
        return under(
            columns,
            lambda c: strictly(
                *(
                    fairly(panel, (row, other), above(panel, (row, c), (other, c), least.get(other, WORTH)))
                    for other in others
                )
            ),
        )

    return rule


def strictly(*rulings: Ruling) -> Ruling:
    """Of several comparisons that must all hold: the worst, with how many of them are as bad.

    One that cannot be told is worse than one that holds in part: it may be one that fails.
    """
    worst = min(rulings, key=lambda ruling: (FAILS, OPEN, PART, HOLDS).index(ruling.verdict))
    if len(rulings) == 1:
        return worst
    like = sum(ruling.verdict == worst.verdict for ruling in rulings)
    return replace(
        worst, figure=f"{BRIEF[worst.verdict]} against {like} of {len(rulings)} others, the first: {worst.figure}"
    )


def under(columns: Iterable[str], part: Callable[[str], Ruling]) -> Ruling:
    """All of what a rule says of each column."""
    of = list(columns)
    return all_of(*map(part, of), names=of)


def mean(several: Sequence[Seeds]) -> Seeds:
    """The mean of figures of the same networks, seed by seed and image by image."""
    each = [s.each for s in several]
    values = tuple(float(np.mean(v)) for v in zip(*(s.values for s in several), strict=True))
    if not all(each) or len({len(e) for seed in each for e in seed}) > 1:
        return Seeds(values)
    return Seeds(values, tuple(np.mean(np.stack(e), axis=0) for e in zip(*each, strict=True)))


def trained(
    rows: Mapping[str, Row], data: str, scale: Scale, seeds: int | None = None
) -> Iterator[tuple[str, int, Train]]:
    """The training of each row and seed; none where nothing stands for the data.

    seeds: the most seeds, None for the scale's.
    """
    setting = scale.on(A2SNN, data)
    if setting is None:
        return
    for row, train in rows.items():
        for seed in range(scale.seeds if seeds is None else min(seeds, scale.seeds)):
            yield row, seed, train(setting, seed)


def gathered(found: Iterable[tuple[tuple[str, str], float]]) -> dict[tuple[str, str], Seeds]:
    """Figures by row and column, of which each seed has one, as figures over seeds."""
    cells: dict[tuple[str, str], list[float]] = {}
    for place, value in found:
        cells.setdefault(place, []).append(value)
    return {place: Seeds(tuple(values)) for place, values in cells.items()}


def present(records: Records, job: Job) -> Record | None:
    """The record of a job, or None."""
    try:
        return records[job]
    except MissingError:
        return None


def measured(
    title: str,
    jobs: Iterable[tuple[str, Job]],
    columns: Mapping[str, Any],
    records: Records,
    about: str,
    unit: str = NUMBER,
) -> Panel:
    """A panel of figures that records hold.

    title: what it shows.
    jobs: a row and a job for each seed.
    columns: from a record to the figure of a column, which raises KeyError or IndexError where the record has none.
    records: the records.
    about: how it was measured.
    unit: "%" for fractions that are shown in percent.
    """
    asked = list(jobs)
    found: list[tuple[tuple[str, str], float]] = []
    for row, record in records.there(asked):
        for column, figure in columns.items():
            try:
                found.append(((row, column), float(figure(record))))
            except (KeyError, IndexError):
                continue
    rows = dict.fromkeys(row for row, _ in asked)
    return Panel(title, list(rows), list(columns), gathered(found), unit=unit, note=about)


def of_epochs(figure: Any) -> Any:
    """From a training's record to a figure of its last epoch; KeyError where the network has no noise to tell of."""

    def last(record: Record) -> float:
        epoch = record.values["epochs"][-1]
        if epoch.get("feature_noise") is None:
            raise KeyError("feature_noise")
        return float(figure(epoch))

    return last


def noise_panel(rows: Mapping[str, Row], data: str, scale: Scale, records: Records, seeds: int | None = None) -> Panel:
    """Where the noise on the features went, by the last epoch of each training.

    A common mode moves all logits alike and no prediction; the differences of logits are what an answer depends on.
    """
    return measured(
        "Where the noise goes: root of tr Sigma, variance of the logits' common mode and of their differences, mean "
        "absolute cosine between class vectors",
        ((row, job) for row, _, job in trained(rows, data, scale, seeds)),
        {name: of_epochs(figure) for name, figure in LAST.items()},
        records,
        note(scale, A2SNN, data, seeds=seeds, by="the last epoch"),
    )


def zero_panel(grid: Grid, scale: Scale, records: Records) -> Panel:
    """The share of images that met a gradient that is all zero, by row and attack (audit B11)."""
    found: list[tuple[tuple[str, str], float]] = []
    single = [c for c in grid.columns(scale) if c.attack is not None and hasattr(c.attack, "source")]
    for row, _, columns, job in grid._jobs(scale):
        record = present(records, job)
        for column in columns if record is not None else ():
            if column in single and record is not None:
                met = record.images[column.name].get("met_zero", ())
                found.append(((row, column.name), len(met) / job.images))
    about = note(scale, grid.paper, grid.data, grid.images, grid.seeds)
    title = "Images on which a gradient was all zero, so that the attack stood still"
    return Panel(title, list(grid.rows), [c.name for c in single], gathered(found), unit="%", note=about)


def constant(value: float, like: Seeds) -> Seeds:
    """A figure that is known, as often as there are seeds."""
    return Seeds((value,) * len(like.values))
