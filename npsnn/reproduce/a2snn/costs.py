"""How long A2SNN takes to train, against defences that attack images in training (Abstract, Sec. 1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from npsnn.reproduce.a2snn.deciding import measured, strictly, trained
from npsnn.reproduce.a2snn.networks import STOCHASTIC, stochastic
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Job
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "cifar10"
SEEDS = 3
SECONDS = "seconds an epoch"
PANEL = "costs"


def faster(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5 takes less than each of the other stochastic defences."""
    return strictly(*(above(panels[PANEL], (row, SECONDS), ("m5", SECONDS)) for row in STOCHASTIC))


def dearer(panels: Mapping[str, Panel]) -> Ruling:
    """Whether adversarial training takes more than training without it."""
    return above(panels[PANEL], ("pgd-training", SECONDS), ("m0", SECONDS))


SAYS = """Seconds of an epoch are those that the trainings of Table 1 took, on the machine and beside the other jobs
that ran: compare rows, not figures with other machines. m0 is the same network without noise. The comparison is of
equal epochs: the paper took the figures of the others from Jeddi et al. and does not say how long they trained. Of
Adv-BNN, PNI and L2P all but the first epochs attack their images.
"""


@dataclass(frozen=True)
class Costs:
    """Seconds of training."""

    name: str = "a2snn-costs"
    paper: str = A2SNN
    shows: str = "Abstract, Sec. 1"
    title: str = "Seconds of training, CIFAR-10"
    decides: Mapping[str, Rule] = field(
        default_factory=lambda: {"a2snn-fast": faster, "a2snn-adversarial-costs": dearer}
    )
    says: str = SAYS

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """The trainings of Table 1."""
        for _, _, job in trained(stochastic(DATA), DATA, scale, SEEDS):
            yield job

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """One panel of seconds."""
        panel = measured(
            "Seconds of training for one epoch",
            ((row, job) for row, _, job in trained(stochastic(DATA), DATA, scale, SEEDS)),
            {SECONDS: lambda record: record.took["seconds"] / len(record.values["epochs"])},
            records,
            note(scale, A2SNN, DATA, seeds=SEEDS, by=""),
        )
        return {PANEL: panel}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """None."""
        return {}


enter(Costs())
