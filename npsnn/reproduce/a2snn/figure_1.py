"""A2SNN's Figure 1: FGSM and PGD over their strength, for m0 to m5 on CIFAR-10."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from npsnn.attacks import Ball, EoT, GradientAttack
from npsnn.reproduce.a2snn.deciding import GRID, better, mean
from npsnn.reproduce.a2snn.networks import VARIANTS, ablation, closed_form, fgsm, papers_pgd
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Column, Draw, Grid, Rule, enter
from npsnn.reproduce.jobs import Job
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import all_of, at_most, falls
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "cifar10"
SEEDS = 3
POWERS = range(8)
MEAN = "mean"
"""The column with the mean over all strengths: the area under the curve."""
UNBOUNDED = "eps 1"
NOTHING = 0.01
"""What may be left where an attack takes all: a network that guesses is right by luck now and then. 200 images of which
none is left allow 1.9 %, and cannot tell."""


def name(power: int) -> str:
    """The name of a column."""
    return f"{2**power}/255"


def strengths(attack: Callable[[Scale, float], Any]) -> Callable[[Scale], Iterator[Column]]:
    """The columns of an attack over its strength."""

    def columns(scale: Scale) -> Iterator[Column]:
        yield Column("clean")
        for power in POWERS:
            yield Column(name(power), attack(scale, 2**power / 255), x=float(power))

    return columns


def with_unbounded(scale: Scale) -> Iterator[Column]:
    """The paper's PGD over its strength, and with eps 1 and twenty steps (Sec. 4.5)."""
    yield from strengths(papers_pgd)(scale)
    yield Column(UNBOUNDED, GradientAttack(Ball("linf", 1.0), 20, 0.1, source=EoT(scale.eot)))


ATTACKS: Mapping[str, Callable[[Scale], Iterator[Column]]] = {
    "FGSM": strengths(fgsm),
    "PGD": with_unbounded,
    "PGD in closed form": strengths(closed_form),
}
"""The panels: the paper's two attacks, and long steps by exact gradients."""


def with_mean(made: Panel) -> Panel:
    """A panel of strengths with a further column, the mean over them."""
    own = list(map(name, POWERS))
    whole = [row for row in made.rows if all((row, column) in made.cells for column in own)]
    means = {(row, MEAN): mean([made[row, column] for column in own]) for row in whole}
    return replace(made, columns=[*made.columns, MEAN], cells={**made.cells, **means})


def gracefully(panels: Mapping[str, Panel]) -> Ruling:
    """Whether every variant keeps more than m0 over all strengths, under each attack."""
    pairs = [(attack, row) for attack in ATTACKS for row in VARIANTS[1:]]
    parts = [better(row, ("m0",), (MEAN,))({GRID: panels[attack]}) for attack, row in pairs]
    return all_of(*parts, names=[attack for attack, _ in pairs])


def leads(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5 keeps more than every other model over all strengths, under each attack."""
    parts = [better("m5", VARIANTS[:-1], (MEAN,))({GRID: panels[attack]}) for attack in ATTACKS]
    return all_of(*parts, names=list(ATTACKS))


def takes_all(panels: Mapping[str, Panel]) -> Ruling:
    """Whether PGD with eps 1 leaves nothing of any model."""
    return all_of(*(at_most(panels["PGD"], (row, UNBOUNDED), NOTHING) for row in VARIANTS))


def stronger_takes_more(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5 keeps less of the paper's two attacks at each larger strength."""
    attacks = ("FGSM", "PGD")
    places = [("m5", column) for column in map(name, POWERS)]
    return all_of(*(falls(panels[attack], places) for attack in attacks), names=attacks)


SAYS = """The figure prints no numbers, so the paper's curves are not repeated here. The paper's strengths are 2^n on
images in [0, 1], which are read as 2^n/255 (audit A26). *PGD* takes ten steps of eps/10 from the image; *closed form*
takes long steps by exact gradients. The mean over the strengths stands for the whole curve. A network that reads few
clean images begins lower: compare each curve with the column *clean*.

The column *eps 1* is criterion 3 of Sec. 4.5, with steps of 0.1; an attack without a bound that leaves images has
lost its gradient.
"""


@dataclass(frozen=True)
class Curves:
    """The ablation by three attacks over their strength."""

    name: str = "a2snn-figure-1"
    paper: str = A2SNN
    shows: str = "Fig. 1"
    title: str = "FGSM and PGD over their strength, m0 to m5, CIFAR-10"
    says: str = SAYS
    decides: Mapping[str, Rule] = field(
        default_factory=lambda: {
            "a2snn-graceful": gracefully,
            "a2snn-best-at-all-strengths": leads,
            "a2snn-unbounded-takes-all": takes_all,
            "a2snn-stronger-takes-more": stronger_takes_more,
        }
    )

    def _grids(self) -> dict[str, Grid]:
        return {
            attack: Grid(
                name=self.name,
                paper=self.paper,
                shows=self.shows,
                title=f"{attack} over its strength, m0 to m5, CIFAR-10",
                data=DATA,
                rows=ablation(DATA),
                columns=columns,
                axis="n, eps = 2^n/255",
                seeds=SEEDS,
            )
            for attack, columns in ATTACKS.items()
        }

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """Those of the grids."""
        for of in self._grids().values():
            yield from of.jobs(scale)

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """A panel for each attack."""
        return {attack: with_mean(of.panels(scale, records)[GRID]) for attack, of in self._grids().items()}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside those of its panels."""
        return {}


enter(Curves())
