"""SPSA: projected steps along a gradient that is estimated by differences, as a control of gradients."""

from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import Any

import numpy as np

from npsnn.attacks.balls import each
from npsnn.attacks.base import InBall, Offer, attack
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.optim import Adam
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types


@attack("spsa")
@dataclass(frozen=True)
class SPSA(InBall):
    """SPSA: PGD with gradients estimated by differences, and steps by Adam.

    The gradient is the mean over directions r of (L(x + delta r) - L(x - delta r)) r / (2 delta), where r has random
    signs. Where no gradient is masked it finds what PGD finds. Both sides of a difference meet the same draws of the
    noise, each direction others.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of steps.
    directions: number of directions for each step; each takes two forward passes.
    delta: how far the two sides are from the image, in units of the [0, 1] pixel.
    lr: Adam's rate; None for 2.5 eps / steps, over the root of the number of pixels in L2.
    source: where its losses come from.
    Source: Uesato, O'Donoghue, van den Oord and Kohli 2018, Sec. 4.2, whose rate is 0.01 at 8/255. Here both sides are
    cut to the box.
    """

    steps: int = 100
    directions: int = 128
    delta: float = 0.01
    lr: float | None = None
    source: Source = DRAWN

    ascends = Ascends("margin", closed_form="least-win-probability")
    forward_only = True
    on_device = True
    offer = Offer(
        "SPSA: --steps steps along a gradient that forward passes estimate.",
        adaptive="SPSA on the closed form.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "directions"):
            check_count(name, getattr(self, name))
        check_types(self)
        for name in ("delta", "lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise ValueError(f"{name} must be > 0 and finite, got {value!r}")

    def passes(self, target: Queried) -> int:
        """Forward passes for one image at most."""
        return (2 * self.directions * self.steps + self.steps + 2) * target.passes

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        xp = namespace(x)
        # a target of one's own need not say it
        stops = bool(getattr(target, "certain", False) and getattr(target, "signed", False))
        end = stream.at("end")
        clean = target.value(x, labels, end)
        active = (clean <= 0) | (not stops)
        found = self._climb(target, x, labels, stream, active, stops)
        return xp.where(each(target.value(found, labels, end) > clean), found, x)

    def _climb(self, target: Queried, x: Array, labels: Array, stream: Stream, active: Array, stops: bool) -> Array:
        """The images after all steps, (N, C, H, W).

        active: which images move at all.
        stops: whether an image that is misread is done.
        """
        xp, adam, x_adv = namespace(x), Adam(), x
        state = adam.init({"x": x.astype(xp.float64)})
        size = 1.0 if self.norm == "linf" else sqrt(prod(x.shape[1:]))
        lr = 2.5 * self.eps / self.steps / size if self.lr is None else self.lr
        for step in range(self.steps):
            left: Any = slice(None)
            own = stream.at("step", step)
            if xp is np:  # a GPU asks about all, as one that picks has to be waited for
                left = np.flatnonzero(active)
                if not len(left):
                    break
                own = own.chosen(left)
            slope = xp.zeros(x.shape, xp.float64)
            slope[left] = -self._estimated(target, x_adv[left], labels[left], own)
            moved, state = adam.update({"x": x_adv.astype(xp.float64)}, {"x": slope}, state, lr, step + 1)
            x_adv = xp.where(each(active), self.ball.project(moved["x"].astype(x.dtype), x), x_adv)
            if stops:
                active = active.copy()
                active[left] &= target.value(x_adv[left], labels[left], own.at("look")) <= 0
        return x_adv

    def _estimated(self, target: Queried, x: Array, labels: Array, stream: Stream) -> Array:
        """The mean of the differences along random directions, float64, of the shape of x; 0 for what is not finite."""
        xp = namespace(x)
        like, slope = xp.empty((*x.shape[1:], len(x)), xp.float32), xp.zeros(x.shape, xp.float64)
        delta = xp.asarray(self.delta, x.dtype)
        for direction in range(self.directions):
            up = xp.moveaxis(stream.at("signs", direction).uniform(like), -1, 0) < 0.5
            draw = stream.at("draw", direction)
            sides = (xp.clip(x + xp.where(up, a, -a), 0, 1) for a in (delta, -delta))
            above, below = (target.value(side, labels, draw) for side in sides)
            change = each((above - below) / (2 * self.delta))
            slope += xp.where(xp.isfinite(change), xp.where(up, change, -change), 0)
        return slope / self.directions
