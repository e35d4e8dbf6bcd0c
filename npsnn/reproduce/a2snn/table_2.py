"""A2SNN's Table 2: stochastic defences under C&W over its confidence kappa, on CIFAR-10."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from npsnn.attacks import CarliniWagner, ClosedForm, EoT
from npsnn.reproduce.a2snn.deciding import GRID, Few, better
from npsnn.reproduce.a2snn.networks import STOCHASTIC, stochastic
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.distances import distances
from npsnn.reproduce.experiments import Column, enter
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import all_of, falls
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "cifar10"
SEEDS = 3
KAPPAS = (0.0, 0.1, 1.0, 2.0, 5.0)
DRAWS = 5
"""Draws of a gradient of C&W: fifty cost ten times as much, and its running mean of the margin averages as well."""
SEARCHES = 4
PRINTED = {
    "adv-bnn": (78.9, 78.1, 65.1, 49.1, 16.0),
    "pni": (66.9, 66.1, 34.0, 16.0, 0.08),
    "l2p": (83.6, 84.0, 76.4, 66.5, 34.8),
    "m5": (84.4, 83.8, 77.1, 71.6, 45.9),
}


def names(way: str = "") -> dict[float, str]:
    """The names of the columns by kappa; way: "closed form", "" for draws."""
    return {kappa: f"kappa {kappa:g}{', ' if way else ''}{way}" for kappa in KAPPAS}


DRAWN, CLOSED = names(), names("closed form")


def columns(scale: Scale) -> Iterator[Column]:
    """C&W by draws, kappa in logits, and in closed form, kappa in standard deviations of the noise."""
    yield Column("clean")
    options = {"steps": 2 * scale.steps, "searches": min(SEARCHES, 1 + scale.steps // 10)}
    for kappa in KAPPAS:
        yield Column(DRAWN[kappa], CarliniWagner(kappa, **options, source=EoT(min(DRAWS, scale.eot))))
    for kappa in KAPPAS:
        yield Column(CLOSED[kappa], CarliniWagner(kappa, **options, source=ClosedForm()))


@dataclass(frozen=True)
class Distances(Few):
    """A grid that tells as well how far the images were moved."""

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The grid, and the median distance of the images that were moved."""
        made = super().panels(scale, records)
        title, jobs = "Median distance in L2 of the images that C&W moved", self._jobs(self._fewer(scale))
        return made | {"distance": distances(title, list(self.rows), jobs, records, made[GRID].note)}


def degrade(panels: Mapping[str, Panel]) -> Ruling:
    """Whether each defence of the table leaves less at each higher confidence."""
    panel = panels[GRID]
    return all_of(*(falls(panel, [(row, name) for name in DRAWN.values()]) for row in PRINTED))


SAYS = """The paper's settings (1,000 steps for each of nine constants at a rate of 5e-4, gradients over 50 draws)
cost 450,000 passes an image; here C&W has npsnn's defaults, fewer steps at a higher rate, which find nearer images.
By draws kappa is in logits, the unit of the attack's authors, as the paper names none; *closed form* has no sampling,
and kappa in standard deviations of the noise. That every defence degrades with kappa the paper's own L2P contradicts
once: 83.6 % at 0 and 84.0 at 0.1.

C&W has no radius: an attack that is free to go anywhere leaves what it fails to find, and the paper's A2SNN loses
nothing at kappa 0. At kappa 0 an image lies on the border, where fresh noise misreads it half the time, so that a
noisy network keeps up to half of its images by luck (audit A30). The second panel, how far images had to move, has no
such luck.
"""

enter(
    Distances(
        name="a2snn-table-2",
        paper=A2SNN,
        shows="Table 2",
        title="Stochastic defences under C&W, CIFAR-10",
        data=DATA,
        rows=stochastic(DATA),
        columns=columns,
        decides={
            "a2snn-cw-best": better("m5", STOCHASTIC, [DRAWN[k] for k in KAPPAS if k != 0.1]),
            "a2snn-cw-high-confidence": better("m5", ("l2p",), (DRAWN[5.0], CLOSED[5.0]), {"l2p": 0.10}),
            "a2snn-cw-falls": degrade,
        },
        theirs={
            (row, name): value
            for row, values in PRINTED.items()
            for name, value in zip(DRAWN.values(), values, strict=True)
        },
        says=SAYS,
        seeds=SEEDS,
    )
)
