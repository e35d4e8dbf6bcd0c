"""What the criteria of the checklist compare: each attack run once, all judged on the same fresh draws."""

from functools import cached_property
from typing import Any

import numpy as np

from npsnn.attacks.balls import Ball
from npsnn.attacks.base import Attack, target_of
from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.evaluation import run
from npsnn.attacks.judging import Accuracy, Progress, accuracy, checked
from npsnn.attacks.projected import PGD, GradientAttack
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.results import Result
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Known, Source
from npsnn.classifier import Classifier
from npsnn.runs.caveats import Caveat

UNBOUNDED_STEPS = 20


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
        self.network = options.judging.defended(classifier)
        self.noisy = self.network.random
        self.carried = self.noisy and self.network.model.propagates
        self.stream = options.judging.stream.at("checklist")
        self._of_eps: dict[float, Result] = {}
        self.caveats: list[Caveat] = []

    def run(self, name: str, attack: Attack) -> Result:
        """One attack on all images, judged like all others."""
        draws, own, judging = self.options.draws, self.stream.at(name), self.stream.at("judge")
        target = target_of(attack, self.network)
        return self._noted(run(name, attack, target, self.x, self.labels, draws, own, judging, self.progress))

    def _noted(self, result: Result) -> Result:
        """Note the gradients that were 0 or not finite; an eps that is large and noise that is off are on purpose."""
        where = f"{result.attack} at {result.eps:.4g}"
        met = (Caveat(caveat.code, f"{where}: {caveat.text}") for caveat in result.caveats)
        self.caveats += [caveat for caveat in met if caveat.code.endswith("-gradients") and caveat not in self.caveats]
        return result

    def planned(self) -> list[Attack]:
        """All attacks that the criteria need, for what they cost; `Checklist.runs` of them."""
        options = self.options
        found: list[Attack] = [options.fgsm, options.random, *self._unbounded().values()]
        found += [options.pgd(eps) for eps in {options.eps, *options.ladder}]
        found += [options.one_pixel(pixels) for pixels in set(options.pixels)]
        found += options.stronger(self.carried)
        if self.noisy:
            sources: list[Source] = [Expectation(), *[Known(self.stream.at("known"))] * options.draws]
            sources += [ClosedForm()] if self.carried else []
            found += [options.pgd(options.eps, source) for source in sources]
        return found

    @cached_property
    def clean(self) -> Accuracy:
        return self._judged(slice(None), self.x, "judge")

    def again(self, chosen: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Accuracy of the chosen images, (N,) of bools, of x on draws that chose none of them."""
        return self._judged(chosen, x, "judge again").each

    def _judged(self, chosen: Any, x: np.ndarray, stream: str) -> Accuracy:
        return accuracy(self.network, x[chosen], self.labels[chosen], self.options.draws, self.stream.at(stream))

    @cached_property
    def fgsm(self) -> Result:
        return self.run("fgsm", self.options.fgsm)

    def pgd(self, eps: float | None = None) -> Result:
        """PGD at an eps, by default the options' own; its steps meet the same draws at every one."""
        eps = self.options.eps if eps is None else eps
        if eps not in self._of_eps:
            self._of_eps[eps] = self.run("pgd", self.options.pgd(eps))
        return self._of_eps[eps]

    @cached_property
    def random(self) -> Result:
        return self.run("random", self.options.random)

    def one_pixel(self, pixels: int) -> Result:
        return self.run("one-pixel", self.options.one_pixel(pixels))

    def unbounded(self) -> dict[str, Result]:
        """PGD that may go anywhere: with the paper's steps of eps/10 from the image, and with ours."""
        return {name: self.run(name, attack) for name, attack in self._unbounded().items()}

    def _unbounded(self) -> dict[str, Attack]:
        """PGD that may go anywhere, by the length of its steps."""
        drawn = EoT(self.options.eot)
        return {
            "steps of eps/10": GradientAttack(Ball("linf", 1.0), UNBOUNDED_STEPS, 0.1, source=drawn),
            "steps of 2.5 eps/k": PGD(1.0, steps=UNBOUNDED_STEPS, source=drawn),
        }

    def any_of_many(self, chosen: np.ndarray) -> tuple[int, int]:
        """Of the chosen images, those that one of many random samples finds misread; and without the perturbation."""
        if not chosen.any():
            return 0, 0
        search, stream = RandomSearch(self.options.eps, samples=self.options.samples), self.stream.at("any of many")
        x, labels, target = self.x[chosen], self.labels[chosen], target_of(search, self.network)
        found = [run("random", s, target, x, labels, 1, stream).misread_once for s in (search, search.control())]
        return found[0], found[1]

    @cached_property
    def adaptive(self) -> Result:
        """PGD on the closed form."""
        return self.run("adaptive-pgd", self.options.pgd(self.options.eps, ClosedForm()))

    def stronger(self) -> list[Result]:
        """Attacks of other kinds than PGD."""
        return [self.run(attack.label, attack) for attack in self.options.stronger(self.carried)]

    def transfer(self) -> Result:
        """PGD on the network without its noise."""
        return self.run("transfer", self.options.pgd(self.options.eps, Expectation()))

    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy of each image, (N,) twice, under PGD that knows the draw by which it is judged, and under EoT's.

        Both are judged on the same draws, which are fresh for the latter; means over `draws` of them.
        """
        informed, blind = [], []
        for draw in range(self.options.draws):
            judging, stream = self.stream.at("known", draw), self.stream.at("known attack", draw)
            attack = self.options.pgd(self.options.eps, Known(judging))
            target = target_of(attack, self.network)
            result = run("known", attack, target, self.x, self.labels, 1, stream, judging, self.progress)
            informed.append(result.accuracy.each)
            blind.append(accuracy(self.network, self.pgd().x_adv, self.labels, 1, judging).each)
        return np.asarray(np.mean(informed, axis=0)), np.asarray(np.mean(blind, axis=0))
