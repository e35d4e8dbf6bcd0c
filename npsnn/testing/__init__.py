"""Checks of what others write for npsnn: plain functions that raise AssertionError and say what is wrong.

    from npsnn.testing import check_layer

    check_layer(LeakyReLU(0.1), shape=(2, 5, 4))

The checks need no test runner. npsnn's own layers, attacks and losses are held to them.
"""

from npsnn.testing.attacks import check_attack
from npsnn.testing.gradients import check_directional, check_gradient
from npsnn.testing.layers import check_layer
from npsnn.testing.losses import check_loss
from npsnn.testing.models import check_model
from npsnn.testing.steps import check_constraint, check_term

__all__ = [
    "check_attack",
    "check_constraint",
    "check_directional",
    "check_gradient",
    "check_layer",
    "check_loss",
    "check_model",
    "check_term",
]
