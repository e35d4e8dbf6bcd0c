"""An experiment of a few seconds, and a program that runs it: FOLDER JOBS."""

import sys
from pathlib import Path

from tiny_reproduction import network

from npsnn.attacks import PGD
from npsnn.jobs import executors
from npsnn.reproduce.claims import Claim
from npsnn.reproduce.experiments import Column, Grid
from npsnn.reproduce.perform import Place, perform_all
from npsnn.reproduce.rules import above
from npsnn.reproduce.scales import NOISE_PAPER, QUICK

CLAIM = Claim("tiny-claim", NOISE_PAPER, "Fig. 0", "More noise is more robust.")
TINY = Grid(
    name="tiny",
    paper=NOISE_PAPER,
    shows="Fig. 0",
    title="Tiny",
    data="mnist",
    rows={f"sigma {sigma}": (lambda s, seed, sigma=sigma: network(sigma, seed, epochs=2)) for sigma in (0.3, 0.9)},
    columns=lambda scale: [Column("PGD", PGD(0.1, steps=4), {"sigma": 0.0})],
    decides={CLAIM.id: lambda panels: above(panels["grid"], ("sigma 0.9", "PGD"), ("sigma 0.3", "PGD"))},
)

if __name__ == "__main__":
    with executors.executor("processes", int(sys.argv[2])) as executor:
        for event in perform_all(list(TINY.jobs(QUICK)), Place(Path(sys.argv[1])), executor):
            assert event.state == "done", event
