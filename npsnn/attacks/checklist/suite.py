"""What the criteria of the checklist compare: each attack run once, all judged on the same fresh draws."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from npsnn.attacks import projected as gradient
from npsnn.attacks.balls import Ball
from npsnn.attacks.evaluation import Result, run
from npsnn.attacks.judging import Accuracy, Progress, accuracy, checked
from npsnn.attacks.plan import Attack, Plan
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, known
from npsnn.classifier import Classifier
from npsnn.runs.caveats import Caveat
from npsnn.streams import Stream
from npsnn.validate import check_types

UNBOUNDED_STEPS = 20
UNBOUNDED = {
    "steps of eps/10": gradient.GradientAttack(Ball("linf", 1.0), UNBOUNDED_STEPS, 0.1),
    "steps of 2.5 eps/k": gradient.pgd(1.0, steps=UNBOUNDED_STEPS),
}
"""PGD that may go anywhere, by the length of its steps."""


@dataclass(frozen=True)
class Checklist:
    """How the criteria are measured.

    eps: the Linf ball. steps: of PGD, 2.5 eps/steps long. eot: draws in each sampled gradient, and in each energy of
    One-Pixel. draws: fresh draws on which success is judged, on which random search judges each point, and of which
    each is known to the attacker in turn. samples: points of random search. pixels: those One-Pixel may change, a run
    each; population and generations its own. ladder: the rising radii of criterion 5. sigma and average: the
    defender's, as in `Plan`.
    """

    eps: float = 8 / 255
    steps: int = 10
    eot: int = 10
    draws: int = 10
    samples: int = 100
    pixels: tuple[int, ...] = (1,)
    population: int = 40
    generations: int = 10
    ladder: tuple[float, ...] = field(default=tuple(2**n / 255 for n in range(8)))
    sigma: float | None = None
    average: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.eps < inf:
            raise ValueError(f"eps must be > 0 and finite, got {self.eps!r}")
        if self.eot < 1:
            raise ValueError(f"eot must be >= 1, got {self.eot}")
        rising = all(low < high for low, high in zip(self.ladder, self.ladder[1:], strict=False))
        if len(self.ladder) < 2 or not rising or not self.ladder[0] > 0 or not self.ladder[-1] <= 1:
            raise ValueError(f"ladder must hold at least two rising radii > 0 and at most 1, got {self.ladder}")
        _ = self.plan

    @property
    def plan(self) -> Plan:
        """The same settings for the attacks, which it checks."""
        values = {name: value for name, value in asdict(self).items() if name != "ladder"}
        return Plan(**values | {"eps": (self.eps,)})

    def runs(self, noisy: bool) -> int:
        """How many attacks on all images there are: what progress adds up to, over the images."""
        return 4 + len({self.eps, *self.ladder}) + len(set(self.pixels)) + (2 + self.draws if noisy else 0)


class Suite:
    """A defended network, the images, and the attacks on them, each made when it is first asked for."""

    def __init__(
        self, classifier: Classifier, x: np.ndarray, labels: np.ndarray, options: Checklist, progress: Progress | None
    ) -> None:
        self.x, self.labels = checked(classifier, x, labels)
        if not isinstance(options, Checklist):
            raise TypeError(f"options must be a Checklist, got {options!r}")
        self.options, self.progress = options, progress
        if len(self.x) < 2:
            raise ValueError("there must be at least two images, or no difference has a standard error, got one")
        self.plan = options.plan
        self.network = self.plan.defended(classifier)
        self.noisy = self.network.random
        self.stream = Stream(options.seed).at("checklist")
        self._of_eps: dict[float, Result] = {}
        self.caveats: list[Caveat] = []

    def run(self, name: str, attack: Attack, target: NetworkTarget) -> Result:
        """One attack on all images, judged like all others."""
        draws, own, judging = self.options.draws, self.stream.at(name), self.stream.at("judge")
        return self._noted(run(name, attack, target, self.x, self.labels, draws, own, judging, self.progress))

    def _noted(self, result: Result) -> Result:
        """Note the gradients that were 0 or not finite; an eps that is large and noise that is off are on purpose."""
        where = f"{result.attack} at {result.eps:.4g}"
        met = (Caveat(caveat.code, f"{where}: {caveat.text}") for caveat in result.caveats)
        self.caveats += [caveat for caveat in met if caveat.code.endswith("-gradients") and caveat not in self.caveats]
        return result

    def planned(self) -> list[tuple[Attack, NetworkTarget]]:
        """All attacks that the criteria need, for what they cost; `Checklist.runs` of them."""
        options, plain = self.options, self._plain()
        found: list[tuple[Attack, NetworkTarget]] = [(self.plan.attack("fgsm", options.eps), plain)]
        found += [(self.plan.attack("pgd", eps), plain) for eps in {options.eps, *options.ladder}]
        found += [(self.plan.attack("random", options.eps), plain)]
        one_pixel = self.plan.target("one-pixel", self.network)
        found += [(self.plan.attack("one-pixel", pixels), one_pixel) for pixels in set(options.pixels)]
        found += [(attack, plain) for attack in UNBOUNDED.values()]
        if self.noisy:
            pgd, judging = self.plan.attack("pgd", options.eps), self.stream.at("known")
            found += [(pgd, closed_form(self.network)), (pgd, expectation(self.network))]
            found += [(pgd, known(self.network, judging))] * options.draws
        return found

    @cached_property
    def clean(self) -> Accuracy:
        return self._judged(slice(None), self.x, "judge")

    def again(self, chosen: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Accuracy of the chosen images, (N,) of bools, of x on draws that chose none of them."""
        return self._judged(chosen, x, "judge again").each

    def _judged(self, chosen: Any, x: np.ndarray, stream: str) -> Accuracy:
        return accuracy(self.network, x[chosen], self.labels[chosen], self.options.draws, self.stream.at(stream))

    def _plain(self) -> NetworkTarget:
        return self.plan.target("pgd", self.network)

    @cached_property
    def fgsm(self) -> Result:
        return self.run("fgsm", self.plan.attack("fgsm", self.options.eps), self._plain())

    def pgd(self, eps: float | None = None) -> Result:
        """PGD at an eps, by default the options' own; its steps meet the same draws at every one."""
        eps = self.options.eps if eps is None else eps
        if eps not in self._of_eps:
            self._of_eps[eps] = self.run("pgd", self.plan.attack("pgd", eps), self._plain())
        return self._of_eps[eps]

    @cached_property
    def random(self) -> Result:
        return self.run("random", self.plan.attack("random", self.options.eps), self._plain())

    def one_pixel(self, pixels: int) -> Result:
        return self.run("one-pixel", self.plan.attack("one-pixel", pixels), self.plan.target("one-pixel", self.network))

    def unbounded(self) -> dict[str, Result]:
        """PGD that may go anywhere: with the paper's steps of eps/10 from the image, and with ours."""
        return {name: self.run(name, attack, self._plain()) for name, attack in UNBOUNDED.items()}

    def any_of_many(self, chosen: np.ndarray) -> tuple[int, int]:
        """Of the chosen images, those that one of many random samples finds misread; and without the perturbation."""
        if not chosen.any():
            return 0, 0
        search = RandomSearch(Ball("linf", self.options.eps), self.options.samples)
        x, labels, stream = self.x[chosen], self.labels[chosen], self.stream.at("any of many")
        found = [run("random", s, self._plain(), x, labels, 1, stream).misread_once for s in (search, search.control())]
        return found[0], found[1]

    def _by_pgd(self, name: str, target: NetworkTarget) -> Result:
        return self.run(name, self.plan.attack("pgd", self.options.eps), target)

    @cached_property
    def adaptive(self) -> Result:
        """PGD on the closed form."""
        return self._by_pgd("adaptive-pgd", closed_form(self.network))

    def transfer(self) -> Result:
        """PGD on the network without its noise."""
        return self._by_pgd("transfer", expectation(self.network))

    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy of each image, (N,) twice, under PGD that knows the draw by which it is judged, and under EoT's.

        Both are judged on the same draws, which are fresh for the latter; means over `draws` of them.
        """
        attack, informed, blind = self.plan.attack("pgd", self.options.eps), [], []
        for draw in range(self.options.draws):
            judging, stream = self.stream.at("known", draw), self.stream.at("known attack", draw)
            target = known(self.network, judging)
            result = run("known", attack, target, self.x, self.labels, 1, stream, judging, self.progress)
            informed.append(result.accuracy.each)
            blind.append(accuracy(self.network, self.pgd().x_adv, self.labels, 1, judging).each)
        return np.asarray(np.mean(informed, axis=0)), np.asarray(np.mean(blind, axis=0))
