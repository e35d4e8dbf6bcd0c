"""Cards of A2SNN's evaluation: attack strengths and data sets (Sec. 4.1)."""

from collections.abc import Iterator
from math import log2

import numpy as np

from npsnn.attacks import balls
from npsnn.audit.card import Card, Figure, Lab, above, add, checks, near

SVHN_TRAIN = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
SVHN_TEST = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)
"""Images of the digits 0 to 9 in SVHN's cropped format; the sums are those of ufldl.stanford.edu/housenumbers."""

add(
    Card(
        id="A23",
        place="Sec. 4.1, 4.4",
        title="Attack strength for F-MNIST",
        verdict="inconsistent",
        printed=r"$\epsilon=8/255$ for CIFAR-10 and SVHN and $\epsilon=0.3$ for F-MNIST; in Sec. 4.4 all FGSM and PGD "
        r"attacks in Table 5, which has F-MNIST, use $\epsilon=8/255$",
        derived="one of the two; 0.3 is 9.6 times 8/255",
        because="The two sections contradict each other about two columns of Table 5, and nothing else in the paper "
        "says which strength they were measured at. The authors' public code has 0.1 to 0.5 for F-MNIST and not 8/255.",
        instead=r"a setting, printed with every result; for F-MNIST report both",
        places=(
            r'Sec. 4.1: "$\epsilon=8/255$ for CIFAR-10 and SVHN, and $\epsilon=0.3$ for F-MNIST"',
            r'Sec. 4.4: "All the FGSM and PGD attacks in Table 5 use attack strength $\epsilon=8/255$"',
        ),
    )
)


@checks(
    "A26",
    place="Sec. 4.4, Fig. 1",
    title="Unit of the attack strengths",
    verdict="typo",
    printed=r"$\epsilon=2^n$, $n\in\{0\dots7\}$",
    derived=r"$\epsilon=2^n/255$",
    because="In units of the pixels' range 2^0 already lets every pixel take every value, so all eight strengths were "
    "one and the same attack. Over 255 they are eight, the 8/255 of the other experiments is one of them, and the "
    "authors' public code has these.",
    instead=r"$\epsilon$ in units of the range $[0,1]$ everywhere",
    symbols=("npsnn.attacks.balls.Ball",),
    headline="different balls of 8: {different balls, as printed} as printed, {different balls, over 255} over 255",
)
def a26(lab: Lab) -> Iterator[Figure]:
    x = lab.rng().uniform(0, 1, (1, 1, 10, 10))
    for name, unit in {"as printed": 1.0, "over 255": 1 / 255}.items():
        corners = [
            np.concatenate([balls.Ball("linf", unit * 2**n).project(x + far, x) for far in (-300.0, 300.0)])
            for n in range(8)
        ]
        yield near(f"different balls, {name}", len({c.tobytes() for c in corners}), 1 if unit == 1 else 8, 0)
        whole = np.mean(corners[0] == np.array([0.0, 1.0])[:, None, None, None])
        yield near(f"range open at the weakest, {name}", whole, float(unit == 1), 0.05)
    yield near("n of 8/255", log2(8 / 255 * 255), 3, 1e-12)


@checks(
    "A27",
    place="Sec. 4.1",
    title="How many images each class has",
    verdict="wrong",
    printed="in all three benchmarks the data points are evenly spread across 10 classes",
    derived="true of CIFAR-10 and F-MNIST; SVHN has 13 861 training images of the digit 1 and 4659 of the digit 9",
    because="The public counts add up to the 73 257 and 26 032 images of ufldl.stanford.edu/housenumbers; the largest "
    "class has three times the images of the smallest. Whoever always answers 1 is right on 19.6 % of the test images, "
    "not on 10 %.",
    instead="accuracy by class, or at least the share of the largest class, next to results on SVHN",
    headline="largest over smallest training class {largest over smallest, training}; always answering 1 is right on "
    "{always 1, test}",
)
def a27(lab: Lab) -> Iterator[Figure]:
    yield near("training images", sum(SVHN_TRAIN), 73257, 0)
    yield near("test images", sum(SVHN_TEST), 26032, 0)
    yield near("largest over smallest, training", max(SVHN_TRAIN) / min(SVHN_TRAIN), 2.975, 0.001)
    yield above("largest over smallest, test", max(SVHN_TEST) / min(SVHN_TEST), 3)
    yield near("always 1, test", SVHN_TEST[1] / sum(SVHN_TEST), 0.196, 0.001)
