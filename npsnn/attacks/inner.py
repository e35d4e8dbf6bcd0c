"""The attack inside of adversarial training: its steps, start and labels are what defences differ in."""

from dataclasses import dataclass

from npsnn.attacks.base import InBall, attack
from npsnn.attacks.projected import climbed
from npsnn.attacks.sources import EoT, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.layers.moments import Moments
from npsnn.ops.loss import divergence
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_choice, check_count, check_types

ONE_DRAW = EoT(1)
"""The source of an attack that is given none: one draw of the noise for each step."""
STARTS = ("uniform", "gauss", "none")
LABELS = ("true", "predicted", "soft")
SIZE = 0.001
"""The standard deviation of the start "gauss", in units of the [0, 1] pixel."""


@attack("inner")
@dataclass(frozen=True)
class Inner(InBall):
    """x ← project(x + step_size · steepest(gradient)), `steps` times: the attack that defences are trained on.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf", "l2" or "l1".
    steps: number of gradient steps.
    step_size: length of a step, in the norm.
    start: "uniform" is a random point of the ball, "gauss" is x + 0.001 N(0, I) projected into ball and box, "none" is
        x itself.
    labels: whose loss the steps raise. "true" are the labels that are given. "predicted" are the network's own answers
        to the clean images. "soft" are its probabilities p of the clean images: the steps raise KL(p || q), q the
        probabilities of the moving image, whatever the objective of the source.
    source: where its gradients come from; one draw of the noise for each step by default. The answers to the clean
        images have a draw of their own.
    Raises ValueError for labels "soft" with the start "none", where the divergence is flat.
    Source: Madry et al. 2018 (arXiv 1706.06083), uniform and true; Zhang et al. 2019 (arXiv 1901.08573), TRADES, gauss
        and soft; He et al. 2019 (arXiv 1811.09310), PNI, uniform and predicted.
    """

    steps: int = 10
    step_size: float = 2 / 255
    start: str = "uniform"
    labels: str = "true"
    source: Source = ONE_DRAW

    on_device = True
    climbs = True
    offer = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self)
        check_count("steps", self.steps)
        if not 0 <= self.step_size < float("inf"):
            raise ValueError(f"step_size must be >= 0 and finite, got {self.step_size!r}")
        check_choice("start", self.start, STARTS)
        check_choice("labels", self.labels, LABELS)
        if (self.start, self.labels) == ("none", "soft"):
            raise ValueError(
                "start must be uniform or gauss for the labels soft: their divergence is flat at the image"
            )

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image."""
        return (self.steps + (self.labels != "true")) * target.passes

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        if self.labels != "true":
            clean = target.answers(x, stream.at("clean"))
            if self.labels == "soft":
                target = target.ascending(Apart(clean))
            else:
                labels = clean.argmax(axis=0).astype(labels.dtype)
        start = self._start(x, stream.at("start"))
        return climbed(target, start, x, labels, stream, ball=self.ball, steps=self.steps, step_size=self.step_size)

    def _start(self, x: Array, stream: Stream) -> Array:
        if self.start == "none":
            return x
        if self.start == "uniform":
            return self.ball.random(x, stream)
        xp = namespace(x)
        return self.ball.project(x + SIZE * xp.moveaxis(stream.normal(xp.moveaxis(x, 0, -1)), -1, 0), x)


@dataclass(frozen=True, eq=False)
class Apart:
    """An objective of one micro-batch: KL(p || q), p the probabilities of logits that are held fixed.

    logits: of the images of the micro-batch, (classes, N).
    """

    logits: Array

    def __call__(self, m: Moments, labels: Array) -> tuple[Array, Moments]:
        value, _, by_mean = divergence(namespace(m.mean).asarray(self.logits, m.mean.dtype), m.mean)
        return value, Moments(by_mean)
