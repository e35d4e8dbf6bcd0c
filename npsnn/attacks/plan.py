"""The flat form of attacks that the command line and its config files have, and what it makes: values.

A `Plan` names attacks by the names of the table and says in one record how they run. `made` turns it into attacks and
`judging` into a `Judging`; nothing else knows the names.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from npsnn.attacks.apgd import APGD
from npsnn.attacks.balls import Limit, check_linf
from npsnn.attacks.base import ATTACKS, Offer, ask, taken
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.ensemble import GROUPS
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.fab import FAB
from npsnn.attacks.fmn import FMN
from npsnn.attacks.judging import Accuracy, Judging, Progress
from npsnn.attacks.kept import Kept
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.results import Result
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Source, Transfer
from npsnn.attacks.square import Square
from npsnn.attacks.toward import KINDS, Toward, check_aim
from npsnn.classifier import Classifier
from npsnn.objectives import OF_VARIANCE, untargeted
from npsnn.ops.gaussian import RULES
from npsnn.validate import check_choice, check_options, documented, option, same
from npsnn.words import brief

RADII = {"linf": (0.1, 0.2, 0.3), "l2": (0.5, 1.0, 2.0), "l1": (5.0, 10.0, 20.0)}
"""The radii at which attacks run where none is named, by norm: in Linf the noise paper's."""
NOISE_OFF = "noise-off"
"""What stands for the attacked network without its noise among the runs to transfer from."""
_EVERYBODYS = ("attacks", "draws", "sigma", "average", "answer", "on_grid", "selection", "seed")
"""The options that act on all attacks, or on none by itself."""


@dataclass(frozen=True)
class Choice:
    """An attack that a plan may name.

    kind: the class of the table, or of a group.
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
            own |= {"transfer_from", "propagation" if self.adaptive else "eot"}
            own |= set() if ask(self.kind, "ascends").closed_form else {"objective"}
            own |= {"toward"} if self.kind in KINDS else set()
        return own


def choices() -> dict[str, Choice]:
    """Every attack and group that a plan may name: first those that run where none is named, then groups, then by what
    their strength is.
    """
    order = [f.name for f in fields(Plan)]
    offered = [(name, kind, offer) for name, kind in ATTACKS.items() if (offer := ask(kind, "offer"))]
    offered.sort(key=lambda entry: order.index(entry[2].strengths) if entry[2].strengths in order else len(order))
    offered = [(name, kind, kind.offer) for name, kind in GROUPS.items()] + offered
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
    check_choice("attack", name, known)
    return known[name]


@documented
@dataclass(frozen=True)
class Plan:
    """Which attacks to run, and how, in plain values.

    Raises ValueError naming the field, what was expected and what came.

    attacks: names of attacks and of groups; by default those that run where none is named.
    """

    attacks: tuple[str, ...] | None = None
    eps: tuple[float, ...] | None = option(
        None,
        "Radius of the ball in units of the [0, 1] pixel, such as 0.1 or 8/255.",
        "Ball",
        low=0,
        fraction=True,
        shown="; ".join(f"{norm} {', '.join(f'{eps:g}' for eps in radii)}" for norm, radii in RADII.items()),
    )
    norm: str = option(
        "linf",
        "Norm of the ball: {choices}; l0 for fmn alone, l1 not for square, hop-skip-jump, auto and quick.",
        "Ball",
        choices=Limit.norms,
    )
    steps: int = option(20, "Steps of bim, pgd, mi-fgsm and spsa.", "Gradients", low=1)
    restarts: int = option(1, "Random starts of pgd and apgd. Each image keeps its worst.", "Gradients", low=1)
    apgd_steps: int = option(APGD.steps, "Steps of apgd, and of apgd-t for each class.", "Gradients", low=1)
    fab_steps: int = option(FAB.steps, "Steps of fab-t for each class.", "Gradients", low=1)
    fmn_steps: int = option(FMN.steps, "Steps of fmn (its authors: 1000).", "Gradients", low=1)
    targets: int = option(
        FAB.targets,
        "Classes that apgd-t and fab-t aim at: the likeliest other than the label.",
        "Gradients",
        low=1,
    )
    eot: int = option(
        10,
        "Draws of the noise over which a plain attack averages each gradient. With 0 it attacks the network without "
        "noise, and transfers.",
        "Gradients",
        low=0,
    )
    objective: str | None = option(
        None,
        "Objective that the gradient attacks ascend: {choices}. Plain attacks ascend the cross-entropy by default, and "
        'the text above says what the adaptive ones ascend. The objectives in "win" are of the closed form alone. '
        "float32-cross-entropy has the gradient that single precision leaves (audit B11). "
        "apgd-t, fab-t, fmn, cw, one-pixel, square, sparse-rs and spsa ascend objectives of their own.",
        "Gradients",
        choices=untargeted,
    )
    toward: str | None = option(
        None,
        "Class that fgsm, bim, pgd, mi-fgsm and apgd move images to: likeliest, least-likely or the number of a class. "
        "By default they move away from the label.",
        "Gradients",
        check=check_aim,
    )
    propagation: str = option(
        "exact",
        "How the adaptive attacks carry the variance: {choices}. laplace is the noise paper's Eq. 6.",
        "Gradients",
        choices=RULES,
    )
    transfer_from: tuple[str, ...] | None = option(
        None,
        "Run from whose network each named attack also transfers; auto, quick, authors, random and hop-skip-jump do "
        "not. noise-off is the attacked network without its noise, for plain attacks.",
        "Gradients",
        word="RUN",
    )
    samples: int = option(1000, "Points that random tries (A2SNN: 10,000).", "Searches", low=1)
    queries: int = option(
        Square.queries,
        "Points that square and sparse-rs ask about, and answers that hop-skip-jump asks for, for each image.",
        "Searches",
        low=1,
    )
    pixels: tuple[int, ...] = option(
        (1,), "Number of pixels that one-pixel and sparse-rs may change.", "Searches", low=1
    )
    population: int = option(OnePixel.population, "Candidates of one-pixel.", "Searches", low=5)
    generations: int = option(
        OnePixel.generations, "Generations of one-pixel at most (A2SNN: 75, then 1000).", "Searches", low=1
    )
    kappa: tuple[float, ...] = option(
        (0.0,),
        "Confidence of cw and fmn in logits, on the closed form in standard deviations.",
        "Carlini and Wagner",
        low=0,
    )
    cw_steps: int = option(
        CarliniWagner.steps, "Steps of cw for each constant c (A2SNN: 1000).", "Carlini and Wagner", low=1
    )
    cw_lr: float = option(
        CarliniWagner.lr, "Adam's rate in cw (A2SNN: 0.0005).", "Carlini and Wagner", low=0, above=True
    )
    cw_constant: float = option(
        CarliniWagner.constant, "First constant c of cw (A2SNN: 0.001).", "Carlini and Wagner", low=0, above=True
    )
    cw_searches: int = option(
        CarliniWagner.searches,
        "Constants that cw tries by binary search (A2SNN: 9).",
        "Carlini and Wagner",
        low=1,
    )
    draws: int = same(Judging, "draws")
    sigma: float | None = same(Judging, "sigma")
    average: int | None = same(Judging, "average")
    answer: str | None = same(Judging, "answer")
    on_grid: bool = same(Judging, "on_grid")
    selection: int = same(Judging, "selection")
    seed: int = same(Judging, "seed")

    __repr__ = brief

    def __post_init__(self) -> None:
        check_options(self)
        if self.attacks is None:
            object.__setattr__(self, "attacks", tuple(n for n, choice in choices().items() if choice.by_default))
        if self.attacks == ():
            raise ValueError("attacks must hold at least one, got ()")
        if self.eps is None:
            object.__setattr__(self, "eps", RADII.get(self.norm, (1.0,)))  # a ball of another norm says so
        if self.norm == "linf":
            check_linf(max(self.radii))
        self._check_objective()
        self.made()

    def _check_objective(self) -> None:
        drawn = [n for n in self.names if not (c := choice_of(n)).adaptive and "objective" in c.heeds(["objective"])]
        if self.objective in OF_VARIANCE and drawn:
            adaptive = [f"adaptive-{name}" for name in drawn if f"adaptive-{name}" in choices()]
            instead = f": name {', '.join(adaptive)} alone" if adaptive else ""
            raise ValueError(
                f"objective {self.objective} is of the closed form, as one draw of the noise has no variance, and "
                f"{', '.join(drawn)} ascend draws{instead}"
            )

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
        return self._made(choice, strength, self._source(choice))

    def _made(self, choice: Choice, strength: float, source: Source) -> Any:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _EVERYBODYS}
        options |= {"draws": self.draws, choice.offer.strengths: strength}
        made = ask(choice.kind, "planned")(options, source)
        return made if self.toward is None or choice.kind not in KINDS else Toward(made, self.toward)

    def _source(self, choice: Choice) -> Source:
        objective = self.objective if "objective" in choice.heeds(["objective"]) else None
        if choice.adaptive:
            return ClosedForm(objective, self.propagation)
        return EoT(self.eot, objective) if self.eot else Expectation(objective)

    @cached_property
    def _surrogates(self) -> tuple[Transfer, ...]:
        return tuple(Transfer(run) for run in self.transfer_from or () if run != NOISE_OFF)

    def _sources(self, choice: Choice) -> list[Source]:
        """Where the attack takes its gradients, each for one attack: the network itself, and others."""
        own = self._source(choice)
        found = [own]
        if "transfer_from" in choice.heeds(["transfer_from"]):
            if NOISE_OFF in (self.transfer_from or ()) and isinstance(own, EoT):
                found.append(Expectation(own.objective, NOISE_OFF))
            several = len(self._surrogates) > 1
            names = (f"transfer{n}" if several else "transfer" for n in count(1))
            found += [other.taking(own, name) for other, name in zip(self._surrogates, names, strict=False)]
        return found

    def made(self) -> list[Any]:
        """The attacks, as values, in the order of `runs`; beside each its transfers."""
        found: list[Any] = []
        for name, strength in self.runs():
            choice = choice_of(name)
            for source in self._sources(choice):
                attack = self._made(choice, strength, source)
                if attack not in found:
                    found.append(attack)
        return found

    def judging(self) -> Judging:
        """How success is judged, as a value."""
        own = self.draws, self.seed, self.sigma, self.average, self.on_grid, self.selection, self.answer
        return Judging(*own)


def evaluate(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    plan: Plan,
    progress: Progress | None = None,
    clean: Accuracy | None = None,
    keep: Kept | None = None,
) -> Iterator[Result]:
    """`robust_accuracy` of the attacks of a plan, judged as the plan has it.

    plan: which attacks to run, and how.
    The other arguments are those of `robust_accuracy`. Raises TypeError for what is no plan.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan, got {plan!r:.80}; attacks.robust_accuracy takes a list of attacks")
    return robust_accuracy(classifier, x, labels, plan.made(), plan.judging(), progress, clean, keep)
