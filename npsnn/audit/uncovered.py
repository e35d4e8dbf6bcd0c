"""The claims of the two papers that no card checks: results of trainings, figures, and remarks on both.

Most are asked by the reproduction, which sets a verdict beside each.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A claim without a card.

    paper: "noise" or "a2snn".
    place: where the paper says it.
    says: the claim, in other words.
    near: numbers of related cards.
    measured: the experiment of the reproduction that asks it, or empty.
    """

    paper: str
    place: str
    says: str
    near: tuple[str, ...] = ()
    measured: str = ""


NOISE = (
    ("Fig. 1", "training under noise keeps the data away from the decision boundary", (), "noise-figure-1"),
    ("Fig. 4", "MNIST under PGD: the larger sigma, the more robust", (), "noise-figure-4"),
    ("Fig. 5", "CIFAR-10 under PGD: the same trend", (), "noise-figure-5"),
    (
        "Fig. 6",
        "clean accuracy falls with sigma as it does with the budget of adversarial training",
        ("N38",),
        "noise-figure-6",
    ),
    (
        "Fig. 7",
        "at sigma 0.6 the adaptive FGSM leaves almost no more than of an unprotected model",
        ("N33",),
        "noise-figure-7",
    ),
    ("Sec. 3.1", "the network for CIFAR-10: five convolutions and three linear layers, no sizes given", ("N39",)),
    ("Abstract", "robustness like that of adversarial training", (), "noise-figure-4"),
    ("Sec. 6", "robust under FGSM as well, in a supplement that has no such figure", (), "noise-figure-4"),
    ("Sec. 6", "the training costs more than a conventional one", (), "noise-cost"),
    ("Sec. 7", "the start of a learned sigma makes no difference", ("N31",), "noise-table-1"),
)
A2SNN = (
    ("Abstract", "simple and fast to train compared with its competitors, without a time", (), "a2snn-costs"),
    ("Sec. 3.2", "the logarithm in Eq. 4 keeps the growth of both terms of the loss in balance", ("A4", "A17")),
    ("Sec. 4.1", "sizes of CIFAR-10 and F-MNIST, and of SVHN in round numbers", ("A27",)),
    ("Sec. 4.1, note 1", "a covariance of 512 features does as well as one of 32", (), "a2snn-bottleneck"),
    (
        "Sec. 4.1",
        "One-Pixel gets weaker with more pixels in 75 iterations, and 1000 are enough",
        ("A22",),
        "a2snn-table-3",
    ),
    ("Sec. 4.2, Table 1", "no clean accuracy is given up for robustness", ("A28",), "a2snn-table-5-cifar10"),
    ("Sec. 4.2, Table 2", "the best of four under C&W at every confidence but 0.1", ("A30",), "a2snn-table-2"),
    (
        "Sec. 4.4, Table 5",
        "entropy alone with diagonal noise helps on all three data sets (m1)",
        (),
        "a2snn-table-5-cifar10",
    ),
    (
        "Sec. 4.4, Table 5",
        "a full covariance helps much more than a diagonal one (m3 over m1)",
        ("A21",),
        "a2snn-table-5-cifar10",
    ),
    ("Sec. 4.4, Table 5", "alignment does about as much as entropy (m4 and m3)", (), "a2snn-table-5-cifar10"),
    ("Sec. 4.4, Table 5", "both together are the best (m5)", (), "a2snn-table-5-cifar10"),
    (
        "Fig. 1",
        "accuracies over strength agree with Table 5, and fall more gently than without a defence",
        ("A26",),
        "a2snn-figure-1",
    ),
    ("Table 6", "accuracy is higher under attacks with one draw of the noise", ("A25",), "a2snn-table-6"),
    ("Table 6", "noise trained on a finished network does almost as well", (), "a2snn-table-6"),
    (
        "Table 6",
        "adversarial training brings no consistent benefit; under PGD 31.7 and 29.2 instead of 72.0",
        (),
        "a2snn-table-6",
    ),
    ("Sec. 4.5", "criterion 1: FGSM leaves more than PGD in Tables 1, 5 and 6", ("A24",), "a2snn-criteria"),
    ("Sec. 4.5", "criterion 3: PGD at 255/255 leaves nothing of any model", ("A30",), "a2snn-figure-1"),
    ("Sec. 4.5", "criterion 4: 10 000 random samples leave 97 % of 100 chosen images", (), "a2snn-criteria"),
    ("Sec. 4.5, Fig. 1", "criterion 5: a larger bound is more successful", ("A26",), "a2snn-figure-1"),
    (
        "Sec. 4.6, Fig. 2",
        "how the noise of m2, m3 and m5 lies to the class vectors on two features",
        ("A6", "A18"),
        "a2snn-figure-2",
    ),
)
CLAIMS = tuple(Claim(paper, *claim) for paper, claims in (("noise", NOISE), ("a2snn", A2SNN)) for claim in claims)
"""The claims, in the order of the papers. A claim that gets a card loses its line here."""
