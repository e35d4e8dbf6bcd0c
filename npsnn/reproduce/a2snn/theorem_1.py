"""A2SNN's Theorem 1: its bound on the gap between clean and attacked, and the gap that is measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from npsnn import bounds
from npsnn.attacks import PGD, ClosedForm, Judging, robust_accuracy
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.reproduce.a2snn.deciding import measured, trained
from npsnn.reproduce.a2snn.networks import EPS, ours
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Job, Measure
from npsnn.reproduce.measures import measure
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of, at_most
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "fashion-mnist"
SEEDS = 3
GAP, THEOREM, TIGHT, SHARP, BROKEN = "gap", "Theorem 1", "tight", "sharpest", "images above Theorem 1"
PANEL = "bounds"
DRAWS = 40
"""Draws of a gap for each draw of a gradient."""
ERRORS = 4.0
"""Standard errors by which a measured gap must be above a bound to break it."""
SAYS_NOTHING = 1.0
"""A bound on a difference of probabilities that says nothing."""
ROWS = {variant: ours(variant, DATA) for variant in ("m1", "m2", "m3", "m4", "m5")}
"""The models with noise: Theorem 1 divides by the noise."""


@measure("gap-and-bounds")
def gap_and_bounds(
    networks: list[Classifier], dataset: Dataset, eps: float, steps: int, images: int, draws: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The gap of each image under PGD in closed form, by draws, and bounds for the change that this attack makes.

    eps: radius of the attack in Linf.
    steps: of the attack.
    images: number of test images, the first.
    draws: of the noise, for each image.
    """
    begun, network = perf_counter(), networks[0]
    x, labels = dataset.test.images[:images], dataset.test.labels[:images]
    attack = PGD(eps, steps=steps, source=ClosedForm())
    (found,) = robust_accuracy(network, x, labels, [attack], Judging(draws=1))
    of = bounds.gap(network, x, found.x_adv, labels, draws)
    above_bound = of.gap - ERRORS * of.standard_error - 1 / draws > of.lipschitz
    figures = {
        "clean": of.clean,
        GAP: of.gap,
        THEOREM: of.lipschitz,
        TIGHT: of.tight,
        SHARP: np.minimum(of.with_margin, of.neyman_pearson),
        BROKEN: above_bound,
    }
    return {name: float(np.mean(values)) for name, values in figures.items()}, {"seconds": perf_counter() - begun}


def bounded(panels: Mapping[str, Panel]) -> Ruling:
    """Whether no image of any network has a gap surely above the bound."""
    means = [panels[PANEL][row, THEOREM].mean for row in ROWS]
    why = f"A bound above 1 says nothing of a probability: the mean bounds are {min(means):.3g} to {max(means):.3g}."
    return all_of(*(at_most(panels[PANEL], (row, BROKEN), 0.0) for row in ROWS), why=why, names=list(ROWS))


def closes(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5 has a smaller bound and a smaller gap than m3, and its bound says anything."""
    panel = panels[PANEL]
    return all_of(
        above(panel, ("m3", THEOREM), ("m5", THEOREM)),
        above(panel, ("m3", GAP), ("m5", GAP)),
        at_most(panel, ("m5", THEOREM), SAYS_NOTHING),
    )


SAYS = """Theorem 1 is for two classes; here it is applied to each pair of the label with another class, and summed
(extension E4). Delta is what this attack changes, which is what the theorem says of this attack; a certified Delta
would be larger. The gap is measured by common draws before and after the attack. An image breaks the bound where its
gap is above it by four standard errors.

A bound above 1 says nothing of a probability. *Tight* has the exact constant of the theorem's argument, *sharpest*
uses the margin and the direction of the change (audit A10). A small gap is not robustness: noise that misreads clean
images has a small gap as well, so *clean* stands beside it.
"""


@dataclass(frozen=True)
class Bounds:
    """Bounds and gaps of the models with noise."""

    name: str = "a2snn-theorem-1"
    paper: str = A2SNN
    shows: str = "Theorem 1"
    title: str = "The bound of Theorem 1 and the measured gap, Fashion-MNIST"
    decides: Mapping[str, Rule] = field(
        default_factory=lambda: {"a2snn-theorem-1": bounded, "a2snn-alignment-closes-the-gap": closes}
    )
    says: str = SAYS

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """A measurement of each network."""
        for _, job in self._jobs(scale):
            yield job

    def _jobs(self, scale: Scale) -> Iterator[tuple[str, Measure]]:
        setting = scale.on(A2SNN, DATA)
        for row, _, train in trained(ROWS, DATA, scale, SEEDS):
            images = setting.images if setting else 0
            settings = (("eps", EPS), ("steps", scale.steps), ("images", images), ("draws", DRAWS * scale.eot))
            yield row, Measure(train.name, "gap-and-bounds", (train,), settings)

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """One panel of means over images."""
        names = ("clean", GAP, THEOREM, TIGHT, SHARP, BROKEN)
        panel = measured(
            "P(right) without the attack, the gap, and its bounds: means over images, as fractions",
            self._jobs(scale),
            {name: lambda record, name=name: record.values[name] for name in names},
            records,
            note(scale, A2SNN, DATA, seeds=SEEDS, by=f"{DRAWS * scale.eot:,} draws for each test image"),
        )
        return {PANEL: panel}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None."""
        return {}


enter(Bounds())
