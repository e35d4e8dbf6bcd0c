"""The cards of the adaptive attack notice what breaks them."""

from typing import Any

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.attacks.balls import Ball
from npsnn.attacks.projected import GradientAttack
from npsnn.reference import gradient


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *args: tuple(z * factor if i == part else z for i, z in enumerate(f(*args)))


class Unclipped(Ball):
    """A ball without the box of the pixels."""

    def project(self, x_adv: Any, x: Any) -> Any:
        return x + np.clip(x_adv - x, -self.eps, self.eps)


class OneSided(Ball):
    """The printed constraint, entry by entry."""

    def project(self, x_adv: Any, x: Any) -> Any:
        return np.clip(np.minimum(x_adv, x + self.eps), 0, 1)


class UnclippedL2(Ball):
    """A ball of the 2-norm without the box of the pixels."""

    def project(self, x_adv: Any, x: Any) -> Any:
        if self.norm == "linf":
            return super().project(x_adv, x)
        delta = x_adv - x
        return x + delta * np.minimum(1, self.eps / self.size(delta)).reshape(-1, 1, 1, 1)


def short(f: Any) -> Any:
    return lambda eps: GradientAttack(Ball("linf", eps), 1, eps / 4)


MUTANTS: list[Mutant] = [
    ("N32", "npsnn.attacks.Ball", lambda f: Unclipped),
    ("N32", "npsnn.attacks.Ball", lambda f: OneSided),
    ("N32", "npsnn.attacks.Ball", lambda f: UnclippedL2),
    ("N32", "npsnn.reference.gradient.project", lambda f: lambda x_adv, x, eps: f(x_adv, x, 2 * eps)),
    # down instead of up, the gradient itself instead of its sign, no clip, a shorter step
    ("N33", "npsnn.reference.gradient.fgsm_printed", lambda f: lambda x, g, eps: f(x, -g, eps)),
    ("N33", "npsnn.reference.gradient.fgsm_printed", lambda f: lambda x, g, eps: x + eps * g / np.abs(g).max()),
    ("N33", "npsnn.reference.gradient.fgsm", lambda f: gradient.fgsm_printed),
    ("N33", "npsnn.attacks.fgsm", short),
    ("N33", "npsnn.attacks.fgsm", lambda f: lambda eps: f(1.001 * eps)),
    ("N33", "npsnn.ops.loss.squared_error", scaled(1, -3)),
    # the printed gradient by the means, a channel lost or doubled in the engine
    ("N34", "npsnn.reference.gradient.d_mean", lambda f: gradient.d_mean_printed),
    ("N34", "npsnn.reference.gradient.d_mean_printed", lambda f: gradient.d_mean),
    ("N34", "npsnn.reference.gradient.d_input", lambda f: lambda dmu, jacobian: f(abs(dmu), jacobian)),
    ("N34", "npsnn.ops.loss.win_probability", scaled(1, -1)),
    ("N34", "npsnn.ops.loss.win_probability", scaled(2, 2)),
    ("N34", "npsnn.ops.linear.linear_input_backward", lambda f: lambda dy, w: 2 * f(dy, w)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


def test_points_of_the_cube_and_the_box_stay() -> None:
    x = np.array([0.0, 0.5, 0.95])
    inside = np.array([0.05, 0.42, 1.0])
    np.testing.assert_array_equal(gradient.project(inside, x, 0.1), inside)
    np.testing.assert_allclose(gradient.project(x + np.array([-1, 1, 1]), x, 0.1), [0, 0.6, 1], rtol=1e-15)
    np.testing.assert_allclose(gradient.fgsm(x, np.array([-2.0, 0.1, 3]), 0.1), [0, 0.6, 1], rtol=1e-15)
