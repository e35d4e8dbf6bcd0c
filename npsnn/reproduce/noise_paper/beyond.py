"""What else may help training on clean data alone, width and more noise layers, and what is certified of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from npsnn.attacks.judging import accuracy
from npsnn.certify import certify
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.reproduce.experiments import Draw, Grid, Rule, enter, note
from npsnn.reproduce.jobs import Job, Measure, Train
from npsnn.reproduce.measures import measure
from npsnn.reproduce.noise_paper.best_clean import EPS, LEVELS, grid
from npsnn.reproduce.noise_paper.networks import SEEDS, Row, noise_aware, trained
from npsnn.reproduce.panels import PERCENT, Panel
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.scales import NOISE_PAPER, Scale, Setting

BEST = 3.0
"""The level of noise of the other forms."""
RADII = (0.1, 0.25, 0.5)
"""Radii in L2 at which certificates are counted."""
IMAGES, SAMPLES, SELECTION = 100, 1000, 100
"""Images with a certificate, and draws that count the votes for a class and that choose it."""


def formed(form: str, of: Row) -> Row:
    """The row with another form of its network, as "wide" of lenet5-wide."""

    def train(setting: Setting, seed: int) -> Train:
        found = of(replace(setting, model=f"{setting.model}-{form}"), seed)
        return replace(found, name=f"{found.name}-{form}")

    return train


FORMS: Mapping[str, Row] = {
    f"L1 filters, sigma {BEST:g}": noise_aware(BEST, "l1"),
    f"L1 filters, sigma {BEST:g}, twice as wide": formed("wide", noise_aware(BEST, "l1")),
    f"L1 filters, sigma {BEST:g}, noise after each convolution": formed("noisy", noise_aware(BEST, "l1")),
}


def right_at(radius: float) -> str:
    """The column of the images that are certified as right within a radius."""
    return f"certified at {radius:g}"


QUIET, DRAW, SMOOTHED, ABSTAINED = "right, noise off", "right, noise on", "certified as right", "without a certificate"


@measure("certificate")
def certificate(
    networks: list[Classifier], dataset: Dataset, images: int, samples: int, selection: int
) -> tuple[dict[str, float], dict[str, float]]:
    """The parts of the images that are right with the noise off and on, and certified in L2 by the noise.

    images: number of test images, the first.
    samples: draws that count the votes for a class.
    selection: draws that choose the class.
    """
    begun, network = perf_counter(), networks[0]
    x, labels = dataset.test.images[:images], dataset.test.labels[:images]
    found = certify(network, x, labels, n0=selection, n=samples)
    figures = {
        QUIET: accuracy(network.with_sigma(0), x, labels).mean,
        DRAW: accuracy(network, x, labels).mean,
        SMOOTHED: found.accuracy().mean,
        ABSTAINED: float(found.abstained.mean()),
    }
    figures |= {right_at(radius): found.accuracy(radius).mean for radius in RADII}
    return {name: float(value) for name, value in figures.items()}, {"seconds": perf_counter() - begun}


SAYS = f"""
**The question** is how far the best of *noise-best-clean* can still be driven. LeNet-5 has twice the channels and
units, or noise of the same size after each of its three convolutions, of which the first alone has filters of norm 1.
Nothing is decided here. CIFAR-10 has its unit filters and its adversarial training in *noise-figure-5*.

**The certificate** is that of randomised smoothing (Cohen et al. 2019) by the noise that the network was trained with:
{SAMPLES:,} draws an image, and a chance of 0.001 that one certificate is wrong. The certificate speaks of the
*smoothed* answer, the class that most draws name. Attacks meet another answer, that of the network with its noise off,
and no certificate covers that one. A network that has never seen a draw may be right with its noise off and wrong under
most draws: *right, noise on* tells whether its certificate can say anything.

**A sceptic would ask** whether a certified image was understood: a network that names one class under all of its noise
has certificates for the images of that class, and for nothing else. Ten classes make that a tenth of the images.
"""


@dataclass(frozen=True)
class Beyond:
    """Forms of the best network by attacks, and certificates of the levels of noise."""

    name: str = "noise-best-clean-beyond"
    paper: str = NOISE_PAPER
    shows: str = "the abstract's question"
    title: str = "Width, more noise and certificates of training on clean data alone"
    says: str = SAYS
    decides: Mapping[str, Rule] = field(default_factory=dict)

    def _grids(self) -> dict[str, Grid]:
        return {data: grid(self, data, FORMS) for data in EPS}

    def _certificates(self, scale: Scale, data: str) -> Iterator[tuple[str, Measure]]:
        options = (("images", IMAGES), ("samples", SAMPLES), ("selection", SELECTION))
        for (name, _), train in trained(scale, data, LEVELS):
            yield name, Measure(train.name, "certificate", (train,), options)

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """Those of the grids, and a measurement of each network with a certificate."""
        for of in self._grids().values():
            yield from of.jobs(scale)
        for data in EPS:
            yield from (job for _, job in self._certificates(scale, data))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """A panel of attacks for each data set, and one of certificates."""
        found = {data: of.panels(scale, records)["grid"] for data, of in self._grids().items()}
        return found | {f"certificates, {data}": self._certified(scale, records, data) for data in EPS}

    def _certified(self, scale: Scale, records: Records, data: str) -> Panel:
        figures: dict[tuple[str, str], list[float]] = {}
        for name, record in records.there(self._certificates(scale, data)):
            for column, value in record.values.items():
                figures.setdefault((name, column), []).append(value)
        return Panel(
            title=f"Certificates in L2 of the smoothed answer, {data}",
            rows=list(LEVELS),
            columns=[QUIET, DRAW, SMOOTHED, *map(right_at, RADII), ABSTAINED],
            cells={place: Seeds(tuple(values)) for place, values in figures.items()},
            unit=PERCENT,
            note=note(scale, self.paper, data, seeds=SEEDS, by=f"the first {IMAGES} test images, {SAMPLES:,} draws"),
        )

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside those of its panels."""
        return {}


enter(Beyond())
