"""FGSM, BIM and PGD: one loop of projected steps along the gradient's steepest direction."""

from dataclasses import dataclass

import numpy as np

from npsnn.attacks.balls import Ball
from npsnn.attacks.targets import Target, given
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count


@dataclass(frozen=True)
class GradientAttack:
    """x ← project(x + step_size · steepest(gradient)), `steps` times, from x itself or from a random point.

    Of several restarts each image keeps the one of the highest loss, by gradients of noise that no step has seen.
    Source: FGSM noise paper Eq. 10 (audit N33: clipped to the box); PGD A2SNN Sec. 2.1.
    """

    ball: Ball
    steps: int
    step_size: float
    random_start: bool = False
    restarts: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            check_count(name, getattr(self, name))

    def passes(self, target: Target) -> int:
        """Forward and backward passes for one image."""
        choice = self.restarts if self.restarts > 1 else 0
        return (self.steps * self.restarts + choice) * target.passes

    def __call__(self, target: Target, x: np.ndarray, labels: np.ndarray, stream: Randomness) -> np.ndarray:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        best = self._climb(target, x, labels, stream.at("restart", 0))
        if self.restarts == 1:
            return best
        fresh = stream.at("choice")
        best_loss = _rank(target, best, labels, fresh)
        for restart in range(1, self.restarts):
            x_adv = self._climb(target, x, labels, stream.at("restart", restart))
            loss = _rank(target, x_adv, labels, fresh)
            better = loss > best_loss
            best = np.where(better[:, None, None, None], x_adv, best)
            best_loss = np.maximum(loss, best_loss)
        return best

    def _climb(self, target: Target, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        x_adv = self.ball.random(x, stream.at("start")) if self.random_start else x
        for step in range(self.steps):
            _, gradient = target(x_adv, labels, stream.at("step", step))
            x_adv = self.ball.project(x_adv + self.step_size * self.ball.steepest(gradient), x)
        return x_adv


def _rank(target: Target, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
    """The loss, by which restarts are compared; a NaN, which compares with nothing, is the least."""
    loss, _ = target(x, labels, stream)
    return np.where(np.isnan(loss), -np.inf, loss)


def fgsm(eps: float, norm: str = "linf") -> GradientAttack:
    """One step of the whole length eps."""
    return GradientAttack(Ball(norm, eps), steps=1, step_size=eps)


def _each(length: float, steps: int) -> float:
    """The length of a step."""
    check_count("steps", steps)
    return length / steps


def bim(eps: float, norm: str = "linf", steps: int = 20) -> GradientAttack:
    """`steps` steps of eps / steps from the image itself."""
    return GradientAttack(Ball(norm, eps), steps, _each(eps, steps))


def pgd(eps: float, norm: str = "linf", steps: int = 20, restarts: int = 1) -> GradientAttack:
    """`steps` steps of 2.5 eps / steps from a random point of the ball: long enough to reach any corner (audit A24)."""
    return GradientAttack(Ball(norm, eps), steps, _each(2.5 * eps, steps), random_start=True, restarts=restarts)
