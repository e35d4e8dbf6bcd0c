"""Sec. 6 of the noise paper: whether noise whose size is learned defends a network."""

from collections.abc import Iterator, Mapping

from npsnn.attacks import APGD, PGD
from npsnn.attacks.sources import Expectation
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Column, Grid, enter
from npsnn.reproduce.noise_paper.learned_sigma import BIMODEL, MODEL, REWARD, START
from npsnn.reproduce.noise_paper.networks import OFF, SEEDS, attacked, baseline, learned, noise_aware, squared_error
from npsnn.reproduce.noise_paper.robustness import ALONE, BASELINE, MIDDLE, TRAINED, strong
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.rules import above, all_of
from npsnn.reproduce.scales import NOISE_PAPER, Scale

DATA = "mnist"
EPS = MIDDLE[DATA]
ATTACKS = ("PGD", "APGD")


def columns(scale: Scale) -> Iterator[Column]:
    """The images as they are, the attacks of Figure 4 at the radius that decides there, and the strong group."""
    yield Column("clean", None, OFF)
    yield Column("PGD", PGD(EPS, steps=scale.steps, source=Expectation()), OFF)
    yield Column("APGD", APGD(EPS, steps=scale.steps, source=Expectation()), OFF)
    yield Column("Auto", strong(EPS, scale), OFF)


def defends(panels: Mapping[str, Panel]) -> Ruling:
    """Whether both trainings that learn sigma leave more than the baseline, under each attack."""
    places = [(row, attack) for attack in ATTACKS for row in (MODEL, BIMODEL)]
    parts = [above(panels["grid"], (row, attack), (BASELINE, attack)) for row, attack in places]
    why = f"At {EPS:g} in Linf, with the noise off. The squared error without noise is the control."
    return all_of(*parts, why=why, names=[row for row, _ in places])


SAYS = """
**Readings.** "Incorporating the noise variance as a parameter in the neural network can be an effective defense": the
networks are *Model* and *Bimodel* of Table 1, which learn sigma from 1.9, attacked as in Figure 4 at the radius that
decides there. The paper itself attacks no network that learned its sigma.

**Controls.** The squared error without noise has all of the loss but its noise; sigma 0.6 is held where the paper's
sigma ends. Unit filters cannot outgrow the noise (audit N42).

**A sceptic would ask** what learning adds: a sigma that may fall spares the network the noise that a held one keeps.
"""

enter(
    Grid(
        name="noise-learned-robust",
        paper=NOISE_PAPER,
        shows="Sec. 6",
        title="Robustness of networks that learned their sigma, MNIST",
        data=DATA,
        rows={
            BASELINE: baseline,
            ALONE: squared_error,
            MODEL: learned(START),
            BIMODEL: learned(START, reward=REWARD),
            "Model, unit filters": learned(START, "l1"),
            "sigma 0.6": noise_aware(0.6),
            TRAINED: attacked(EPS),
        },
        columns=columns,
        decides={"noise-variance-defends": defends},
        says=SAYS,
        seeds=SEEDS,
    )
)
