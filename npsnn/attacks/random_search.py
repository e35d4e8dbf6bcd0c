"""Random search in the ball: what an adversary without a gradient finds by trying."""

from dataclasses import dataclass, replace

import numpy as np

from npsnn.attacks.balls import Ball
from npsnn.attacks.targets import Queried, given
from npsnn.streams import Randomness
from npsnn.validate import check_count


@dataclass(frozen=True)
class RandomSearch:
    """Of `samples` points, uniform in the ball, the one that most of `draws` fresh draws misread; the first of equals.

    A network that errs by itself is misread in some of so many tries without any perturbation: `control` tries the
    clean image as often, under the same draws.
    Source: A2SNN Sec. 4.5, criterion 4, which has 10,000 samples and no control.
    """

    ball: Ball
    samples: int = 1000
    draws: int = 1

    def __post_init__(self) -> None:
        for name in ("samples", "draws"):
            check_count(name, getattr(self, name))

    def control(self) -> "RandomSearch":
        """The same search without a perturbation."""
        return replace(self, ball=Ball(self.ball.norm, 0))

    def passes(self, target: Queried) -> int:
        """Forward passes for one image."""
        return self.samples * target.looks(self.draws)

    def __call__(self, target: Queried, x: np.ndarray, labels: np.ndarray, stream: Randomness) -> np.ndarray:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        worst, most = x, np.full(len(x), -1.0)
        for sample in range(self.samples):
            point = self.ball.random(x, stream.at("sample", sample))
            misread = target.misread(point, labels, self.draws, stream.at("judge", sample))
            worse = misread > most
            worst = np.where(worse[:, None, None, None], point, worst)
            most = np.maximum(most, misread)
        return worst
