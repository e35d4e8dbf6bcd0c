"""The number of features that carry the noise: 32 against 512 (A2SNN Sec. 4.1, footnote 1)."""

from collections.abc import Mapping

from npsnn.reproduce.a2snn.deciding import GRID, under
from npsnn.reproduce.a2snn.networks import columns, ours
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Grid, enter
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.rules import near
from npsnn.reproduce.scales import A2SNN

DATA = "cifar10"
SEEDS = 3
FEW, MANY = "32 features", "512 features"
IDENTICAL = 0.02
"""By how much accuracies may differ that are called identical."""


def identical(panels: Mapping[str, Panel]) -> Ruling:
    """Whether both sizes leave the same, clean and attacked."""
    columns = ("clean", "FGSM", "PGD", "judge")
    return under(columns, lambda c: near(panels[GRID], (MANY, c), (FEW, c), IDENTICAL))


SAYS = """The layer of 32 features is the last before the classifier; the other network has 512 in its place, and a
covariance of 512 x 512. The paper has the sentence alone, without figures. The reward for entropy is a sum over
features, so that with 512 the same lambda1 weighs sixteen times as much.
"""

enter(
    Grid(
        name="a2snn-bottleneck",
        paper=A2SNN,
        shows="Sec. 4.1, footnote 1",
        title="32 and 512 features with noise, m5, CIFAR-10",
        data=DATA,
        rows={FEW: ours("m5", DATA), MANY: ours("m5", DATA, "512-features", bottleneck=512)},
        columns=columns,
        decides={"a2snn-bottleneck": identical},
        says=SAYS,
        seeds=SEEDS,
    )
)
