"""Projected steps along the gradient's steepest direction: one loop, and FGSM, BIM and PGD as settings of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npsnn.attacks.balls import Ball, each
from npsnn.attacks.base import Attack, InBall, Offer, attack
from npsnn.attacks.sources import DRAWN, Source
from npsnn.attacks.targets import Target, given
from npsnn.backend import Array, namespace
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types


@attack("gradient-attack")
@dataclass(frozen=True)
class GradientAttack(Attack):
    """x ← project(x + step_size · steepest(gradient)), `steps` times, from x itself or from a random point.

    ball: the set that the steps stay in.
    steps: number of gradient steps.
    step_size: length of a step, in the norm of the ball.
    random_start: whether it starts from a random point of the ball.
    restarts: number of starts. Each image keeps that of the highest loss, on noise that no step has seen.
    source: where its gradients come from.
    Source: FGSM noise paper Eq. 10 (audit N33: clipped to the box); PGD A2SNN Sec. 2.1.
    """

    ball: Ball
    steps: int
    step_size: float
    random_start: bool = False
    restarts: int = 1
    source: Source = DRAWN

    on_device = True
    climbs = True
    offer = None

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            check_count(name, getattr(self, name))

    def passes(self, target: Target) -> int:
        """Forward and backward passes for one image."""
        choice = self.restarts if self.restarts > 1 else 0
        return (self.steps * self.restarts + choice) * target.passes

    def __call__(self, target: Target, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        best = self._climb(target, x, labels, stream.at("restart", 0))
        if self.restarts == 1:
            return best
        xp, fresh = namespace(x), stream.at("choice")
        best_loss = _rank(target, best, labels, fresh)
        for restart in range(1, self.restarts):
            x_adv = self._climb(target, x, labels, stream.at("restart", restart))
            loss = _rank(target, x_adv, labels, fresh)
            best = xp.where(each(loss > best_loss), x_adv, best)
            best_loss = xp.maximum(loss, best_loss)
        return best

    def _climb(self, target: Target, x: Array, labels: Array, stream: Stream) -> Array:
        start = self.ball.random(x, stream.at("start")) if self.random_start else x
        return climbed(target, start, x, labels, stream, ball=self.ball, steps=self.steps, step_size=self.step_size)


def climbed(
    target: Target, start: Array, x: Array, labels: Array, stream: Stream, *, ball: Ball, steps: int, step_size: float
) -> Array:
    """Where steps along the steepest direction lead that are projected into the ball round x.

    target: loss that is ascended, asked on `stream.at("step", k)` at step k.
    start: where the steps begin, of the shape of x.
    """
    x_adv = start
    for step in range(steps):
        _, gradient = target(x_adv, labels, stream.at("step", step))
        x_adv = ball.project(x_adv + step_size * ball.steepest(gradient), x)
    return x_adv


def _rank(target: Target, x: Array, labels: Array, stream: Stream) -> Array:
    """The loss, by which restarts are compared; a NaN, which compares with nothing, is the least."""
    loss, _ = target(x, labels, stream)
    xp = namespace(loss)
    return xp.where(xp.isnan(loss), -xp.inf, loss)


class Setting(InBall):
    """An attack that is a setting of `GradientAttack`."""

    on_device = True
    climbs = True

    if TYPE_CHECKING:

        @property
        def general(self) -> GradientAttack:
            """The same attack in its general form."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.general
        check_types(self)

    def passes(self, target: Target) -> int:
        """Forward and backward passes for one image."""
        return self.general.passes(target)

    def __call__(self, target: Target, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        return self.general(target, x, labels, stream)


@attack("fgsm")
@dataclass(frozen=True)
class FGSM(Setting):
    """One step of the whole length eps.

    eps: radius, and length of the step, in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    source: where its gradients come from.
    """

    source: Source = DRAWN

    offer = Offer(
        "FGSM: one step of length eps.",
        adaptive="FGSM on the closed form of the randomised network (noise paper Sec. 4).",
    )

    @property
    def general(self) -> GradientAttack:
        return GradientAttack(self.ball, 1, self.eps, source=self.source)


@attack("bim")
@dataclass(frozen=True)
class BIM(Setting):
    """`steps` steps of eps / steps from the image itself.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of gradient steps.
    source: where its gradients come from.
    """

    steps: int = 20
    source: Source = DRAWN

    offer = Offer("BIM: --steps steps, each eps/steps long.")

    @property
    def general(self) -> GradientAttack:
        return GradientAttack(self.ball, self.steps, _each(self.eps, self.steps), source=self.source)


@attack("pgd")
@dataclass(frozen=True)
class PGD(Setting):
    """`steps` steps of 2.5 eps / steps from a random point of the ball: long enough to reach any corner (audit A24).

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of gradient steps.
    restarts: number of random starts. Each image keeps that of the highest loss.
    source: where its gradients come from.
    """

    steps: int = 20
    restarts: int = 1
    source: Source = DRAWN

    offer = Offer(
        "PGD: --steps steps from a random point, each 2.5 eps/steps long.",
        adaptive="PGD on the closed form.",
    )

    @property
    def general(self) -> GradientAttack:
        length = _each(2.5 * self.eps, self.steps)
        return GradientAttack(self.ball, self.steps, length, True, self.restarts, self.source)


def fgsm(eps: float, norm: str = "linf") -> FGSM:
    """`FGSM`, by the name of a function."""
    return FGSM(eps, norm)


def bim(eps: float, norm: str = "linf", steps: int = 20) -> BIM:
    """`BIM`, by the name of a function."""
    return BIM(eps, norm, steps)


def pgd(eps: float, norm: str = "linf", steps: int = 20, restarts: int = 1) -> PGD:
    """`PGD`, by the name of a function."""
    return PGD(eps, norm, steps, restarts)


def _each(length: float, steps: int) -> float:
    """The length of a step."""
    check_count("steps", steps)
    return length / steps
