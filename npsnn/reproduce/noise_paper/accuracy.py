"""Figure 6 of the noise paper: clean accuracy over the training noise, and over the radius of adversarial training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from npsnn.reproduce.claims import LATE, Ruling
from npsnn.reproduce.experiments import Column, Draw, Grid, Rule, enter
from npsnn.reproduce.jobs import Job
from npsnn.reproduce.noise_paper.networks import OFF, SEEDS, SIGMAS, Row, attacked, baseline, noise_aware, squared_error
from npsnn.reproduce.noise_paper.robustness import MIDDLE, columns
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of, falls, no_less, rises
from npsnn.reproduce.scales import NOISE_PAPER, Scale

ALL = 10_000
"""Test images of the clean accuracies: all of MNIST's, as drops are of tenths of a per cent."""
RADII = (0.05, 0.1, 0.2)
"""Radii of adversarial training; the paper's text has none."""
DROP = 0.005
"""The drop of clean accuracy that "no drop" may be: a fraction."""
NOISE, ATTACKED, TOGETHER = "noise", "adversarial training", "together"
"""The panels: the top of the figure, its bottom, and the clean accuracies of both."""
CLEAN, VANILLA = "clean", "baseline"
ROBUST = tuple(f"{attack} {MIDDLE['mnist']:.3g}" for attack in ("PGD", "APGD"))

TOP: Mapping[float, Row] = {0.0: squared_error} | {sigma: noise_aware(sigma) for sigma in SIGMAS}
BOTTOM: Mapping[float, Row] = {0.0: baseline} | {eps: attacked(eps) for eps in RADII}
PANELS = {NOISE: ("sigma", TOP), ATTACKED: ("eps", BOTTOM)}


def column(label: str, x: float) -> str:
    """The name of the column of a network."""
    if label == "eps":
        return f"attacked at {x:g} in training" if x else VANILLA
    return f"sigma {x:g}"


def places(panel: str, row: str, above_zero: bool = True) -> list[tuple[str, str]]:
    """The places of a row in the order of the axis, without the network that has neither noise nor attack."""
    label, networks = PANELS[panel]
    return [(row, column(label, x)) for x in networks if x > 0 or not above_zero]


def declines(panel: str) -> Rule:
    """The rule of "accuracy declines", from the network without noise, or without attack, on."""
    why = "From the network without it to the one with the most."
    return lambda panels: falls(panels[panel], places(panel, CLEAN, above_zero=False), why)


def mirrors(panels: Mapping[str, Panel]) -> Ruling:
    """Whether noise acts on robustness and accuracy as the radius of adversarial training does."""
    parts = [rises(panels[p], places(p, attack)) for p in PANELS for attack in ROBUST]
    parts += [declines(p)(panels) for p in PANELS]
    names = [f"{attack} over {PANELS[p][0]}" for p in PANELS for attack in ROBUST]
    names += [f"clean over {PANELS[p][0]}" for p in PANELS]
    why = "Robustness must rise and clean accuracy fall, along sigma and along the radius."
    return all_of(*parts, why=why, names=names)


def no_drop(panels: Mapping[str, Panel]) -> Ruling:
    """Whether no level of noise loses accuracy against the vanilla network."""
    parts = [no_less(panels[TOGETHER], (column("sigma", sigma), CLEAN), (VANILLA, CLEAN), DROP) for sigma in SIGMAS]
    return all_of(
        *parts,
        why=f"A loss of at most {100 * DROP:g} points against the baseline is no drop.",
        names=[column("sigma", s) for s in SIGMAS],
    )


def term_helps(panels: Mapping[str, Panel]) -> Ruling:
    """Whether every level of noise has more clean accuracy than the squared error alone."""
    alone = (column("sigma", 0.0), CLEAN)
    parts = [above(panels[TOGETHER], (column("sigma", sigma), CLEAN), alone) for sigma in SIGMAS]
    why = f"The term comes with the noise: sigma 0 has neither. {LATE}"
    return all_of(*parts, why=why, names=[column("sigma", sigma) for sigma in SIGMAS])


SAYS = """
**Readings.** Clean accuracies are of all 10,000 test images, of the network with its noise off. Sigma 0 is the squared
error without noise, *baseline*, the vanilla network, the cross-entropy without attacks; the claim of no drop compares
with the latter. The radii of adversarial training and the levels of noise are not in the paper's text. The rows of PGD
and APGD, at one radius, show what the accuracy is paid for.

**A sceptic would ask** whether the two curves mirror each other: the verdict on the analogy asks that robustness rises
and accuracy falls along both axes, and not that the sizes agree, as no size is printed. The conclusion (no drop) and
the figure (a decline) disagree in the paper itself (audit N38).
"""


@dataclass(frozen=True)
class Accuracies:
    """Networks along an axis, by rows of what is measured: the panels of a grid turned round."""

    name: str = "noise-figure-6"
    paper: str = NOISE_PAPER
    shows: str = "Fig. 6"
    title: str = "Clean accuracy over the training noise, and over the radius of adversarial training"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        return {
            "noise-accuracy-declines": declines(NOISE),
            "noise-attacked-declines": declines(ATTACKED),
            "noise-mirrors-attacked": mirrors,
            "noise-no-drop": no_drop,
            "noise-term-helps": term_helps,
        }

    def _grids(self) -> tuple[Grid, Grid]:
        """The clean accuracies of all test images, and the attacks."""
        rows = {column(label, x): row for label, networks in PANELS.values() for x, row in networks.items()}
        attacks = Grid(
            name=self.name,
            paper=self.paper,
            shows=self.shows,
            title=self.title,
            data="mnist",
            rows=rows,
            columns=lambda scale: columns("mnist", scale),
            seeds=SEEDS,
        )
        return replace(attacks, columns=lambda scale: [Column(CLEAN, None, OFF)], images=ALL), attacks

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """Those of both grids: clean accuracies of all images, and the attacks of Figure 4."""
        for grid in self._grids():
            yield from grid.jobs(scale)

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The top and the bottom of the figure, and the clean accuracies together."""
        clean, robust = (grid.panels(scale, records)["grid"] for grid in self._grids())
        found = {}
        for name, (label, networks) in PANELS.items():
            cells = {(CLEAN, column(label, x)): clean.cells.get((column(label, x), CLEAN)) for x in networks}
            cells |= {(a, column(label, x)): robust.cells.get((column(label, x), a)) for a in ROBUST for x in networks}
            found[name] = Panel(
                title=f"{self.title}: {name}",
                rows=[CLEAN, *ROBUST],
                columns=[column(label, x) for x in networks],
                cells={place: seeds for place, seeds in cells.items() if seeds is not None},
                x={column(label, x): x for x in networks},
                axis=label,
                note=f"{robust.note} Clean accuracies are of the first {ALL:,} test images, as far as there are.",
            )
        return found | {TOGETHER: replace(clean, title=f"{self.title}: all networks")}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside those of its panels."""
        return {}


enter(Accuracies())
