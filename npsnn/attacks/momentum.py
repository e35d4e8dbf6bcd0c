"""MI-FGSM: steps along a running sum of gradients, for images that transfer to other networks."""

from dataclasses import dataclass
from math import inf

from npsnn.attacks.balls import each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.sources import DRAWN, Source
from npsnn.attacks.targets import Target, given
from npsnn.backend import Array, namespace
from npsnn.streams import Randomness
from npsnn.validate import check_count, check_types


@attack("mi-fgsm")
@dataclass(frozen=True)
class MomentumFGSM(InBall):
    """MI-FGSM: --steps steps, each eps/steps long, along g, where g ← decay g + gradient/|gradient|_1.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of gradient steps.
    decay: what is left of g after a step, >= 0.
    source: where its gradients come from.
    Source: Dong et al. 2018 (arXiv 1710.06081), Algorithm 1 and Eq. 6 to 8.
    """

    steps: int = 10
    decay: float = 1.0
    source: Source = DRAWN

    on_device = True
    climbs = True
    offer = Offer(adaptive="MI-FGSM on the closed form.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps)
        check_types(self)
        if not 0 <= self.decay < inf:
            raise ValueError(f"decay must be >= 0 and finite, got {self.decay!r}")

    def __call__(self, target: Target, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        xp, ball = namespace(x), self.ball
        x_adv, g = x, xp.zeros(x.shape)
        for step in range(self.steps):
            _, gradient = target(x_adv, labels, stream.at("step", step))
            # an image's sum over pixels is added in the same order, whatever the layout of its batch
            flat = xp.ascontiguousarray(gradient).reshape(len(x), -1)
            size = xp.abs(flat).sum(axis=1)
            g = self.decay * g + gradient / each(xp.where(size > 0, size, 1))
            x_adv = ball.project(x_adv + self.eps / self.steps * ball.steepest(xp.ascontiguousarray(g)), x)
        return x_adv
