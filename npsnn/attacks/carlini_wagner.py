"""Carlini and Wagner's attack: the nearest image, in L2, that the network misreads with some confidence."""

from dataclasses import dataclass
from math import inf

import numpy as np

from npsnn.attacks.balls import Limit, each
from npsnn.attacks.base import Attack, Offer, attack
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, Target, given
from npsnn.backend import Array, namespace
from npsnn.layers.moments import Moments
from npsnn.objectives import BORDERS, margin
from npsnn.optim import Adam
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_count, check_types

ANYWHERE = Limit("l2", inf)
INSIDE = 1 - 1e-6
"""Pixels of 0 and 1 have an infinite ω: they start this close to it."""
MEMORY = 0.9
"""Of a running mean of the margin, where each step draws noise of its own: one step's would be chosen for its luck."""


def boxed(omega: Array) -> Array:
    """x + δ = (tanh ω + 1)/2, in [0, 1] for every ω (audit A2)."""
    return (namespace(omega).tanh(omega) + 1) / 2


def hinged(margins: Array, kappa: float) -> Array:
    """max(margin, -κ): nothing is gained by more confidence than κ."""
    return namespace(margins).maximum(margins, -kappa)


def margin_loss(logits: np.ndarray, k: int, kappa: float) -> float:
    """max(h_k - max_{i≠k} h_i, -κ) of one image's logits, (classes,), and its label k (audit A2)."""
    lead, _ = margin(Moments(np.asarray(logits)[:, None]), np.array([k]))
    return float(hinged(-lead, kappa)[0])


def next_constants(c: Array, low: Array, high: Array, success: Array) -> tuple[Array, Array, Array]:
    """One step of each image's binary search: c and its bounds; ten times c while nothing has succeeded (audit A2)."""
    xp = namespace(c)
    low, high = xp.where(success, low, xp.maximum(low, c)), xp.where(success, xp.minimum(high, c), high)
    return xp.where(xp.isinf(high), 10 * c, (low + high) / 2), low, high


@attack("cw")
@dataclass(frozen=True)
class CarliniWagner(Attack):
    """Minimises ‖δ‖₂² + c max(margin, -κ) over ω, x + δ = (tanh ω + 1)/2, by Adam; c by each image's binary search.

    Each search offers its nearest image of confidence κ. The image counts if enough of some fresh draws misread it, and
    the nearest that counts is returned. Where none does, the clean image is. At κ = 0 noise misreads an image on the
    boundary half the time, so a share of ½ is met by luck (audit A30). The objective of the source must be a margin:
    by default `margin`, and `least_win_probability` on the closed form.

    kappa: the confidence κ >= 0, in logits, or in standard deviations of the noise on the closed form.
    steps: number of steps of Adam for each c.
    lr: Adam's learning rate.
    constant: the first c.
    searches: number of constants that are tried.
    draws: number of fresh draws that judge an image.
    share: part of the draws that must misread an image, > 0 and at most 1.
    source: where its gradients come from.
    Source: Carlini and Wagner 2017, A2SNN Sec. 2.1 as derived (audit A2). The defaults are quicker than A2SNN's, and
    find nearer images where pixels are black or white; `paper` has A2SNN's.
    """

    kappa: float = 0.0
    steps: int = 200
    lr: float = 0.05
    constant: float = 1.0
    searches: int = 6
    draws: int = 10
    share: float = 0.5
    source: Source = DRAWN

    ascends = Ascends("margin", closed_form="least-win-probability", among=BORDERS)
    on_device = True
    offer = Offer(
        "C&W (Carlini and Wagner): the nearest image in L2 misread with a confidence of --kappa logits.",
        adaptive="C&W on the closed form. --kappa is in standard deviations of the noise.",
        strengths="kappa",
        options={"steps": "cw_steps", "lr": "cw_lr", "constant": "cw_constant", "searches": "cw_searches"},
    )

    def __post_init__(self) -> None:
        for name in ("steps", "searches", "draws"):
            check_count(name, getattr(self, name))
        check_types(self)
        for name in ("lr", "constant"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be > 0 and finite, got {getattr(self, name)!r}")
        if not 0 <= self.kappa < inf:
            raise ValueError(f"kappa must be >= 0 and finite, got {self.kappa!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be > 0 and at most 1, got {self.share!r}")

    @staticmethod
    def paper(kappa: float) -> "CarliniWagner":
        """A2SNN's settings (Sec. 4.1)."""
        return CarliniWagner(kappa, steps=1000, lr=5e-4, constant=1e-3, searches=9)

    @property
    def ball(self) -> Limit:
        """Without a limit: it looks for the nearest."""
        return ANYWHERE

    @property
    def says(self) -> dict[str, float]:
        """Its confidence: it has no radius."""
        return {"kappa": self.kappa}

    def passes(self, target: Target) -> int:
        """Forward and backward passes for one image, without those of the judging."""
        return self.steps * self.searches * target.passes

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the box."""
        x, labels, stream = given(target, x, labels, stream)
        xp = namespace(x)
        clean = stream.at("clean")
        there = -target.value(x, labels, clean.at("margin")) <= -self.kappa
        found = there & self._misread(target, x, labels, clean)
        best, nearest = x, xp.where(found, 0, xp.full(len(x), inf))
        c, low, high = xp.full(len(x), self.constant), xp.zeros(len(x)), xp.full(len(x), inf)
        for search in range(self.searches):
            own = stream.at("search", search)
            candidate, distance = self._descend(target, x, labels, c, own)
            success = xp.isfinite(distance) & self._misread(target, candidate, labels, own)
            nearer = success & (distance < nearest)
            best, nearest = xp.where(each(nearer), candidate, best), xp.where(nearer, distance, nearest)
            c, low, high = next_constants(c, low, high, success)
        return best

    def _misread(self, target: Queried, x: Array, labels: Array, stream: Stream) -> Array:
        return target.misread(x, labels, self.draws, stream.at("fresh")) >= self.share

    def _descend(self, target: Queried, x: Array, labels: Array, c: Array, stream: Stream) -> tuple[Array, Array]:
        """The nearest image of confidence κ on the way down, for each c, and its distance; infinite where none is."""
        xp = namespace(x)
        adam, params = Adam(), {"omega": xp.arctanh((2 * x.astype(xp.float64) - 1) * INSIDE)}
        state = adam.init(params)
        candidate, nearest, running = x, xp.full(len(x), inf), None
        for step in range(self.steps):
            inside = boxed(params["omega"])
            x_adv = inside.astype(x.dtype)
            delta = x_adv.astype(xp.float64) - x
            lead, g = target(x_adv, labels, stream.at("step", step))
            margins = -lead
            running = margins if running is None or not target.random else MEMORY * running + (1 - MEMORY) * margins
            distance = ANYWHERE.size(delta)
            nearer = (running <= -self.kappa) & (distance < nearest)
            candidate, nearest = xp.where(each(nearer), x_adv, candidate), xp.where(nearer, distance, nearest)
            weight = c * (hinged(margins, self.kappa) > -self.kappa)
            downhill = 2 * delta - each(weight) * xp.where(xp.isfinite(g), g, 0)
            slopes = {"omega": downhill * 2 * inside * (1 - inside)}
            params, state = adam.update(params, slopes, state, self.lr, step + 1)
        return candidate, nearest
