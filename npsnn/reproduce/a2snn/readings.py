"""Other readings of A2SNN's training than the ablation's: none of them is to be the reason why a claim fails."""

from dataclasses import dataclass

from npsnn.reproduce.a2snn.deciding import noise_panel, zero_panel
from npsnn.reproduce.a2snn.networks import Row, as_code, columns, ours
from npsnn.reproduce.experiments import Grid, enter
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.scales import A2SNN, Scale
from npsnn.train.recipes import SCHEDULES

DATA = "fashion-mnist"
SEEDS = 3
QUIET = "m5, noise off"


@dataclass(frozen=True)
class Readings(Grid):
    """The grid, where the noise went, and where gradients were 0."""

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The grid and two panels."""
        rows: dict[str, Row] = {row: train for row, train in self.rows.items() if row not in (QUIET, "m0")}
        return super().panels(scale, records) | {
            "noise": noise_panel(rows, self.data, scale, records, self.seeds),
            "zero": zero_panel(self, scale, records),
        }


SAYS = """m5 of the ablation is trained by Eq. 1 as printed, with SGD and the learning rate of the scale. *As code*
trains as the authors' code of the paper's time does: Adam, the logarithm of a sum in place of the sum of logarithms
(audit B1), one draw of the noise for a batch (B6), the Frobenius norm of all class vectors held at 1 (B13), and their
network where the scale has the paper's (B14). *Pairwise* rewards noise along the differences of class vectors, which
is what predictions depend on (A17), in place of Eq. 4. *The paper's rate* is App. B's, for which the epochs of a
small scale are few. *Noise off* is m5 without noise when it answers and when it is attacked.

This experiment decides no claim: a claim that fails of m5 and holds of one of these rows would fail for its reading.
"""

enter(
    Readings(
        name="a2snn-readings",
        paper=A2SNN,
        shows="Sec. 3, readings",
        title="Other readings of A2SNN's training, Fashion-MNIST",
        data=DATA,
        rows={
            "m5": ours("m5", DATA),
            "m5, as code": as_code(DATA),
            "m5, pairwise": ours("m5", DATA, "pairwise", pairwise=True),
            "m5, the paper's rate": ours("m5", DATA, "papers-rate", lr=SCHEDULES[DATA][1]),
            QUIET: ours("m5", DATA),
            "m0": ours("m0", DATA),
        },
        kept={QUIET: {"sigma": 0.0}},
        columns=columns,
        says=SAYS,
        seeds=SEEDS,
    )
)
