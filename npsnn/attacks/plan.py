"""The flat form of attacks that the command line and its config files have, and what it makes: values.

A `Plan` names attacks by the names of the table and says in one record how they run. `made` turns it into attacks and
`judging` into a `Judging`; nothing else knows the names.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from math import inf
from typing import Any

import numpy as np

from npsnn.attacks.balls import Ball, check_linf
from npsnn.attacks.base import ATTACKS, Offer, ask, taken
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.evaluation import Result, robust_accuracy
from npsnn.attacks.judging import Accuracy, Judging, Progress
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Source
from npsnn.classifier import Classifier
from npsnn.objectives import OBJECTIVES, losses
from npsnn.ops.gaussian import RULES
from npsnn.tables import named, nearest
from npsnn.validate import check_count, check_types

RADII = {"linf": (0.1, 0.2, 0.3), "l2": (0.5, 1.0, 2.0)}
"""The radii at which attacks run where none is named, by norm: in Linf the noise paper's."""
_EVERYBODYS = ("attacks", "draws", "sigma", "average", "seed")
"""The options that act on all attacks, or on none by itself."""
_LEAST = {"steps": 1, "restarts": 1, "eot": 0, "draws": 1, "samples": 1, "population": 5, "generations": 1}
_LEAST |= {"cw_steps": 1, "cw_searches": 1}


@dataclass(frozen=True)
class Choice:
    """An attack that a plan may name.

    kind: the class of the table.
    adaptive: whether it is the attack on the closed form.
    help: one line.
    by_default: whether it runs where none is named.
    """

    kind: type[Any]
    adaptive: bool
    help: str
    by_default: bool

    @property
    def offer(self) -> Offer:
        """How its class is offered."""
        return ask(self.kind, "offer") or Offer()

    def heeds(self, options: Iterable[str]) -> set[str]:
        """Those of the options that the attack heeds."""
        own = set(taken(self.kind, dict.fromkeys(options)).values())
        if any(f.name == "source" for f in fields(self.kind)):
            ascends = () if ask(self.kind, "ascends").closed_form else ("objective",)
            own |= {"propagation", *ascends} if self.adaptive else {"eot"}
        return own


def choices() -> dict[str, Choice]:
    """Every attack that a plan may name: first those that run where none is named, then by what their strength is."""
    order = [f.name for f in fields(Plan)]
    offered = [(name, kind, offer) for name, kind in ATTACKS.items() if (offer := ask(kind, "offer"))]
    offered.sort(key=lambda entry: order.index(entry[2].strengths) if entry[2].strengths in order else len(order))
    plain = {name: Choice(kind, False, o.help or _summary(kind), o.by_default) for name, kind, o in offered}
    closed = {f"adaptive-{n}": Choice(kind, True, o.adaptive, o.by_default) for n, kind, o in offered if o.adaptive}
    found = {name: choice for name, choice in (plain | closed).items() if choice.by_default}
    for name in plain:
        found |= {n: c for n, c in (plain | closed).items() if n in (name, f"adaptive-{name}")}
    return found


def _summary(kind: type[Any]) -> str:
    """The first line of a class's docstring."""
    return next(iter((kind.__doc__ or "").strip().splitlines()), "")


def choice_of(name: str) -> Choice:
    """The attack that people call so; ValueError for an unknown name, naming the nearest and all."""
    known = choices()
    if name not in known:
        raise ValueError(f"attack must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return known[name]


@dataclass(frozen=True)
class Plan:
    """Which attacks to run, and how, in plain values.

    attacks: names of attacks; by default those that run where none is named.
    eps: radii of the ball, in units of the [0, 1] pixel; None for `RADII` of the norm.
    norm: of the ball, "linf" or "l2".
    steps: of BIM and PGD.
    restarts: random starts of PGD.
    eot: draws a plain attack averages its gradient over; 0: it attacks the network without noise, and transfers.
    draws: fresh draws on which success is judged.
    sigma: the defender's noise at inference; None for the network's own, 0 for the expectation network.
    average: draws whose logits the defender averages for one answer; None for the network's own.
    objective: what the adaptive attacks ascend, as in `closed_form`; C&W and One-Pixel ascend margins of their own.
    propagation: how the adaptive attacks carry the variance, as in `closed_form`.
    seed: of all random numbers.
    samples: points of random search at each eps.
    pixels: numbers of pixels that One-Pixel may change, a run each.
    population: candidates of One-Pixel.
    generations: generations of One-Pixel at most.
    kappa: confidences of C&W, a run each, in logits, and for adaptive-cw in standard deviations.
    cw_steps: steps of C&W for each constant.
    cw_lr: Adam's rate in C&W.
    cw_constant: first constant of C&W.
    cw_searches: constants that C&W tries.
    """

    attacks: tuple[str, ...] | None = None
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
        if self.attacks is None:
            object.__setattr__(self, "attacks", tuple(n for n, choice in choices().items() if choice.by_default))
        if self.eps is None:
            object.__setattr__(self, "eps", RADII.get(self.norm, RADII["linf"]))
        self._check_numbers()
        if self.objective is not None:
            named({name: OBJECTIVES[name] for name in losses()}, self.objective, "objective")
        named(RULES, self.propagation, "propagation")
        _ = self.judging()
        self.made()

    def _check_numbers(self) -> None:
        for name in ("attacks", "eps", "pixels", "kappa"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one, got {getattr(self, name)}")
        for eps in self.radii:
            Ball(self.norm, eps)
        if self.norm == "linf":
            check_linf(max(self.radii))
        for name, low in _LEAST.items():
            check_count(name, getattr(self, name), low)
        for pixels in self.pixels:
            OnePixel(pixels)
        for kappa in self.kappa:
            CarliniWagner(kappa)
        for name in ("cw_lr", "cw_constant"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be > 0 and finite, got {getattr(self, name)!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its attacks."""
        return self.attacks or ()

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii of the ball."""
        return self.eps or ()

    def unused(self, options: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Those of the named options that no attack of the plan heeds, each with the attacks that would."""
        own = [f.name for f in fields(self) if f.name not in _EVERYBODYS]
        heeded = {name: choice.heeds(own) for name, choice in choices().items()}
        users = {o: tuple(name for name, its in heeded.items() if o in its) for o in options if o in own}
        return {option: would for option, would in users.items() if not set(would) & set(self.names)}

    def strengths(self, name: str) -> tuple[float, ...]:
        """What the named attack is run at: numbers of pixels, kappas or eps."""
        return tuple(getattr(self, choice_of(name).offer.strengths))

    def runs(self) -> list[tuple[str, float]]:
        """Each attack with each of its strengths, once; those of one ball together, then those without a radius."""
        by = {name: choice_of(name).offer.strengths for name in self.names}
        kinds = dict.fromkeys(["eps", *(choice.offer.strengths for choice in choices().values())])
        groups = [[name for name in self.names if by[name] == kind] for kind in kinds]
        every = ((name, s) for group in groups if group for s in self.strengths(group[0]) for name in group)
        return list(dict.fromkeys(every))

    def attack(self, name: str, strength: float) -> Any:
        """The named attack at an eps, a number of pixels or a kappa; ValueError for an unknown name."""
        choice = choice_of(name)
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _EVERYBODYS}
        options |= {"draws": self.draws, choice.offer.strengths: strength}
        return ask(choice.kind, "planned")(options, self._source(choice))

    def _source(self, choice: Choice) -> Source:
        if choice.adaptive:
            return ClosedForm(None if ask(choice.kind, "ascends").closed_form else self.objective, self.propagation)
        return EoT(self.eot) if self.eot else Expectation()

    def made(self) -> list[Any]:
        """The attacks, as values, in the order of `runs`."""
        found: list[Any] = []
        for run in self.runs():
            attack = self.attack(*run)
            if attack not in found:
                found.append(attack)
        return found

    def judging(self) -> Judging:
        """How success is judged, as a value."""
        return Judging(self.draws, self.seed, self.sigma, self.average)


def evaluate(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    plan: Plan,
    progress: Progress | None = None,
    clean: Accuracy | None = None,
) -> Iterator[Result]:
    """`robust_accuracy` of the attacks of a plan, judged as the plan has it.

    plan: which attacks to run, and how.
    The other arguments are those of `robust_accuracy`. Raises TypeError for what is no plan.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan, got {plan!r:.80}; attacks.robust_accuracy takes a list of attacks")
    return robust_accuracy(classifier, x, labels, plan.made(), plan.judging(), progress, clean)
