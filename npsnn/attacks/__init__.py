"""Attacks on randomised networks, and the accuracy that is left.

    for result in attacks.evaluate(classifier, images, labels, attacks.Plan(("adaptive-fgsm", "pgd"), eps=(0.1,))):
        print(result.attack, result.eps, result.accuracy.mean, result.accuracy.ci95)

    for criterion in attacks.inspect(classifier, images, labels, attacks.Checklist(eps=0.1)):
        print(criterion.name, criterion.outcome, criterion.explanation)

An attack by itself is `attacks.fgsm(eps)(target, x, labels, 0)`, on one of the targets `expectation`, `sampled`,
`closed_form` and `known`; 0 is the seed, for which a NumPy generator or an `npsnn.Stream` will do as well. C&W and
One-Pixel want a target that ascends one of the objectives of `margins`:
`attacks.CarliniWagner(kappa=1)(attacks.closed_form(network, "least-win-probability"), x, labels, 0)`.
"""

from npsnn.attacks.balls import Ball, Limit
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.checklist.criteria import inspect
from npsnn.attacks.checklist.outcomes import Criterion, Outcome
from npsnn.attacks.checklist.suite import Checklist
from npsnn.attacks.costs import Cost, cost
from npsnn.attacks.evaluation import Result, evaluate
from npsnn.attacks.judging import Accuracy, accuracy
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import ATTACKS, ON_REQUEST, Plan
from npsnn.attacks.projected import GradientAttack, bim, fgsm, pgd
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.attacks.worst import Worst, worst_case

__all__ = [
    "ATTACKS",
    "ON_REQUEST",
    "Accuracy",
    "Ball",
    "CarliniWagner",
    "Checklist",
    "Cost",
    "Criterion",
    "GradientAttack",
    "Limit",
    "OnePixel",
    "Outcome",
    "Plan",
    "RandomSearch",
    "Result",
    "Worst",
    "accuracy",
    "bim",
    "closed_form",
    "cost",
    "evaluate",
    "expectation",
    "fgsm",
    "inspect",
    "known",
    "pgd",
    "sampled",
    "worst_case",
]
