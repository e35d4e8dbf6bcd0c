"""Scales of a reproduction: what stands for the data, networks and budgets of the papers.

`paper` has the papers' own data and networks and A2SNN's epochs, and asks for a GPU. `small` takes hours on two cores.
`quick` takes minutes, runs every experiment on digits, and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NOISE_PAPER, A2SNN = "noise paper", "A2SNN"
"""The two papers."""


@dataclass(frozen=True)
class Setting:
    """What stands for one data set of one paper.

    dataset: name of the data set that is used.
    model: name of the network.
    epochs: passes over the training images.
    images: number of test images that are attacked.
    limit: number of training images, None for all.
    lr: learning rate in place of the paper's, None for the paper's.
    batch_size: images for one update.
    optimizer: optimiser of the paper's models in place of the paper's, None for the paper's.
    """

    dataset: str
    model: str
    epochs: int
    images: int
    limit: int | None = None
    lr: float | None = None
    batch_size: int = 128
    optimizer: str | None = None


@dataclass(frozen=True)
class Scale:
    """A scale: settings by paper and data set, and the budgets of attacks.

    name: its name.
    settings: by paper and the paper's name of a data set; one that is missing is not run.
    seeds: number of seeds of a training.
    draws: fresh draws on which an answer is judged.
    eot: draws of a gradient where the paper takes 50.
    steps: gradient steps of the strong attacks.
    queries: points that attacks without gradients ask about.
    decides: whether its figures decide about claims.
    says: what differs from the papers, in a sentence.
    """

    name: str
    settings: Mapping[tuple[str, str], Setting]
    seeds: int
    draws: int
    eot: int
    steps: int
    queries: int
    decides: bool
    says: str

    def on(self, paper: str, dataset: str) -> Setting | None:
        """What stands for a data set of a paper; None where nothing does."""
        return self.settings.get((paper, dataset))


_DIGITS = Setting("digits", "lenet5", epochs=2, images=30, limit=600, batch_size=32)

QUICK = Scale(
    "quick",
    {(NOISE_PAPER, d): _DIGITS for d in ("mnist", "cifar10", "fashion-mnist")}
    | {(A2SNN, d): _DIGITS for d in ("cifar10", "svhn", "fashion-mnist")},
    seeds=1,
    draws=4,
    eot=4,
    steps=5,
    queries=20,
    decides=False,
    says="Digits stand for all data sets and LeNet-5 for all networks: the figures show that everything runs.",
)
SMALL = Scale(
    "small",
    {
        (NOISE_PAPER, "mnist"): Setting("mnist", "lenet5", epochs=5, images=300),
        (NOISE_PAPER, "cifar10"): Setting("cifar10-unverified", "cnn5", epochs=5, images=200, limit=10000),
        (NOISE_PAPER, "fashion-mnist"): Setting("fashion-mnist", "lenet5", epochs=5, images=300),
        (A2SNN, "fashion-mnist"): Setting("fashion-mnist", "lenet5", epochs=20, images=300, lr=1e-2),
        (A2SNN, "cifar10"): Setting(
            "cifar10-unverified", "lenet5", epochs=10, images=200, limit=20000, lr=1e-3, optimizer="adam"
        ),
    },
    seeds=5,
    draws=10,
    eot=50,
    steps=50,
    queries=1000,
    decides=True,
    says="LeNet-5 is trained on all images of MNIST for 5 epochs for the noise paper, which does not say how long it "
    "trained, and on all of Fashion-MNIST for 20 for A2SNN and 5 for the noise paper. On CIFAR-10 (from JPEG copies, "
    "*cifar10-unverified*) the noise paper's network of five convolutions (CNN5) is trained for 5 epochs of 10,000 "
    "images, and LeNet-5 for A2SNN for 10 epochs of 20,000. SVHN is not run. A2SNN's own figures are of ResNet-18 "
    "after 200 epochs and, on Fashion-MNIST, of LeNet++ after 100: a verdict on A2SNN here is one on its method on "
    "LeNet-5, and refutes no figure of those networks.",
)
PAPER = Scale(
    "paper",
    {
        (NOISE_PAPER, "mnist"): Setting("mnist", "lenet5", epochs=20, images=1000),
        (NOISE_PAPER, "cifar10"): Setting("cifar10", "cnn5", epochs=50, images=1000),
        (NOISE_PAPER, "fashion-mnist"): Setting("fashion-mnist", "lenet5", epochs=20, images=1000),
        (A2SNN, "fashion-mnist"): Setting("fashion-mnist", "lenetpp", epochs=100, images=1000),
        (A2SNN, "cifar10"): Setting("cifar10", "resnet18", epochs=200, images=1000),
        (A2SNN, "svhn"): Setting("svhn", "resnet18", epochs=200, images=1000),
    },
    seeds=3,
    draws=10,
    eot=50,
    steps=100,
    queries=5000,
    decides=True,
    says="The papers' own data sets and networks, and A2SNN's epochs. The noise paper does not say how long it "
    "trained: here 20 epochs of LeNet-5 and 50 of CNN5. 1,000 test images are attacked.",
)
SCALES = {scale.name: scale for scale in (QUICK, SMALL, PAPER)}
"""Every scale by its name."""
