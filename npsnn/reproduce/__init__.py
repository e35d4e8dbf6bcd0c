"""Both papers re-measured: every figure, table and claim by jobs in folders, and a verdict for each claim.

for event in reproduce.run("reproduction", scale="quick"): print(event)
reproduce.report("reproduction", "reproduction/report.md")
"""

from npsnn.reproduce import a2snn, noise_paper  # noqa: F401  (they enter their experiments)
from npsnn.reproduce.experiments import EXPERIMENTS
from npsnn.reproduce.scales import SCALES
from npsnn.reproduce.whole import claims, experiments, report, run

__all__ = ["EXPERIMENTS", "SCALES", "claims", "experiments", "report", "run"]
