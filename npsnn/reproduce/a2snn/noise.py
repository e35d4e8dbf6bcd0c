"""What keeps learned noise alive, and class vectors short: the rewards and the projection (A2SNN Sec. 3.1, 3.2)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from npsnn.reproduce.a2snn.deciding import measured, noise_panel, strictly, trained
from npsnn.reproduce.a2snn.networks import ours
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Job, Measure
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of, at_most
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "fashion-mnist"
SEEDS = 3
NONE, FREE = "no reward", "m5, free class vectors"
SPREAD, NORM = "sd of a feature's noise", "norm of class vectors"
PANEL = "sizes"
START = 1.0
"""The standard deviation with which the noise begins."""
SHRUNK = 0.1
"""The part of it to which noise has fallen that shrinks to nothing."""
ROWS = {
    NONE: ours("m5", DATA, "no-reward", max_entropy=0.0, alignment=0.0, unit_classes=False),
    "m3": ours("m3", DATA),
    "m4": ours("m4", DATA),
    "m5": ours("m5", DATA),
    FREE: ours("m5", DATA, "free", unit_classes=False),
}


def kept(panels: Mapping[str, Panel]) -> Ruling:
    """Whether noise without a reward shrinks to nothing, and noise with max-entropy is larger."""
    panel = panels[PANEL]
    return all_of(
        at_most(panel, (NONE, SPREAD), SHRUNK * START),
        above(panel, ("m3", SPREAD), (NONE, SPREAD)),
    )


def grow(panels: Mapping[str, Panel]) -> Ruling:
    """Whether class vectors that are free are longer under the alignment than those of the free ones without it."""
    return strictly(*(above(panels[PANEL], (FREE, NORM), (row, NORM)) for row in (NONE, "m3")))


SAYS = """*No reward* learns L by the cross-entropy alone; *free class vectors* is m5 without the projection. The
noise begins with a standard deviation of 1 in each feature. A network may escape its noise by larger features as
well: the size of the noise counts beside the second panel, the variance of the differences of logits, and beside
nothing else.
"""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the noise and of the class vectors."""

    name: str = "a2snn-noise"
    paper: str = A2SNN
    shows: str = "Sec. 3.1 and 3.2"
    title: str = "What the rewards and the projection do to the noise, Fashion-MNIST"
    decides: Mapping[str, Rule] = field(
        default_factory=lambda: {"a2snn-entropy-keeps-noise": kept, "a2snn-projection-needed": grow}
    )
    says: str = SAYS

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """A measurement of each network."""
        for _, job in self._jobs(scale):
            yield job

    def _jobs(self, scale: Scale) -> Iterator[tuple[str, Measure]]:
        for row, _, train in trained(ROWS, DATA, scale, SEEDS):
            yield row, Measure(train.name, "class-vectors", (train,))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """Sizes, and where the noise went."""
        keys = {SPREAD: "spread", NORM: "norm"}
        panel = measured(
            "Root of tr Sigma / D, and the mean norm of a class vector",
            self._jobs(scale),
            {column: lambda record, key=key: record.values[key] for column, key in keys.items()},
            records,
            note(scale, A2SNN, DATA, seeds=SEEDS, by=""),
        )
        return {PANEL: panel, "noise": noise_panel(ROWS, DATA, scale, records, SEEDS)}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None."""
        return {}


enter(Sizes())
