"""Attacks on randomised networks, and the accuracy that is left.

    for result in attacks.robust_accuracy(network, images, labels, [attacks.FGSM(0.1), attacks.PGD(0.1)]):
        print(result.attack, result.eps, result.accuracy.mean, result.accuracy.ci95)

    for criterion in attacks.examine(network, images, labels, attacks.Checklist(eps=0.1)):
        print(criterion.name, criterion.outcome, criterion.explanation)

An attack is a value, and so is the source of its gradients: `attacks.PGD(0.1, source=attacks.ClosedForm())` is the
adaptive attack on the closed form, and `attacks.EoT(50)` averages each gradient over 50 draws of the noise. `Judging`
says by how many draws success is judged, and which noise the network has. `attacks.base` has what an attack of your own
must have. `Plan` is the flat form of the command line, which `evaluate` carries out.

An attack by itself is called as `attacks.FGSM(0.1)(target, x, labels, 0)`. The target is `expectation(network)`,
`sampled(network, draws=10)`, `closed_form(network)` or `known(network, judging=0)`. The last argument is the seed, for
which a NumPy generator or an `npsnn.Stream` will do as well.
C&W and FMN want a target whose loss is 0 on the border (`npsnn.objectives.BORDERS`):
`attacks.CarliniWagner(kappa=1)(attacks.closed_form(network, "least-win-probability"), x, labels, 0)`.
"""

from typing import Any

from npsnn.attacks.apgd import APGD, APGDT
from npsnn.attacks.authors import Authors, AuthorsFGSM, AuthorsPGD
from npsnn.attacks.balls import Ball, Limit
from npsnn.attacks.base import Attack, InBall, Offer, attack
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.criteria import examine
from npsnn.attacks.checklist.outcomes import Criterion, Outcome
from npsnn.attacks.costs import Cost, cost
from npsnn.attacks.curve import Curve, curve
from npsnn.attacks.ensemble import Auto, Quick, auto, standard
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.fab import FAB
from npsnn.attacks.fmn import FMN
from npsnn.attacks.groups import Group, Grouping
from npsnn.attacks.hop_skip_jump import HopSkipJump
from npsnn.attacks.inner import Inner
from npsnn.attacks.judging import Accuracy, Judging, accuracy
from npsnn.attacks.kept import Kept
from npsnn.attacks.momentum import MomentumFGSM
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.projected import BIM, FGSM, PGD, GradientAttack, bim, fgsm, pgd
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.results import Result
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Known, Source, Transfer, source
from npsnn.attacks.sparse_rs import SparseRS
from npsnn.attacks.spsa import SPSA
from npsnn.attacks.square import Square
from npsnn.attacks.substitutes import substitute
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.attacks.toward import Toward
from npsnn.attacks.worst import Worst, worst_case
from npsnn.tables import import_all

__all__ = [
    "APGD",
    "APGDT",
    "BIM",
    "FAB",
    "FGSM",
    "FMN",
    "PGD",
    "SPSA",
    "Accuracy",
    "Attack",
    "Authors",
    "AuthorsFGSM",
    "AuthorsPGD",
    "Auto",
    "Ball",
    "CarliniWagner",
    "Checklist",
    "ClosedForm",
    "Cost",
    "Criterion",
    "Curve",
    "EoT",
    "Expectation",
    "GradientAttack",
    "Group",
    "Grouping",
    "HopSkipJump",
    "InBall",
    "Inner",
    "Judging",
    "Kept",
    "Known",
    "Limit",
    "MomentumFGSM",
    "Offer",
    "OnePixel",
    "Outcome",
    "Plan",
    "Quick",
    "RandomSearch",
    "Result",
    "Source",
    "SparseRS",
    "Square",
    "Toward",
    "Transfer",
    "Worst",
    "accuracy",
    "attack",
    "auto",
    "bim",
    "closed_form",
    "cost",
    "curve",
    "evaluate",
    "examine",
    "expectation",
    "fgsm",
    "known",
    "pgd",
    "robust_accuracy",
    "sampled",
    "source",
    "standard",
    "substitute",
    "worst_case",
]

import_all(__name__, __path__)  # a new file here needs no line here

_GONE = {
    "ATTACKS": "attacks.Plan().attacks has the names that run where none is named, attacks.base.ATTACKS is the table",
    "ON_REQUEST": "attacks.plan.choices() has every name that a plan may have",
}


def __getattr__(name: str) -> Any:
    """Public names of before: `inspect` is `examine`, and what is gone says what took its place."""
    if name == "inspect":
        return examine
    raise AttributeError(f"module 'npsnn.attacks' has no attribute {name!r}: {_GONE.get(name, 'see dir()')}")
