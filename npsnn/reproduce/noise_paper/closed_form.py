"""The noise paper's closed form at the logits: against draws, and what withdrawing the noise leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Job, Measure
from npsnn.reproduce.measures import measure
from npsnn.reproduce.noise_paper.densities import CLOSE, FREE, NETWORKS, how, measurements, recorded
from npsnn.reproduce.noise_paper.networks import SEEDS, trained
from npsnn.reproduce.panels import NUMBER, PERCENT, Panel
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.rules import all_of, at_least, at_most, like_theirs
from npsnn.reproduce.scales import NOISE_PAPER, Scale

IMAGES = 1000
"""Test images whose answers are compared."""
WIN = 0.05
"""How far a probability that the label wins may be off."""
APART = 0.1
"""How far the network without noise may be from the mean of the draws, in standard deviations, to be their mean."""
SPREAD = 1.1
"""Largest over smallest standard deviation of the logits of an image, where the weights do not enter; draws alone make
a few per cent of it."""
LAW, WINS, QUIET, RATIO = (
    "distance of the law",
    "win probability off by",
    "without noise off by",
    "largest over least sd",
)
EXPECTATION, KEPT = "noise withdrawn", "noise kept"
AVERAGED = 10
"""Draws of an answer of a network that keeps its noise, as A2SNN's Table 6 averages; PixelDP takes hundreds."""
TIMES = "seconds of an answer of 10 draws over those of one without noise"
INSIDE = "draws within 3 sd, first layer"
COVERED = 0.997


@measure("answers")
def answers(
    networks: list[Classifier], dataset: Dataset, images: int, seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """The part of the images that two draws classify differently, with the noise withdrawn and with the noise kept.

    How long it took is the seconds of one answer without noise, and of one that is averaged over `AVERAGED` draws.

    networks: one network with noise.
    dataset: its data; the first test images are taken.
    images: number of images.
    seed: seed of the draws.
    """
    (network,) = networks
    x = dataset.test.images[:images]
    found, took = {}, {}
    for name, one, draws in ((EXPECTATION, network.with_sigma(0), 1), (KEPT, network, AVERAGED)):
        first, second = one.sample(x, seed, 2).argmax(axis=2)
        found[name] = float((first != second).mean())
        begun = perf_counter()
        one.sample(x, seed, draws)
        took[name] = perf_counter() - begun
    return found, took


def closed(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the paper's rule gives the law of the logits and the probabilities of its loss."""
    panel = panels["logits"]
    return all_of(
        at_most(panel, (FREE, f"{LAW}, laplace"), CLOSE),
        at_most(panel, (FREE, f"{WINS}, laplace"), WIN),
        why="The normal law of Eq. 6 at the logits, and the probabilities P(Y_k > Y_i) of the loss, against draws.",
        names=("the law", "the probabilities"),
    )


def expectation(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the network without its noise is the mean of its draws."""
    why = "The distance from the mean of the draws, in standard deviations of the logits (audit N41)."
    return at_most(panels["logits"], (FREE, QUIET), APART, why)


def variance_alone(panels: Mapping[str, Panel]) -> Ruling:
    """Whether all logits have one variance, that of the noise."""
    why = "If the noise alone made the variances, all logits of an image would have the same one (audit N16)."
    return at_most(panels["logits"], (FREE, RATIO), SPREAD, why)


def covered(panels: Mapping[str, Panel]) -> Ruling:
    """Whether three standard deviations of the first layer's law hold as many of the draws as the paper says."""
    return like_theirs(panels["logits"], (FREE, INSIDE), 0.002, "The law of Eq. 3, on the draws of the first layer.")


def cheap(panels: Mapping[str, Panel]) -> Ruling:
    """Whether an answer without noise costs less than one of several draws."""
    return at_least(panels["cost"], (FREE, TIMES), 2.0, "At least half of the time must be spared.")


def deterministic(panels: Mapping[str, Panel]) -> Ruling:
    """Whether two answers of the network without its noise are always the same."""
    return at_most(panels["answers"], (FREE, EXPECTATION), 0.0, "Two answers to each image, by other random numbers.")


SAYS = """
**Readings.** The paper's closed form is the rule `laplace` (Eq. 6), carried to the logits with weights squared (audit
N16) and unit by unit (N15). Its law is compared with draws by Kolmogorov's distance, and the probabilities that its
loss is made of by their mean error. The distance of the network without noise from the mean of the draws is in standard
deviations of the logits: the paper calls the network with its noise withdrawn the expectation of the stochastic one.

**Controls.** The columns of `exact` have the true moments of a unit in the place of Eq. 6: they tell what is the rule's
fault and what is the fault of independence. The rows with unit filters have noise that the network cannot outgrow
(N42): where free filters leave almost no noise, any rule is near. Draws of the first layer, whose law is exact, show
what three standard deviations hold.

**A sceptic would ask** whether an error of the closed form matters to training. It enters the loss through the
probabilities alone, so their column is the one to look at. That an answer without noise is cheap and always the same
is true of any network without noise: it says nothing of its robustness.
"""


@dataclass(frozen=True)
class ClosedFormLogits:
    """The laws of the logits, and the answers of networks."""

    name: str = "noise-closed-form"
    paper: str = NOISE_PAPER
    shows: str = "Sec. 1, 2"
    title: str = "The closed form at the logits, against draws"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        return {
            "noise-closed-form": closed,
            "noise-expectation": expectation,
            "noise-variance-alone": variance_alone,
            "noise-deterministic": deterministic,
            "noise-inference-cheap": cheap,
            "noise-coverage": covered,
        }

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """The measurements of Figure 3, and one of the answers of each network."""
        yield from (job for _, job in measurements(scale))
        yield from (job for _, job in self._answers(scale))

    def _answers(self, scale: Scale) -> Iterator[tuple[str, Measure]]:
        for (name, _), train in trained(scale, "mnist", NETWORKS):
            yield name, Measure(train.name, "answers", (train,), (("images", IMAGES),))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The logits' figures, and the answers that differ."""
        found = recorded(scale, records)
        columns = [f"{what}, {rule}" for what in (LAW, WINS) for rule in ("laplace", "exact")] + [QUIET, RATIO, INSIDE]
        cells = {
            (name, column): Seeds(tuple(_figures(record.values)[column] for record in of))
            for name, of in found.items()
            for column in columns
        }
        theirs = {(FREE, INSIDE): COVERED}
        logits = Panel(self.title, list(NETWORKS), columns, cells, theirs, unit=NUMBER, note=how(scale, found))
        return {"logits": logits, **self._of_answers(scale, records)}

    def _of_answers(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """Which answers differ, and what they cost."""
        differ: dict[tuple[str, str], list[float]] = {}
        times: dict[tuple[str, str], list[float]] = {}
        for name, record in records.there(self._answers(scale)):
            for kept, value in record.values.items():
                differ.setdefault((name, kept), []).append(value)
            times.setdefault((name, TIMES), []).append(record.took[KEPT] / record.took[EXPECTATION])

        about = note(scale, self.paper, "mnist", seeds=SEEDS, by=f"two answers to each of {IMAGES} test images")

        def panel(title: str, columns: list[str], found: Mapping[tuple[str, str], list[float]], unit: str) -> Panel:
            cells = {place: Seeds(tuple(values)) for place, values in found.items()}
            return Panel(title, list(NETWORKS), columns, cells, unit=unit, note=about)

        return {
            "answers": panel("Images that two draws classify differently", [EXPECTATION, KEPT], differ, PERCENT),
            "cost": panel("What an answer costs", [TIMES], times, NUMBER),
        }

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside those of Figure 3."""
        return {}


def _figures(values: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the logits by column."""
    logits = values["units"][values["layers"][-1]]
    first = values["units"][values["layers"][0]]
    found = {QUIET: logits["quiet"], RATIO: logits["spread"], INSIDE: first["inside laplace"]}
    for rule in ("laplace", "exact"):
        found |= {f"{LAW}, {rule}": logits[f"distance {rule}"], f"{WINS}, {rule}": values["wins"][rule]}
    return found


enter(ClosedFormLogits())
