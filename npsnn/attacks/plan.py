"""Which attacks to run on a network, and how: what they are called, their strengths and their targets."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from npsnn.attacks import projected as gradient
from npsnn.attacks.balls import Ball, Limit, check_linf
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import NetworkTarget, Queried, closed_form, expectation, sampled
from npsnn.classifier import Classifier, named
from npsnn.objectives import OBJECTIVES, losses
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.validate import check_count, check_sigma, check_types

ATTACKS = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd")
"""Those that run where none is named."""
ON_REQUEST = ("random", "one-pixel", "adaptive-one-pixel", "cw", "adaptive-cw")
_PLAIN = {"one-pixel": "cross-entropy", "cw": "margin"}
"""What C&W and One-Pixel ascend on logits without a variance."""
RADII = {"linf": (0.1, 0.2, 0.3), "l2": (0.5, 1.0, 2.0)}
"""The radii at which attacks run where none is named, by norm: in Linf the noise paper's."""
_WALKING = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd", "random")
_USERS = {
    "eps": _WALKING,
    "norm": _WALKING,
    "steps": ("bim", "pgd", "adaptive-pgd"),
    "restarts": ("pgd", "adaptive-pgd"),
}
_USERS |= {"eot": ("fgsm", "bim", "pgd", "one-pixel", "cw"), "objective": ("adaptive-fgsm", "adaptive-pgd")}
_USERS |= {
    "propagation": ("adaptive-fgsm", "adaptive-pgd", "adaptive-one-pixel", "adaptive-cw"),
    "samples": ("random",),
}
_USERS |= dict.fromkeys(("pixels", "population", "generations"), ("one-pixel", "adaptive-one-pixel"))
_USERS |= dict.fromkeys(("kappa", "cw_steps", "cw_lr", "cw_constant", "cw_searches"), ("cw", "adaptive-cw"))
"""The attacks that an option acts on, where it does not act on all."""
_LEAST = {"steps": 1, "restarts": 1, "eot": 0, "draws": 1, "samples": 1, "population": 5, "generations": 1}
_LEAST |= {"cw_steps": 1, "cw_searches": 1}


class Attack(Protocol):
    """What `run` runs: one micro-batch of images in, adversarial ones within `ball` out."""

    @property
    def ball(self) -> Limit: ...

    def passes(self, target: Queried) -> int: ...

    def __call__(self, target: Queried, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray: ...


@dataclass(frozen=True)
class Plan:
    """Which attacks to run, and how.

    sigma: the defender's noise at inference (None: the network's own; 0: the expectation network). average: the draws
    whose logits it averages for one answer (None: the network's own); a draw below is such an answer. eot: the draws a
    plain attack averages its gradient over (0: it attacks the network without noise, and transfers). draws: fresh
    draws on which success is judged. objective and propagation are the adaptive attacks', as in `closed_form`; those
    of C&W and One-Pixel always ascend the least margin in standard deviations.
    eps: the radii of the ball, in units of the [0, 1] pixel (None: `RADII` of the norm).
    samples: of random search at each eps. pixels: the pixels that One-Pixel may change, a run each. kappa: the
    confidences of C&W, a run each, in logits, and for adaptive-cw in standard deviations; as `CarliniWagner` the rest.
    """

    attacks: tuple[str, ...] = ATTACKS
    eps: tuple[float, ...] | None = None
    norm: str = "linf"
    steps: int = 20
    restarts: int = 1
    eot: int = 10
    draws: int = 10
    sigma: float | None = None
    average: int | None = None
    objective: str | None = None
    propagation: str = "exact"
    seed: int = 0
    samples: int = 1000
    pixels: tuple[int, ...] = (1,)
    population: int = OnePixel.population
    generations: int = OnePixel.generations
    kappa: tuple[float, ...] = (0.0,)
    cw_steps: int = CarliniWagner.steps
    cw_lr: float = CarliniWagner.lr
    cw_constant: float = CarliniWagner.constant
    cw_searches: int = CarliniWagner.searches

    def __post_init__(self) -> None:
        check_types(self)
        if self.eps is None:
            object.__setattr__(self, "eps", RADII.get(self.norm, RADII["linf"]))
        self._check_numbers()
        for name in (*self.attacks, *ATTACKS, *ON_REQUEST):
            for strength in self.strengths(name):
                self.attack(name, strength)
        if self.objective is not None:
            named({name: OBJECTIVES[name] for name in losses()}, self.objective, "objective")
        named(RULES, self.propagation, "propagation")
        if self.sigma is not None:
            check_sigma(self.sigma)
        if self.average is not None:
            check_count("average", self.average)

    def _check_numbers(self) -> None:
        for name in ("attacks", "eps", "pixels", "kappa"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one, got {getattr(self, name)}")
        if self.norm == "linf":
            check_linf(max(self.radii))
        for name, low in _LEAST.items():
            check_count(name, getattr(self, name), low)
        for name in ("cw_lr", "cw_constant"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be > 0 and finite, got {getattr(self, name)!r}")

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii of the ball."""
        return self.eps or ()

    def unused(self, options: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Those of the named options that no attack of the plan heeds, each with the attacks that would."""
        users = {name: _USERS[name] for name in options if name in _USERS}
        return {name: would for name, would in users.items() if not set(would) & set(self.attacks)}

    def defended(self, classifier: Classifier) -> Classifier:
        """The network with the noise and the averaging it keeps at inference."""
        noisy = classifier if self.sigma is None else classifier.with_sigma(self.sigma)
        return noisy if self.average is None else noisy.averaging(self.average)

    def strengths(self, name: str) -> tuple[float, ...]:
        """What the named attack is run at: numbers of pixels, kappas or eps."""
        return {"one-pixel": self.pixels, "cw": self.kappa}.get(_kind(name), self.radii)

    def runs(self) -> list[tuple[str, float]]:
        """Each attack with each of its strengths, once; those of one ball together, then One-Pixel's, then C&W's."""
        kinds = ("one-pixel", "cw")
        alone = [[name for name in self.attacks if _kind(name) == kind] for kind in kinds]
        groups = [[name for name in self.attacks if _kind(name) not in kinds], *alone]
        every = ((name, s) for group in groups if group for s in self.strengths(group[0]) for name in group)
        return list(dict.fromkeys(every))

    def attack(self, name: str, strength: float) -> Attack:
        """The named attack at an eps, a number of pixels or a kappa; ValueError for an unknown name."""
        kind, norm = _kind(name), self.norm
        if kind == "fgsm":
            return gradient.fgsm(strength, norm)
        if kind == "bim":
            return gradient.bim(strength, norm, self.steps)
        if kind == "pgd":
            return gradient.pgd(strength, norm, self.steps, self.restarts)
        if kind == "random":
            return RandomSearch(Ball(norm, strength), self.samples, self.draws)
        if kind == "one-pixel":
            if strength != int(strength):
                raise ValueError(f"pixels must be a whole number, got {strength!r}")
            return OnePixel(int(strength), self.population, self.generations, draws=self.draws)
        return CarliniWagner(strength, self.cw_steps, self.cw_lr, self.cw_constant, self.cw_searches, self.draws)

    def target(self, name: str, defended: Classifier) -> NetworkTarget:
        """What the named attack takes the gradient of, or asks for values."""
        kind, noisy = _kind(name), defended.random
        adaptive, objective = kind != name, self.objective
        if kind in _PLAIN:
            # without noise there are no standard deviations to measure a margin in
            adaptive = adaptive and noisy
            objective = "least-win-probability" if adaptive else _PLAIN[kind]
        if adaptive:
            return closed_form(defended, objective, self.propagation)
        plain = _PLAIN.get(kind, "cross-entropy")
        return sampled(defended, self.eot, plain) if self.eot and noisy else expectation(defended, plain)


def _kind(name: str) -> str:
    """The attack without what it attacks; ValueError for an unknown name."""
    known = (*ATTACKS, *ON_REQUEST)
    if name not in known:
        raise ValueError(f"attack must be one of {', '.join(known)}, got {name!r}")
    return name.removeprefix("adaptive-")
