"""Attacks on randomised networks, and the accuracy that is left.

    for result in attacks.evaluate(classifier, images, labels, attacks.Plan(("adaptive-fgsm", "pgd"), eps=(0.1,))):
        print(result.attack, result.eps, result.accuracy.mean, result.accuracy.ci95)

An attack by itself is `attacks.fgsm(eps)(target, x, labels, stream)`, on one of the three targets `expectation`,
`sampled` and `closed_form`.
"""

from npsnn.attacks.balls import Ball
from npsnn.attacks.evaluation import ATTACKS, Plan, Result, evaluate, worst_case
from npsnn.attacks.gradient import GradientAttack, bim, fgsm, pgd
from npsnn.attacks.judging import Accuracy, accuracy
from npsnn.attacks.target import closed_form, expectation, sampled

__all__ = [
    "ATTACKS",
    "Accuracy",
    "Ball",
    "GradientAttack",
    "Plan",
    "Result",
    "accuracy",
    "bim",
    "closed_form",
    "evaluate",
    "expectation",
    "fgsm",
    "pgd",
    "sampled",
    "worst_case",
]
