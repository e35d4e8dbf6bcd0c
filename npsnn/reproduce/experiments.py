"""Experiments as data: the runs and attacks that re-measure a figure, table or claim, and the rules that decide.

    enter(Grid("noise-figure-4", rows={...}, columns=..., decides={"noise-robust": rule}))

An experiment says which jobs it needs at a scale, what panels their records make, and how the panels decide about each
of its claims. It trains and attacks nothing itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from npsnn.attacks.judging import Judging
from npsnn.reproduce.claims import Claim, Ruling
from npsnn.reproduce.jobs import Attack, Job, Train
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.perform import CLEAN
from npsnn.reproduce.records import MissingError, Records, Seeds
from npsnn.reproduce.scales import Scale, Setting

Draw: TypeAlias = Callable[[Any], None]
"""A plot: a function that draws on axes of Matplotlib."""
SELECTION = 10
"""For each draw that judges, the draws by which the worst of several attacks is chosen."""
Rule: TypeAlias = Callable[[Mapping[str, Panel]], Ruling]
"""From an experiment's panels by name to what they say of a claim."""


class Experiment(Protocol):
    """What an experiment is asked for.

    name: its name, as noise-figure-4.
    paper: "noise paper" or "A2SNN".
    shows: the figure, table or section that it re-measures, as "Fig. 4".
    title: what it shows, in a few words.
    decides: rules by the id of a claim.
    says: how to read the panels: readings, controls, what a sceptic would ask; a paragraph or two of Markdown.
    """

    @property
    def name(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def shows(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def decides(self) -> Mapping[str, Rule]: ...
    @property
    def says(self) -> str: ...

    def jobs(self, scale: Scale) -> Iterable[Job]:
        """The jobs of the experiment at a scale; none where nothing stands for its data."""

    def panels(self, scale: Scale, records: Records) -> Mapping[str, Panel]:
        """Its panels by name, of the records that there are."""

    def pictures(self, scale: Scale, records: Records) -> Mapping[str, Draw]:
        """Plots of its own by caption, beside those that panels with an axis get; none where records are missing."""


EXPERIMENTS: dict[str, Experiment] = {}
"""Every experiment by name, in the order of the papers."""


CLAIMS: dict[str, Claim] = {}
"""Claims that experiments of others bring along, by id; those of the papers are in the lists of the papers."""


def enter(*found: Experiment, claims: Iterable[Claim] = ()) -> None:
    """Enter experiments, and claims that they decide about and that no list of a paper has.

    Raises ValueError where there is another experiment of that name.
    """
    CLAIMS.update({claim.id: claim for claim in claims})
    for experiment in found:
        if experiment.name in EXPERIMENTS:
            raise ValueError(f"there is another experiment {experiment.name}: rename one")
        EXPERIMENTS[experiment.name] = experiment


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    name: its name.
    attack: an attack or a group, None for the images as they are.
    judging: options of the judging that differ from the scale's, as {"sigma": 0.0} for the noise off.
    x: the column as a number.
    """

    name: str
    attack: Any = None
    judging: Mapping[str, Any] = field(default_factory=dict)
    x: float | None = None


@dataclass(frozen=True)
class Grid:
    """Networks by attacks on one data set: rows are trained for each seed, columns attack them.

    name, paper, shows, title, says, decides: as `Experiment` has them; rules get the one panel as "grid".
    data: the paper's name of the data set.
    rows: how a row's network is trained, from a setting and a seed.
    columns: the columns at a scale.
    theirs: the paper's figures by row and column, in percent.
    axis: label of the columns' axis, for a plot.
    images: number of attacked images, None for the setting's.
    seeds: the most seeds that are trained, None for the scale's.
    kept: options of the judging by row, as {"keeps 0.8": {"sigma": 0.8}}; a column's own go before them.
    """

    name: str
    paper: str
    shows: str
    title: str
    data: str
    rows: Mapping[str, Callable[[Setting, int], Train]]
    columns: Callable[[Scale], Iterable[Column]]
    decides: Mapping[str, Rule] = field(default_factory=dict)
    theirs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    axis: str = ""
    says: str = ""
    images: int | None = None
    seeds: int | None = None
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """An attack job for each row, seed and kind of judging."""
        for _, _, _, job in self._jobs(scale):
            yield job

    def _jobs(self, scale: Scale) -> Iterator[tuple[str, int, list[Column], Attack]]:
        setting = scale.on(self.paper, self.data)
        if setting is None:
            return
        columns, kinds = list(self.columns(scale)), list[Mapping[str, Any]]()
        kinds = [c.judging for i, c in enumerate(columns) if c.judging not in [d.judging for d in columns[:i]]]
        for row, train in self.rows.items():
            for seed in range(self._count(scale)):
                network = train(setting, seed)
                for kind in kinds:
                    own = [c for c in columns if c.judging == kind]
                    attacks = tuple((c.name, c.attack) for c in own if c.attack is not None)
                    of_scale = {"draws": scale.draws, "selection": SELECTION * scale.draws}
                    judging = Judging(**{**of_scale, **self.kept.get(row, {}), **kind})
                    yield row, seed, own, Attack(network, attacks, self.images or setting.images, judging)

    def _count(self, scale: Scale) -> int:
        """The number of seeds."""
        return scale.seeds if self.seeds is None else min(self.seeds, scale.seeds)

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """One panel, "grid"; a figure stands there once all of its seeds do, for seeds are paired by their order."""
        found: dict[tuple[str, str], list[Any]] = {}
        for row, _, columns, job in self._jobs(scale):
            for column in columns:
                try:
                    accuracy = records[job].accuracy(column.name if column.attack is not None else CLEAN)
                except MissingError:
                    continue
                found.setdefault((row, column.name), []).append(accuracy)
        columns = list(self.columns(scale))
        x = {c.name: c.x for c in columns if c.x is not None}
        panel = Panel(
            title=self.title,
            rows=list(self.rows),
            columns=[c.name for c in columns],
            cells={place: Seeds.of(some) for place, some in found.items() if len(some) == self._count(scale)},
            theirs=self.theirs,
            x=x,
            axis=self.axis,
            note=note(scale, self.paper, self.data, self.images, self.seeds),
        )
        return {"grid": panel}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside that of its panel."""
        return {}


def note(
    scale: Scale,
    paper: str,
    dataset: str,
    images: int | None = None,
    seeds: int | None = None,
    by: str | None = None,
) -> str:
    """How a panel was measured, in a sentence.

    images, seeds: as a `Grid` has them.
    by: what the networks were measured by, "" for the training alone, None for test images and draws that judge.
    """
    setting = scale.on(paper, dataset)
    if setting is None:
        return f"Nothing stands for {dataset} at the scale {scale.name}: not run."
    limit = "all" if setting.limit is None else f"{setting.limit:,}"
    count = scale.seeds if seeds is None else min(seeds, scale.seeds)
    trained = f"{count} seed{'s' if count > 1 else ''}"
    if by is None:
        by = f"the first {images or setting.images} test images, {scale.draws} draws where there is noise"
    how = [setting.dataset, setting.model, f"{setting.epochs} epochs of {limit} training images", trained, by]
    return f"{', '.join(filter(None, how))}."
