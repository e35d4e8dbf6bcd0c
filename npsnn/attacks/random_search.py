"""Random search in the ball: what an adversary without a gradient finds by trying."""

from dataclasses import dataclass, replace

from npsnn.attacks.balls import each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.streams import Randomness
from npsnn.validate import check_count, check_types


@attack("random")
@dataclass(frozen=True)
class RandomSearch(InBall):
    """Of `samples` points, uniform in the ball, the one that most of `draws` fresh draws misread; the first of equals.

    A network that errs by itself is misread in some of so many tries without any perturbation: `control` tries the
    clean image as often, under the same draws.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    samples: number of points.
    draws: number of fresh draws on which each point is judged.
    Source: A2SNN Sec. 4.5, criterion 4, which has 10,000 samples and no control.
    """

    samples: int = 1000
    draws: int = 1

    forward_only = True
    on_device = True
    offer = Offer("Random search: the point of the ball misread most often; also the search without perturbation.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("samples", "draws"):
            check_count(name, getattr(self, name))
        check_types(self)

    def control(self) -> "RandomSearch":
        """The same search without a perturbation."""
        return replace(self, eps=0.0)

    def passes(self, target: Queried) -> int:
        """Forward passes for one image."""
        return self.samples * target.looks(self.draws)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        xp = namespace(x)
        worst, most = x, xp.full(len(x), -1.0)
        for sample in range(self.samples):
            point = self.ball.random(x, stream.at("sample", sample))
            misread = target.misread(point, labels, self.draws, stream.at("judge", sample))
            worse = misread > most
            worst = xp.where(each(worse), point, worst)
            most = xp.maximum(most, misread)
        return worst
