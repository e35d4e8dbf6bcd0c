"""Attacks of many kinds, none of which A2SNN meets in training (Abstract, Sec. 4.2)."""

from collections.abc import Iterator, Mapping

from npsnn.attacks import PGD, ClosedForm, RandomSearch, Square
from npsnn.reproduce.a2snn.deciding import Few, better
from npsnn.reproduce.a2snn.networks import EPS, closed_form, defence, fgsm, ours
from npsnn.reproduce.a2snn.table_3 import attack as one_pixel
from npsnn.reproduce.experiments import Column, enter
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "cifar10"
SEEDS = 3
SEEN = "PGD Linf"
"""The attack that adversarial training met."""
UNSEEN: Mapping[str, tuple[str, float]] = {"PGD L2": ("l2", 0.5), "PGD L1": ("l1", 12.0)}
"""Norms and radii of other balls, those of the usual benchmarks on CIFAR-10."""
ALL = ("FGSM", SEEN, *UNSEEN, "Square", "3 pixels", "random search")


def columns(scale: Scale) -> Iterator[Column]:
    """White boxes in three balls, black boxes in two."""
    yield Column("clean")
    yield Column("FGSM", fgsm(scale))
    yield Column(SEEN, closed_form(scale))
    for name, (norm, eps) in UNSEEN.items():
        yield Column(name, PGD(eps, norm, scale.steps, source=ClosedForm()))
    yield Column("Square", Square(EPS, queries=scale.queries, source=ClosedForm()))
    yield Column("3 pixels", one_pixel(scale, 3))
    yield Column("random search", RandomSearch(EPS, samples=scale.queries))


SAYS = """Being attack-agnostic is read as: more robust than no defence (m0) under every attack. The other claim, that
adversarial training is biased to its attack, is read as: m5 keeps more than adversarial training under attacks that
the latter has not met, in L2, in L1 and in L0. pgd-training has met PGD in Linf at 8/255 alone. Radii are 0.5 in L2
and 12 in L1.
"""

enter(
    Few(
        name="a2snn-agnostic",
        paper=A2SNN,
        shows="Abstract, attack-agnostic",
        title="Attacks of many kinds, CIFAR-10",
        data=DATA,
        rows={"m5": ours("m5", DATA), "m0": ours("m0", DATA), "pgd-training": defence("pgd-training", DATA)},
        columns=columns,
        decides={
            "a2snn-attack-agnostic": better("m5", ("m0",), ALL),
            "a2snn-adversarial-biased": better("m5", ("pgd-training",), (*UNSEEN, "3 pixels")),
        },
        says=SAYS,
        seeds=SEEDS,
    )
)
