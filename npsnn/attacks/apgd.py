"""APGD: projected steps with momentum that choose their length by themselves, and the version that aims at classes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf

import numpy as np

from npsnn.attacks.aims import likeliest, number
from npsnn.attacks.balls import Ball, each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.sparse_walks import RADII, by_sparse_steps
from npsnn.attacks.targets import Queried, given
from npsnn.attacks.walks import COMPARED, by_draws, by_loss, checkpoints
from npsnn.backend import Array, namespace
from npsnn.objectives import TARGETED
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types


@dataclass(frozen=True)
class _Walking(InBall):
    """What APGD and APGD-T have in common; every whole number of theirs is a count."""

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        for f in fields(self):
            if f.type is int:
                check_count(f.name, getattr(self, f.name))
        check_types(self)

    @property
    def climbs(self) -> bool:  # type: ignore[override]
        """Whether the steps raise one loss: in L1 the loss falls with the radius."""
        return self.norm != "l1"


@attack("apgd")
@dataclass(frozen=True)
class APGD(_Walking):
    """APGD: steps that are halved, image by image, where the loss no longer rises, and that then go on from the best.

    With u = project(x_k + s · steepest(gradient)), x_{k+1} = project(x_k + 0.75 (u - x_k) + 0.25 (x_k - x_{k-1})), from
    a random point and with s = 2 eps. At each of the `checkpoints` s is halved, and the walk goes on from the best
    point so far, where fewer than 0.75 of the steps since the last checkpoint raised the loss, or where s was not
    halved then and the best loss is what it was. The result is the best point.

    Where a look is certain (a network without noise, or a known draw), an image is done once it is misread, and that
    point is the result. Where the loss is that of draws of the noise, the loss of a step is luck: at each checkpoint
    the best point so far, the present one and the mean of the points since the last checkpoint are compared on one set
    of fresh draws. The walk goes on from the best of the three, and s is halved at every checkpoint: late, small steps
    average the noise of the gradients. The best point is the clean image at first, and the last checkpoint is the end.

    In L1, where the loss is sure, a step moves few entries, equally far: a fifth of them at first, and later two thirds
    of as many as the best point has changed. There is no momentum. After each 25th part of the steps s is 1.5 times
    shorter, from the radius down to a tenth; where the best point has come to change fewer entries, s is the radius
    again, and the walk goes on from the best point. The radius is 3 eps and 2 eps for 30 % of the steps each, and then
    eps: the points within eps alone are results, and misreading ends the walk there alone.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf", "l2" or "l1".
    steps: number of gradient steps.
    restarts: number of random starts. Each image keeps that of the highest loss, of draws on noise that no start has
        seen.
    source: where its gradients come from.
    Source: Croce and Hein 2020a (arXiv 2003.01690), Algorithm 1. Their code departs from it, which this does not:
    "fewer" is "at most" there, the first comparison is not with the loss of x_0, there is no second condition at the
    first checkpoint, and short attacks have other checkpoints. As printed, the step after a return to the best point
    goes on from the point before the return by its momentum. L1: Croce and Hein 2021 (arXiv 2103.01208). The rule on
    draws of the noise is npsnn's own.
    """

    restarts: int = 1
    source: Source = DRAWN

    on_device = True
    offer = Offer(
        "APGD: --apgd-steps steps that choose their own length.",
        adaptive="APGD on the closed form.",
        options={"steps": "apgd_steps"},
    )

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image, at most."""
        return _passes(target, self.norm, self.steps, self.restarts)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        clean = target.answers(x, stream.at("clean")) if target.certain and len(x) else None
        return _Starts(self.ball, self.steps, target, target).best(x, labels, [labels] * self.restarts, stream, clean)


@attack("apgd-t")
@dataclass(frozen=True)
class APGDT(_Walking):
    """APGD-T: APGD from one start for each of the classes that are likeliest after the label, to raise this class.

    The classes are those of the clean image's logits, and there are no more than the classes but one. Any misreading
    counts. An image keeps the start of the highest loss; on draws of the noise that which leaves the label the least
    mean probability, on draws that no start has seen. Where a look is certain, an image that is misread is done.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf", "l2" or "l1".
    steps: number of gradient steps of each start.
    targets: number of classes to aim at, at most.
    source: where its gradients come from. Its objective must be a targeted one: by default `targeted-dlr`,
        and on the closed form `targeted-win`.
    Source: Croce and Hein 2020a (arXiv 2003.01690), Sec. 4.1 and 5; their code asks for the likeliest classes anew at
    each start.
    """

    targets: int = 9
    source: Source = DRAWN

    ascends = Ascends("targeted-dlr", closed_form="targeted-win", among=TARGETED)
    on_device = True
    offer = Offer(
        "APGD-T: APGD aimed at the --targets likeliest classes other than the label, in turn.",
        adaptive="APGD-T on the closed form.",
        options={"steps": "apgd_steps"},
    )

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image, at most; of fewer classes than targets they are fewer."""
        return _passes(target, self.norm, self.steps, self.targets) + (0 if target.certain else target.passes)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        clean = target.answers(x, stream.at("clean"))
        judge = target.ascending("true-class-probability") if target.random else target
        starts = _Starts(self.ball, self.steps, target, judge)
        return starts.best(x, labels, likeliest(clean, labels, self.targets), stream, clean)


def _passes(target: Queried, norm: str, steps: int, starts: int) -> int:
    if not target.random:
        looks = len(RADII) if norm == "l1" else 1
        return (starts * (steps + looks) + target.certain) * target.passes
    compared = COMPARED * len(checkpoints(steps)) + (starts > 1)
    return starts * (steps + compared) * target.passes


@dataclass(frozen=True)
class _Starts:
    """Several starts of one attack, of which each image keeps the best.

    judge: the target whose value decides between starts where the loss is that of draws of the noise.
    """

    ball: Ball
    steps: int
    target: Queried
    judge: Queried

    def best(self, x: Array, labels: Array, aims: Sequence[Array], stream: Stream, clean: Array | None) -> Array:
        """The best point of each image; x itself where `clean`, the logits of x, are misread for certain.

        aims: the labels of each start, as its target takes them.
        """
        xp, certain = namespace(x), self.target.certain
        best, score = x, xp.full(len(x), -inf)
        if certain and clean is not None:
            score = xp.where(clean.argmax(axis=0) == labels, score, inf)
        for start, aimed in enumerate(aims):
            # a GPU computes batches of one size
            left = np.flatnonzero(score < inf) if certain and xp is np else range(len(x))
            if not len(left):
                break
            every = len(left) == len(x)
            here, own = slice(None) if every else left, stream if every else stream.chosen(left)
            found, loss = self._climb(x[here], aimed[here], own.at("restart", start))
            if self.target.random and len(aims) > 1:
                loss = number(self.judge.value(found, labels[here], own.at("choice")))
            if every:
                best = xp.where(each(loss > score), found, best)
                score = xp.maximum(loss, score)
            else:
                best = best.copy()
                better = loss > score[left]
                best[left[better]], score[left[better]] = found[better], loss[better]
        return best

    def _climb(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
        sure = by_sparse_steps if self.ball.norm == "l1" else by_loss
        climb = by_draws if self.target.random else sure
        return climb(self.ball, self.steps, self.target, x, labels, stream)
