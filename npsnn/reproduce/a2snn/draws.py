"""How many draws of a gradient A2SNN's attacks need (Sec. 4.1)."""

from collections.abc import Iterator, Mapping

from npsnn.reproduce.a2snn.deciding import GRID, WORTH
from npsnn.reproduce.a2snn.networks import as_code, closed_form, noise_off, ours, papers_pgd
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Column, Grid, enter
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.rules import above, all_of, near
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "cifar10"
SEEDS = 3
DRAWS = (1, 5, 10, 20, 35, 50, 100)
CONVERGED = 0.01
"""By how much a converged figure may still move."""


def columns(scale: Scale) -> Iterator[Column]:
    """The paper's PGD over the draws of a gradient, and attacks that draw nothing."""
    for draws in DRAWS:
        yield Column(f"EoT {draws}", papers_pgd(scale, draws=draws), x=float(draws))
    yield Column("PGD, closed form", closed_form(scale))
    yield Column("PGD, noise off", noise_off(scale))


def saturates(panels: Mapping[str, Panel]) -> Ruling:
    """Whether more draws still take more up to 35, and no more beyond."""
    panel = panels[GRID]
    return all_of(
        above(panel, ("m5", "EoT 10"), ("m5", "EoT 35"), WORTH),
        near(panel, ("m5", "EoT 35"), ("m5", "EoT 50"), CONVERGED),
        near(panel, ("m5", "EoT 50"), ("m5", "EoT 100"), CONVERGED),
    )


SAYS = """Saturation from 35 draws says two things: that ten draws are too few, and that a hundred take no more than
fifty. Where one draw takes as much as fifty, the noise turns no gradient, and there is nothing to average. *As code*
trains m5 as the authors' code does; a network with some 10 % in all columns gives one answer and has not learned.
"""

enter(
    Grid(
        name="a2snn-eot",
        paper=A2SNN,
        shows="Sec. 4.1, EoT",
        title="PGD over the draws of a gradient, CIFAR-10",
        data=DATA,
        rows={"m5": ours("m5", DATA), "m5, as code": as_code(DATA)},
        columns=columns,
        decides={"a2snn-eot-saturates": saturates},
        axis="draws of a gradient",
        says=SAYS,
        seeds=SEEDS,
    )
)
