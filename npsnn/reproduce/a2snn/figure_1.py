"""A2SNN's Figure 1: FGSM and PGD over their strength, for m0 to m5 on CIFAR-10."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from npsnn.attacks import Ball, EoT, GradientAttack
from npsnn.reproduce.a2snn.deciding import GRID, better, mean
from npsnn.reproduce.a2snn.networks import VARIANTS, ablation, closed_form, fgsm, papers_pgd
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Column, Grid, Rule, enter
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
"""What may be left where an attack takes all: a network that guesses is right by luck now and then."""


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


@dataclass(frozen=True)
class Curves(Grid):
    """A grid over strengths, with their mean."""

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The grid with a further column."""
        made = super().panels(scale, records)[GRID]
        own = list(map(name, POWERS))
        whole = [row for row in made.rows if all((row, column) in made.cells for column in own)]
        means = {(row, MEAN): mean([made[row, column] for column in own]) for row in whole}
        cells = {**made.cells, **means}
        panel = Panel(
            made.title, made.rows, [*made.columns, MEAN], cells, made.theirs, made.x, made.axis, made.unit, made.note
        )
        return {GRID: panel}


def gracefully(panels: Mapping[str, Panel]) -> Ruling:
    """Whether every variant keeps more than m0 over all strengths."""
    return all_of(*(better(row, ("m0",), (MEAN,))(panels) for row in VARIANTS[1:]))


def takes_all(panels: Mapping[str, Panel]) -> Ruling:
    """Whether PGD with eps 1 leaves nothing of any model."""
    return all_of(*(at_most(panels[GRID], (row, UNBOUNDED), NOTHING) for row in VARIANTS))


def stronger_takes_more(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5 keeps less at each larger strength."""
    return falls(panels[GRID], [("m5", column) for column in map(name, POWERS)])


SAYS = """The figure prints no numbers, so the paper's curves are not repeated here. *PGD* is as printed, ten steps of
eps/10 from the image; *closed form* takes long steps by exact gradients. The mean over the strengths stands for the
whole curve. A network that reads few clean images begins lower: compare each curve with the column *clean*.

The column *eps 1* is criterion 3 of Sec. 4.5, with steps of 0.1; an attack without a bound that leaves images has
lost its gradient.
"""


def _grid(word: str, title: str, columns: Callable[[Scale], Iterator[Column]], decides: Mapping[str, Rule]) -> Curves:
    return Curves(
        name=f"a2snn-figure-1-{word}",
        paper=A2SNN,
        shows="Fig. 1",
        title=f"{title} over its strength, m0 to m5, CIFAR-10",
        data=DATA,
        rows=ablation(DATA),
        columns=columns,
        decides=decides,
        axis="n, eps = 2^n/255",
        says=SAYS,
        seeds=SEEDS,
    )


enter(
    _grid("fgsm", "FGSM", strengths(fgsm), {"a2snn-graceful": gracefully}),
    _grid(
        "pgd",
        "PGD",
        with_unbounded,
        {"a2snn-unbounded-takes-all": takes_all, "a2snn-stronger-takes-more": stronger_takes_more},
    ),
    _grid(
        "closed-form",
        "PGD in closed form",
        strengths(closed_form),
        {"a2snn-best-at-all-strengths": better("m5", VARIANTS[:-1], (MEAN,))},
    ),
)
