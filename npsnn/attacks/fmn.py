"""FMN: the nearest misread image, by steps in a ball whose radius follows the border."""

from dataclasses import dataclass
from math import cos, inf, pi

from npsnn.attacks.balls import Limit, _flat, each
from npsnn.attacks.base import Attack, Offer, attack
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.objectives import BORDERS
from npsnn.streams import Randomness
from npsnn.validate import check_choice, check_count, check_types

STEP = (1.0, 0.01)
"""The length of the first step and of the last, in L2."""
CHANGE = (0.05, 0.001)
"""The part by which a radius shrinks or grows at the first step and at the last."""


@attack("fmn")
@dataclass(frozen=True)
class FMN(Attack):
    """FMN: the nearest misread image in any norm, by gradient steps in a ball whose radius follows the border.

    x_{k+1} = project(x_k + a g/|g|₂) on the ball of radius e round x, then on the box, where g is the gradient of the
    margin. Where x_k is misread, e becomes min(e (1 - c), the nearest distance so far). Elsewhere e becomes e (1 + c),
    and until the image was ever misread no less than |x_k - x| + |margin| / |g|, the distance to the linearised border.
    In L0, e changes by at least one pixel, from 0 on. a falls from 1 to 0.01 and c from 0.05 to 0.001, both along half
    a cosine.

    An image counts as misread where the margin is above `kappa`: at 0 where the largest logit is not the label's. On
    draws of the noise it is the mean margin of one set of draws, the same for every step, so that no step is luckier
    than another. The nearest misread image is returned; where none is, the clean image.

    kappa: the margin beyond the border, >= 0, in logits, or in standard deviations of the noise on the closed form.
    norm: "linf", "l2", "l1" or "l0", in which the distance is least. "l0" counts pixels.
    steps: number of gradient steps.
    source: where its gradients come from. Its objective must be one of `npsnn.objectives.BORDERS`: by default `margin`,
        and `least-win-probability` on the closed form.
    Source: Pintor, Roli, Brendel and Biggio 2021 (arXiv 2102.12827), Algorithm 1. The projections are Euclidean: in L1
    Duchi et al. 2008, in L0 the pixels that change most, here with all their channels. kappa is npsnn's own. So is the
    growth of e until the image is misread. By the linear estimate alone, as the authors have it, a third of the images
    of a LeNet-5 stay on this side of the border in L2 and L1.
    """

    kappa: float = 0.0
    norm: str = "linf"
    steps: int = 200
    source: Source = DRAWN

    ascends = Ascends("margin", closed_form="least-win-probability", among=BORDERS)
    on_device = True
    offer = Offer(
        "FMN: the nearest image in any norm misread by a margin of --kappa logits, in --fmn-steps steps.",
        adaptive="FMN on the closed form. --kappa is in standard deviations of the noise.",
        strengths="kappa",
        options={"steps": "fmn_steps"},
    )

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, tuple(_PROJECTIONS))
        check_count("steps", self.steps)
        check_types(self)
        if not 0 <= self.kappa < inf:
            raise ValueError(f"kappa must be >= 0 and finite, got {self.kappa!r}")

    @property
    def ball(self) -> Limit:
        """Without a limit: it looks for the nearest."""
        return Limit(self.norm, inf)

    @property
    def says(self) -> dict[str, float]:
        """Its confidence: it has no radius."""
        return {"kappa": self.kappa}

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        xp, ball, draws = namespace(x), self.ball, stream.at("draws")
        clean = x.astype(xp.float64)
        farthest = ball.size(xp.maximum(clean, 1 - clean))
        here, best, nearest = x, x, xp.full(len(x), inf)
        radius = xp.full(len(x), 0.0 if self.norm == "l0" else inf)
        for step in range(self.steps):
            margin, share, g = target.looked(here, labels, draws)
            misread = margin > self.kappa
            if self.kappa == 0:
                misread = misread | (share > 0.5)
            delta = here.astype(xp.float64) - clean
            distance = ball.size(delta)
            nearer = misread & (distance < nearest)
            best, nearest = xp.where(each(nearer), here, best), xp.where(nearer, distance, nearest)
            if step == self.steps - 1:
                break
            along = (1 + cos(pi * step / self.steps)) / 2
            length, change = (last + (first - last) * along for first, last in (STEP, CHANGE))
            direction, slope = _slope(self.norm, g)
            estimate = distance + xp.where(slope > 0, xp.abs(margin - self.kappa) / xp.where(slope > 0, slope, 1), inf)
            radius = _next(self.norm, radius, misread, nearest, estimate, change)
            radius = xp.fmin(radius, farthest)
            moved = _PROJECTIONS[self.norm](delta + length * direction, radius)
            here = xp.clip(clean + moved, 0, 1).astype(x.dtype)
        return best


def _next(norm: str, radius: Array, misread: Array, nearest: Array, estimate: Array, change: float) -> Array:
    """The radius of the next step."""
    xp = namespace(radius)
    if norm == "l0":
        less = xp.minimum(radius - 1, xp.floor(radius * (1 - change)))
        more = xp.maximum(radius + 1, xp.floor(radius * (1 + change)))
        return xp.where(misread, xp.maximum(xp.minimum(less, nearest), 0), more)
    less, more = xp.minimum(radius * (1 - change), nearest), radius * (1 + change)
    first = xp.where(radius < inf, xp.fmax(more, estimate), estimate)
    return xp.where(misread, less, xp.where(nearest < inf, more, first))


def _slope(norm: str, g: Array) -> tuple[Array, Array]:
    """g over its length in L2, and how much the margin rises over a distance of 1: the dual norm of g, (N,).

    Of a gradient of 0 both are 0.
    """
    xp = namespace(g)
    flat = _flat(g).astype(xp.float64)
    largest = xp.abs(flat).max(axis=1)
    scaled = flat / xp.where(largest > 0, largest, 1)[:, None]
    size = xp.sqrt((scaled * scaled).sum(axis=1))
    dual = {"linf": xp.abs(scaled).sum(axis=1), "l2": size, "l1": 1.0, "l0": 1.0}[norm] * largest
    return (scaled / xp.where(size > 0, size, 1)[:, None]).reshape(g.shape), dual


def _onto_linf(delta: Array, radius: Array) -> Array:
    return namespace(delta).clip(delta, -each(radius), each(radius))


def _onto_l2(delta: Array, radius: Array) -> Array:
    xp = namespace(delta)
    size = xp.sqrt((_flat(delta) ** 2).sum(axis=1))
    return delta * each(xp.where(size > radius, radius / xp.where(size > 0, size, 1), 1))


def _onto_l1(delta: Array, radius: Array) -> Array:
    """Every entry is less by one threshold for each image, at which the absolute values add up to the radius."""
    xp = namespace(delta)
    flat = _flat(delta)
    falling = -xp.sort(-xp.abs(flat), axis=1)
    excess = (xp.cumsum(falling, axis=1) - radius[:, None]) / xp.arange(1, flat.shape[1] + 1)
    left = xp.maximum((falling > excess).sum(axis=1), 1) - 1
    threshold = xp.maximum(xp.take_along_axis(excess, left[:, None], axis=1), 0)
    return (xp.sign(flat) * xp.maximum(xp.abs(flat) - threshold, 0)).reshape(delta.shape)


def _onto_l0(delta: Array, radius: Array) -> Array:
    """Of the pixels, as many as the radius keep their change: those whose change is longest."""
    xp = namespace(delta)
    length = _flat((delta * delta).sum(axis=1))
    rank = xp.argsort(xp.argsort(-length, axis=1, kind="stable"), axis=1, kind="stable")
    kept = (rank < radius[:, None]).reshape(len(delta), 1, *delta.shape[2:])
    return delta * kept


_PROJECTIONS = {"linf": _onto_linf, "l2": _onto_l2, "l1": _onto_l1, "l0": _onto_l0}
"""The nearest points, in L2, of balls round 0 of a radius (N,) for each image."""
