"""What the noise paper's training costs, beside plain and adversarial training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Train
from npsnn.reproduce.noise_paper.networks import (
    SEEDS,
    Row,
    attacked,
    baseline,
    noise_aware,
    sampled,
    squared_error,
    trained,
)
from npsnn.reproduce.noise_paper.robustness import MIDDLE, TRAINED
from npsnn.reproduce.panels import NUMBER, Panel
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.rules import above, all_of
from npsnn.reproduce.scales import NOISE_PAPER, Scale

PLAIN, AWARE, DRAWN = "baseline", "noise-aware, sigma 0.6", "sampled noise, sigma 0.6"
SECONDS, TIMES = "seconds", "times the baseline"
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def rows(data: str) -> dict[str, Row]:
    """The trainings that are compared: all of them are those of Figures 4 and 5."""
    return {
        PLAIN: baseline,
        "squared error, no noise": squared_error,
        AWARE: noise_aware(0.6),
        DRAWN: sampled(0.6),
        TRAINED: attacked(MIDDLE[data]),
    }


SAYS = """
**Readings.** The figures are seconds of the same number of epochs, as the trainings of Figures 4 and 5 took them, and
the same over those of the plain training of the same seed. The paper measures no time: its claims are words.
Adversarial training takes ten steps of PGD for each image. Trainings that ran beside other work take longer than they
would alone, and the ratio is of trainings that ran at different times.

**Control.** Training under draws of the noise is what the closed form replaces: one draw for each image needs no
variances, and no Monte Carlo of many draws.

**A sceptic would ask** about memory and about convergence: the number of epochs is given, not the number that each
training would need.
"""


@dataclass(frozen=True)
class Cost:
    """The seconds of trainings, on each data set."""

    name: str = "noise-cost"
    paper: str = NOISE_PAPER
    shows: str = "Sec. 5, 6"
    title: str = "What a training costs"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        def dearer(more: str, less: str, why: str) -> Rule:
            return lambda panels: all_of(
                *(above(panels[data], (more, TIMES), (less, TIMES)) for data in DATA),
                why=why,
                names=list(DATA.values()),
            )

        return {
            "noise-dearer-than-plain": dearer(AWARE, PLAIN, "The variances go through every layer, there and back."),
            "noise-cheaper-than-attacked": dearer(TRAINED, AWARE, "Each step of the attack is a pass there and back."),
            "noise-cheaper-than-draws": dearer(DRAWN, AWARE, "One draw for each image and step is what trains."),
        }

    def jobs(self, scale: Scale) -> Iterator[Train]:
        """The trainings."""
        for data in DATA:
            yield from (train for _, train in trained(scale, data, rows(data)))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """A panel for each data set."""
        return {data: self._panel(scale, records, data) for data in DATA}

    def _panel(self, scale: Scale, records: Records, data: str) -> Panel:
        there = records.there(trained(scale, data, rows(data)), lambda beside: beside[0])
        took = {place: float(record.took["seconds"]) for place, record in there}
        found: dict[tuple[str, str], list[float]] = {}
        for (name, seed), seconds in took.items():
            found.setdefault((name, SECONDS), []).append(seconds)
            if took.get((PLAIN, seed)):
                found.setdefault((name, TIMES), []).append(seconds / took[PLAIN, seed])
        return Panel(
            title=f"{self.title}, {DATA[data]}",
            rows=list(rows(data)),
            columns=[SECONDS, TIMES],
            cells={place: Seeds(tuple(values)) for place, values in found.items()},
            unit=NUMBER,
            note=note(scale, self.paper, data, seeds=SEEDS, by=""),
        )

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None beside those of its panels."""
        return {}


enter(Cost())
