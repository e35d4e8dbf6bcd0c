"""Both papers re-measured: every figure, table and claim by jobs in folders, and a verdict for each claim."""

from npsnn.reproduce import a2snn, noise_paper  # noqa: F401  (they enter their experiments)
