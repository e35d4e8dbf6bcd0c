"""Figure 1 of the noise paper: whether training under noise keeps the images far from the border of their class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from npsnn.attacks import FMN, CarliniWagner
from npsnn.attacks.sources import Expectation
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.distances import distances
from npsnn.reproduce.experiments import Column, Grid, enter
from npsnn.reproduce.noise_paper.networks import OFF, SEEDS, attacked, baseline, noise_aware, noisy_rows, squared_error
from npsnn.reproduce.noise_paper.robustness import ALONE, BASELINE, LEVELS, MIDDLE, TRAINED
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of
from npsnn.reproduce.scales import NOISE_PAPER, Scale

DATA = "mnist"
DISTANCE = "distance"
"""The panel that decides."""
L2, LINF = "L2 (C&W)", "Linf (FMN)"
SEARCHES = 4


def columns(scale: Scale) -> Iterator[Column]:
    """The images as they are, and two attacks that look for the nearest misread image."""
    steps = 2 * scale.steps
    searches = min(SEARCHES, 1 + scale.steps // 10)
    yield Column("clean", None, OFF)
    yield Column(L2, CarliniWagner(steps=steps, searches=searches, source=Expectation()), OFF)
    yield Column(LINF, FMN(norm="linf", steps=steps, source=Expectation()), OFF)


def farther(panels: Mapping[str, Panel]) -> Ruling:
    """Whether every level of noise leaves the border farther away than the baseline does."""
    places = [((level, norm), (BASELINE, norm)) for norm in (L2, LINF) for level in LEVELS]
    names = [level for _ in (L2, LINF) for level in LEVELS]
    why = "Medians over images, with the noise off. The squared error without noise is a control."
    return all_of(*(above(panels[DISTANCE], *pair) for pair in places), why=why, names=names)


SAYS = """
**Readings.** Figure 1 is a sketch: training under noise moves the border of the classes away from the images, as
adversarial training does. Here the distance of an image is that of the nearest misread image that an attack finds, C&W
in L2 and FMN in Linf, an upper bound of the true distance. Images that are misread as they are have no distance. The
first panel has what the attacks leave, which should be next to nothing: an attack that may go anywhere and leaves
images has failed to find their border.

**Control.** The squared error without noise has all of the loss but its noise. Adversarial training is at the radius of
Figure 4 in Linf.

**A sceptic would ask** whether the network is far from the border or has lost its gradient: both attacks follow the
margin of the logits, which no squared error flattens, and FMN does not depend on the size of a gradient.
"""


@dataclass(frozen=True)
class Boundary(Grid):
    """What the attacks leave, and how far they had to go."""

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The grid and the distances."""
        made = super().panels(scale, records)
        title = "Median distance to the nearest misread image, in the unit of images in [0, 1]"
        note = made["grid"].note
        return made | {DISTANCE: distances(title, list(self.rows), self._jobs(scale), records, note)}


enter(
    Boundary(
        name="noise-figure-1",
        paper=NOISE_PAPER,
        shows="Fig. 1",
        title="The nearest misread image, MNIST",
        data=DATA,
        rows={BASELINE: baseline, ALONE: squared_error}
        | noisy_rows()
        | {"unit filters, sigma 3": noise_aware(3.0, "l1"), TRAINED: attacked(MIDDLE[DATA])},
        columns=columns,
        decides={"noise-boundary": farther},
        says=SAYS,
        seeds=SEEDS,
    )
)
