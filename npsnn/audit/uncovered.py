"""The claims of the two papers that no card checks: results of trainings, figures, and remarks on both."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A claim without a card.

    paper: "noise" or "a2snn".
    place: where the paper says it.
    says: the claim, in other words.
    near: numbers of related cards.
    """

    paper: str
    place: str
    says: str
    near: tuple[str, ...] = ()


NOISE = (
    ("Fig. 1", "training under noise keeps the data away from the decision boundary", ()),
    ("Fig. 4", "MNIST under PGD: the larger sigma, the more robust", ()),
    ("Fig. 5", "CIFAR-10 under PGD: the same trend", ()),
    ("Fig. 6", "clean accuracy falls with sigma as it does with the budget of adversarial training", ("N38",)),
    ("Fig. 7", "at sigma 0.6 the adaptive FGSM leaves almost no more than of an unprotected model", ("N33",)),
    ("Sec. 3.1", "the network for CIFAR-10: five convolutions and three linear layers, no sizes given", ("N39",)),
    ("Abstract", "robustness like that of adversarial training", ()),
    ("Sec. 6", "robust under FGSM as well, in a supplement that has no such figure", ()),
    ("Sec. 6", "the training costs more than a conventional one", ()),
    ("Sec. 7", "the start of a learned sigma makes no difference", ("N31",)),
)
A2SNN = (
    ("Abstract", "simple and fast to train compared with its competitors, without a time", ()),
    ("Sec. 3.2", "the logarithm in Eq. 4 keeps the growth of both terms of the loss in balance", ("A4", "A17")),
    ("Sec. 4.1", "sizes of CIFAR-10 and F-MNIST, and of SVHN in round numbers", ("A27",)),
    ("Sec. 4.1, note 1", "a covariance of 512 features does as well as one of 32", ()),
    ("Sec. 4.1", "One-Pixel gets weaker with more pixels in 75 iterations, and 1000 are enough", ("A22",)),
    ("Sec. 4.2, Table 1", "no clean accuracy is given up for robustness", ("A28",)),
    ("Sec. 4.2, Table 2", "the best of four under C&W at every confidence but 0.1", ("A30",)),
    ("Sec. 4.4, Table 5", "entropy alone with diagonal noise helps on all three data sets (m1)", ()),
    ("Sec. 4.4, Table 5", "a full covariance helps much more than a diagonal one (m3 over m1)", ("A21",)),
    ("Sec. 4.4, Table 5", "alignment does about as much as entropy (m4 and m3)", ()),
    ("Sec. 4.4, Table 5", "both together are the best (m5)", ()),
    ("Fig. 1", "accuracies over strength agree with Table 5, and fall more gently than without a defence", ("A26",)),
    ("Table 6", "accuracy is higher under attacks with one draw of the noise", ("A25",)),
    ("Table 6", "noise trained on a finished network does almost as well", ()),
    ("Table 6", "adversarial training brings no consistent benefit; under PGD 31.7 and 29.2 instead of 72.0", ()),
    ("Sec. 4.5", "criterion 1: FGSM leaves more than PGD in Tables 1, 5 and 6", ("A24",)),
    ("Sec. 4.5", "criterion 3: PGD at 255/255 leaves nothing of any model", ("A30",)),
    ("Sec. 4.5", "criterion 4: 10 000 random samples leave 97 % of 100 chosen images", ()),
    ("Sec. 4.5, Fig. 1", "criterion 5: a larger bound is more successful", ("A26",)),
    ("Sec. 4.6, Fig. 2", "how the noise of m2, m3 and m5 lies to the class vectors on two features", ("A6", "A18")),
)
CLAIMS = tuple(Claim(paper, *claim) for paper, claims in (("noise", NOISE), ("a2snn", A2SNN)) for claim in claims)
"""The claims, in the order of the papers. A claim that gets a card loses its line here."""
